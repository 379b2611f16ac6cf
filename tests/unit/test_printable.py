"""What reaches a terminal."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.config import Settings
from shared.printable import CONTROL, escaped
from shared.process.logging import setup_logging
from shared.provider_presets import ModelRef
from worker.check_models import _table

HOSTILE = "a\x1b[2Jb\x07c\x9bd\re\u202ef\u2066g\u2028h\x7fi"
PLAIN = "مرحبا 👩‍💻 你好 é"


@pytest.fixture(params=["DEV", "PRODUCTION"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the log writes, as it is set up in each environment."""
    setup_logging(Settings(_env_file=None).model_copy(update={"env": request.param}))
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    handler.setStream(written)
    yield written
    setup_logging(Settings(_env_file=None, env="TEST", log_level="WARNING"))


def test_control_characters_are_escaped_and_nothing_else() -> None:
    assert escaped(HOSTILE) == r"a\x1b[2Jb\x07c\x9bd\re\u202ef\u2066g\u2028h\x7fi"
    assert escaped(PLAIN) == PLAIN
    assert escaped("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


def test_a_line_of_the_log_steers_no_terminal(log: io.StringIO) -> None:
    logger = structlog.get_logger("tests")
    logger.warning(HOSTILE, told=HOSTILE, nested={"told": [HOSTILE]}, plain="مرحبا")
    logging.getLogger("tests").warning("from a library: %s", HOSTILE)
    try:
        int(HOSTILE + "\n")
    except ValueError:
        logger.exception("broke")
    written = log.getvalue()
    assert CONTROL & set(written) <= {"\n", "\t"}
    assert written.count("x1b[2J") + written.count("u001b[2J") >= 5


def test_the_table_of_models_steers_no_terminal() -> None:
    table = _table([["role", "model"], ["chat", HOSTILE]])
    assert CONTROL & set(table) == {"\n"}
    assert table.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["openai/a\x1b[31m", "open\u202eai/a", "openai/a\u200b", "openai/\ufeffa", "openai/a\u2028b"]
)
def test_a_model_is_not_named_with_what_cannot_be_seen(name: str) -> None:
    with pytest.raises(ValueError, match="provider/model"):
        ModelRef.parse(name)
