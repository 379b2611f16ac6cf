"""The checker finds each violation in a history made by hand, and nothing in a sound one."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import RULES, check
from tests.faults.history import Accepted, History, ModelCall
from tests.faults.rules.facts import facts_of
from tests.faults.sound import JOB, SESSION, add, change_write, delete_session, live, moves, of_job, sound, step

Break = Callable[[History], None]
BROKEN: dict[str, tuple[Break, str]] = {}
"""What to do to a sound history, and what the checker must say then."""


def says(words: str) -> Callable[[Break], Break]:
    """Expect these words of a history that is broken so."""

    def register(break_it: Break) -> Break:
        BROKEN[break_it.__name__] = break_it, words
        return break_it

    return register


@says("was accepted and is gone")
def a_lost_job(history: History) -> None:
    history.rows["job"].clear()


@says("never ended: it is running")
def a_job_without_an_end(history: History) -> None:
    live(history, "queued", "running")


@says("1 jobs were never told of")
def a_job_of_nobody(history: History) -> None:
    history.accepted.clear()
    history.asked.clear()


@says("was succeeded and became failed")
def two_ends(history: History) -> None:
    live(history, "queued", "running", "succeeded", "failed")


@says("was succeeded and was written to after its end")
def a_job_written_to_after_its_end(history: History) -> None:
    live(history, "queued", "running", "succeeded", "succeeded")


@says("was queued and became succeeded")
def a_skipped_state(history: History) -> None:
    live(history, "queued", "succeeded")


@says("queued again 1 times after it failed")
def a_second_life_that_nobody_asked_for(history: History) -> None:
    live(history, "queued", "running", "failed", "queued", "running", "succeeded")


@says("went from attempt 0 to 0")
def an_attempt_that_is_not_counted(history: History) -> None:
    change_write(history, 10, attempt=0)


@says("used 1 attempts as it became succeeded")
def an_attempt_used_by_success(history: History) -> None:
    change_write(history, 20, attempts_left=3)


@says("was claimed while job-1, 1 of its session, was running")
def two_jobs_of_a_session_at_once(history: History) -> None:
    add(history, *moves("queued", "running", "succeeded", job_id="job-2", seq=3, first=5))


@says("was claimed while job-0, -1 of its session, was queued")
def a_job_that_overtakes(history: History) -> None:
    add(history, *moves("queued", job_id="job-0", seq=-1, first=5))


@says("succeeded with 0 replies")
def no_reply(history: History) -> None:
    history.rows["message"].pop()


@says("succeeded with 2 replies")
def two_replies(history: History) -> None:
    history.rows["message"].append({**history.rows["message"][1], "seq": 4})


@says("has 0 messages of the user's")
def no_message(history: History) -> None:
    history.rows["message"].pop(0)


@says("assistant message written 2 times")
def a_reply_that_was_replaced(history: History) -> None:
    add(history, of_job(17, "message", "assistant", seq=2))


@says("was answered 'Sentence 1 says' instead of")
def half_a_reply(history: History) -> None:
    history.rows["message"][1]["text"] = "Sentence 1 says"


@says("is in place 4")
def a_reply_in_the_place_of_another(history: History) -> None:
    history.rows["message"][1]["seq"] = 4


@says("has 2 messages in place 1")
def two_messages_in_one_place(history: History) -> None:
    history.rows["message"][1]["seq"] = 1


@says("was told of topicb before it was asked about topica")
def a_model_told_of_what_comes_later(history: History) -> None:
    history.asked.add("topicb")
    history.accept(Accepted("job-2", SESSION, "topicb"))
    history.rows["job"].append({**history.rows["job"][0], "id": "job-2", "seq": 3})
    history.calls[0] = replace(history.calls[0], context=("topicb",))


@says("its step reply written 2 times")
def a_step_written_twice(history: History) -> None:
    add(history, step(17, "reply"))


@says("attempt 0 of job job-1 wrote speak/2 during attempt 1")
def a_step_of_an_older_claim(history: History) -> None:
    add(history, step(17, "speak/2", attempt=0))


@says("was succeeded when its step speak/2 was written")
def a_step_after_the_end(history: History) -> None:
    add(history, step(21, "speak/2"))


@says("was succeeded when its usage speak/2 was written")
def a_charge_after_the_end(history: History) -> None:
    add(history, of_job(21, "usage", "speak/2"))


@says("was queued when its message assistant was written")
def a_reply_while_the_job_is_queued(history: History) -> None:
    add(history, replace(of_job(2, "message", "assistant"), operation="update"))


@says("never was when its usage speak/2 was written")
def a_charge_before_the_job(history: History) -> None:
    add(history, of_job(-1, "usage", "speak/2"))


@says("was billed 2 times for reply")
def a_step_billed_twice(history: History) -> None:
    add(history, replace(of_job(17, "usage", "reply"), operation="update"))


@says("was not billed for speak/1")
def a_step_that_was_not_billed(history: History) -> None:
    history.rows["usage"].pop()


@says("claim 1 of job job-1 asked chat again for reply")
def a_call_repeated_in_one_claim(history: History) -> None:
    history.calls.append(ModelCall(10.5, "topica", "reply", "chat"))


@says("before anybody had claimed it")
def a_call_before_the_claim(history: History) -> None:
    history.calls.append(ModelCall(9, "topica", "transcribe", "ears"))


@says("for reply of job job-1 20.000 s after it had been saved")
def a_call_after_its_output_was_saved(history: History) -> None:
    live(history, "queued", "running", "queued", "running", "succeeded")
    history.calls.append(ModelCall(33, "topica", "reply", "chat"))


@says("of nothing that was submitted: 'topicz'")
def a_call_for_nobody(history: History) -> None:
    history.calls.append(ModelCall(12, "topicz", "reply"))


@says("its file has None")
def a_ready_blob_without_bytes(history: History) -> None:
    history.sizes.clear()


@says("its file has 8")
def a_ready_blob_that_was_cut_short(history: History) -> None:
    history.sizes["reply/b1"] = 8


@says("file reply/b2 has no row")
def a_file_without_a_row(history: History) -> None:
    history.sizes["reply/b2"] = 8


@says("file reply/b2#1 has no row")
def a_staged_file_without_a_row(history: History) -> None:
    history.sizes["reply/b2#1"] = 8


@says("is ready, and nothing points at it")
def a_ready_blob_that_nobody_wants(history: History) -> None:
    history.rows["blob"].append({**history.rows["blob"][0], "id": "b2"})


@says("its reply can't be heard")
def a_reply_without_its_sound(history: History) -> None:
    history.rows["blob"][0]["status"] = "deleted"


@says("is gone and nobody deleted it")
def a_session_that_nobody_deleted(history: History) -> None:
    delete_session(history)


@says("was deleted when its step speak/2 was written")
def a_step_written_after_the_deletion(history: History) -> None:
    history.deleted.add(SESSION)
    delete_session(history)
    add(history, step(32, "speak/2"))


@says("message m2 is left of a session that is gone")
def a_message_left_of_a_deleted_session(history: History) -> None:
    said = history.rows["message"][1]
    delete_session(history)
    history.rows["message"].append(said)


@says("steps are left of job job-1")
def a_step_left_of_a_deleted_job(history: History) -> None:
    done = history.rows["step"][0]
    delete_session(history)
    history.rows["step"].append(done)


@says("is pending, and its session is gone")
def a_blob_left_of_a_deleted_session(history: History) -> None:
    blob = {**history.rows["blob"][0], "status": "pending"}
    delete_session(history)
    history.rows["blob"].append(blob)


def test_a_sound_history_has_nothing_to_be_said_of() -> None:
    check(sound())


@pytest.mark.parametrize("what", BROKEN)
def test_a_violation_is_found(what: str) -> None:
    break_it, words = BROKEN[what]
    history = sound()
    break_it(history)
    with pytest.raises(AssertionError, match="violations of the promise") as found:
        check(history)
    assert words in str(found.value)


def test_every_rule_is_shown_to_find_something() -> None:
    silent = set(RULES)
    for break_it, _ in BROKEN.values():
        history = sound()
        break_it(history)
        silent -= {rule for rule in silent if list(rule(facts_of(history)))}
    assert not silent


def test_what_a_test_told_is_lawful() -> None:
    retried = sound()
    live(retried, "queued", "running", "failed", "queued", "running", "succeeded")
    retried.retried[JOB] = 1
    check(retried)
    deleted = sound()
    deleted.deleted.add(SESSION)
    delete_session(deleted)
    check(deleted)
    stalled = sound()
    stalled.calls.append(ModelCall(18, "topica", "reply", "chat"))
    stalled.stalled[JOB] = 1
    check(stalled)
    staged = sound()  # a process was killed as it wrote
    staged.rows["blob"].append({**staged.rows["blob"][0], "id": "b2", "key": "reply/b2", "status": "pending"})
    staged.sizes["reply/b2#1"] = 5
    check(staged)
    cut_off = sound()  # asked for, accepted, and the answer never arrived
    cut_off.accepted.clear()
    check(cut_off)
