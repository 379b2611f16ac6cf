"""The one checker: at-least-once execution, exactly-once visible reply, and no model call repeated but the one in flight."""

from collections.abc import Callable, Iterator

from tests.faults.history import History
from tests.faults.rules import blob, call, job, message, step
from tests.faults.rules.facts import Facts, facts_of

RULES: tuple[Callable[[Facts], Iterator[str]], ...] = (
    job.every_accepted_job_ended,
    job.no_job_came_from_nowhere,
    job.states_follow_each_other,
    job.attempts_are_counted,
    job.sessions_run_in_order,
    message.every_message_has_one_reply,
    message.replies_are_whole,
    message.places_are_kept,
    message.models_see_what_was_said_before,
    step.output_is_written_once,
    step.only_the_claim_writes,
    step.steps_are_billed_once,
    step.nothing_is_left_of_the_deleted,
    call.every_call_is_for_somebody,
    call.no_call_is_repeated,
    blob.ready_blobs_have_their_bytes,
    blob.files_have_a_row,
    blob.ready_blobs_are_wanted,
    blob.spoken_replies_have_their_sound,
)


def check(history: History) -> None:
    """Raise an AssertionError that lists every violation of the promise in this history."""
    facts = facts_of(history)
    violations = [violation for rule in RULES for violation in rule(facts)]
    assert not violations, "\n".join([f"{len(violations)} violations of the promise:", *violations])
