"""What an error of the system means, wherever a job or a request meets it."""

import errno

import pytest

from shared.errors import StorageFull, Unavailable, no_room
from worker.providers.failures import told_as_upstream
from worker.run_job import _is_transient
from worker.turn.step_timer import StepFailedError, step

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@pytest.mark.parametrize("number", FULL)
def test_a_disk_that_is_full_is_told_from_any_other_error(number: int) -> None:
    assert isinstance(no_room(OSError(number, "full")), StorageFull)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), OSError(errno.ENOENT, "gone"), ValueError("full")])
def test_another_error_is_none_of_it(error: Exception) -> None:
    assert no_room(error) is None
    with pytest.raises(type(error)), step("speak/1"):
        raise error


@pytest.mark.parametrize(("number", "code"), [*((n, "storage_full") for n in FULL), (errno.EROFS, "unavailable")])
def test_a_step_without_room_is_tried_again_later(number: int, code: str) -> None:
    with pytest.raises(StepFailedError) as failed, step("speak/1"):
        raise OSError(number, "full")
    assert (failed.value.name, failed.value.error.code) == ("speak/1", code)
    assert _is_transient(failed.value.error)
    assert failed.value.error.retry_after


def test_a_full_disk_is_not_the_model_servers_fault() -> None:
    with pytest.raises(StorageFull), told_as_upstream("openai", "gpt"):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(Unavailable), told_as_upstream("openai", "gpt"):
        raise OSError(errno.EROFS, "read-only")
