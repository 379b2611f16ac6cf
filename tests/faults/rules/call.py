"""No model is asked twice for what was saved, and once more per lost claim at most for what was not."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.history import ModelCall, claims_among
from tests.faults.rules.facts import Facts


def every_call_is_for_somebody(facts: Facts) -> Iterator[str]:
    for call in facts.calls.get("", []):
        if call.topic not in facts.history.asked:
            yield f"the model was asked for {call.step} of nothing that was submitted: {call.topic!r}"


def no_call_is_repeated(facts: Facts) -> Iterator[str]:
    """One call for each step, model and claim, none once the output is there; a frozen claim may make one more."""
    for job_id, calls in facts.calls.items():
        unlawful = list(_repeated(facts, job_id, calls)) if job_id else []
        if len(unlawful) > facts.history.stalled[job_id]:
            yield from unlawful


def _repeated(facts: Facts, job_id: str, calls: list[ModelCall]) -> Iterator[str]:
    claims = [claim.at for claim in claims_among(facts.of(job_id, "job"))]
    steps = [write for write in facts.of(job_id, "step") if (write.operation, write.status) == ("insert", "succeeded")]
    saved = {write.name: write.at for write in reversed(steps)}
    seen: Counter[tuple[str, str, int]] = Counter()
    for call in calls:
        claim = sum(at <= call.at for at in claims)
        seen[call.step, call.model, claim] += 1
        if not claim:
            yield f"the model was asked for {call.step} of job {job_id} before anybody had claimed it"
        elif call.at > saved.get(call.step, call.at):
            late = call.at - saved[call.step]
            yield f"the model was asked for {call.step} of job {job_id} {late:.3f} s after it had been saved"
        elif seen[call.step, call.model, claim] > 1:
            yield f"claim {claim} of job {job_id} asked {call.model} again for {call.step}"
