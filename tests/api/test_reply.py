"""What a model says beside its answer is not said, shown, spoken or sent back; and why it ended is told."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.api.test_balance import account, customer, usage
from tests.api.test_events import all_of, text_of
from tests.conftest import ROOT
from tests.fakes.openai_script import Answer, Script
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

FOLDER = ROOT / "tests" / "cases"
CASES: list[dict[str, Any]] = [
    case
    for case in json.loads((FOLDER / "manifest.json").read_text())["cases"]
    if "think" in case["file"] or "chunks" in case["file"]
]
THOUGHT = "<think>\nThe user asks. My hidden plan: 42.\n</think>\n\n"
PIECE = 3  # characters


@pytest.fixture(params=["embedded"])
def stack(request: pytest.FixtureRequest) -> str:
    """A model is read alike with any stores."""
    return str(request.param)


def chunks(*deltas: dict[str, Any], finish: str | None = "stop", written: int | None = None) -> Answer:
    """A stream of these deltas."""
    told: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
    if finish:
        told.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if written is not None:
        counted = {"prompt_tokens": 100, "completion_tokens": written, "total_tokens": 100 + written}
        told.append({"choices": [], "usage": counted})
    return verbatim(told)


def verbatim(told: list[dict[str, Any]]) -> Answer:
    return Answer(raw=[f"data: {json.dumps(chunk)}\n\n" for chunk in told] + ["data: [DONE]\n\n"])


def said(content: str, size: int = PIECE, **fields: Any) -> Answer:
    """Content in small pieces."""
    return Answer(pieces=[content[at : at + size] for at in range(0, len(content), size)], **fields)


def case_answer(file: str) -> Answer:
    text = (FOLDER / file).read_text()
    return said(text) if file.endswith(".txt") else verbatim(json.loads(text))


async def ask(parley: Live, session: dict[str, Any], text: str = "When is breakfast?", **fields: Any) -> dict[str, Any]:
    return await parley.done(await parley.text(session["id"], text, **fields))


def spoken(script: Script) -> str:
    return " ".join(call.text for call in script.of("speech"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
@pytest.mark.parametrize("reply_audio", [False, True], ids=["text", "spoken"])
async def test_a_case_comes_to_what_its_manifest_says(
    parley: Live, fake: FakeOpenAI, case: dict[str, Any], *, reply_audio: bool
) -> None:
    fake.script.always("chat", case_answer(case["file"]))
    session = await parley.session()
    job = await ask(parley, session, reply_audio=reply_audio)
    events = await all_of(parley, job)
    if wanted := case.get("said"):
        assert (job["status"], job["result"]["text"]) == ("succeeded", wanted)
        assert text_of(events) == wanted
        assert spoken(fake.script) == (wanted if reply_audio else "")
        assert (await parley.conversation(session["id"]))[-1]["text"] == wanted
        await ask(parley, session, "And lunch?")
        assert fake.script.of("chat")[-1].messages[-2]["content"] == wanted
    else:
        assert job["status"] == "failed"
        assert job["error"]["code"] in {"output_limit_reached", "content_filter"}
        assert (job["attempt"], fake.script.count("speech")) == (1, 0)
    assert fake.script.count("chat") == case.get("model_calls", 1) + (wanted is not None)


async def test_live_words_are_the_answer_alone_even_before_it_ends(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", said(f"{THOUGHT}Breakfast is at seven.", 1, chunk_delay_s=0.002))
    job = await parley.text((await parley.session())["id"])
    shown = [event.data["text"] for event in await all_of(parley, job) if event.name == "delta"]
    assert "".join(shown) == "Breakfast is at seven."
    assert len(shown) > 1


async def test_what_was_shown_and_was_no_answer_is_taken_back(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", said("Breakfast: they want the hour.\n</think>\n\nAt seven.", chunk_delay_s=0.01))
    job = await parley.text((await parley.session())["id"])
    events = await all_of(parley, job)
    assert "reset" in [event.name for event in events]
    assert text_of(events) == "At seven."
    assert (await parley.done(job))["attempt"] == 1


async def test_a_model_that_has_thought_without_an_opening_tag_is_held_back_from_then_on(
    parley: Live, fake: FakeOpenAI
) -> None:
    fake.script.always(
        "chat", said("Breakfast: they want the hour. Seven.\n</think>\n\nAt seven.", chunk_delay_s=0.005)
    )
    session = await parley.session()
    job = await ask(parley, session, reply_audio=True)
    assert (job["status"], job["result"]["text"]) == ("succeeded", "At seven.")
    before = fake.script.count("speech")
    job = await ask(parley, session, reply_audio=True)
    assert (job["result"]["text"], job["attempt"]) == ("At seven.", 1)
    assert [call.text for call in fake.script.of("speech")[before:]] == ["At seven."]
    assert [event.name for event in await all_of(parley, job) if event.name == "reset"] == []


@pytest.mark.parametrize("show", [True, False])
async def test_reasoning_is_shown_by_the_job_if_its_agent_says_so_and_by_nothing_else(
    parley: Live, fake: FakeOpenAI, *, show: bool
) -> None:
    fake.script.add("chat", said(f"{THOUGHT}At seven."), chunks({"reasoning_content": "Hm."}, {"content": "At one."}))
    agent = await parley.agent(show_reasoning=show)
    assert agent["show_reasoning"] is show
    session = await parley.session(agent_id=agent["id"])
    first, second = await ask(parley, session), await ask(parley, session)
    thoughts = ["The user asks. My hidden plan: 42.", "Hm."] if show else [None, None]
    assert [job["result"]["reasoning"] for job in (first, second)] == thoughts
    assert [job["result"]["text"] for job in (first, second)] == ["At seven.", "At one."]
    assert "hidden" not in json.dumps(await parley.conversation(session["id"]))
    assert "hidden" not in json.dumps(fake.script.of("chat")[-1].messages)


async def test_agents_hide_reasoning_unless_told(parley: Live) -> None:
    agent = await parley.agent()
    assert agent["show_reasoning"] is False
    changed = await parley.http.patch(f"{API}/agent/{agent['id']}", json={"show_reasoning": True})
    assert changed.json()["show_reasoning"] is True


@pytest.mark.parametrize(
    ("finish", "told"),
    [("stop", "stop"), ("length", "length"), ("max_tokens", "length"), ("content_filter", "content_filter"),
     ("SAFETY", "content_filter"), ("content_filter: RECITATION", "content_filter"), ("sensitive", "content_filter"),
     ("eos_token", "stop"), (None, None)],
)  # fmt: skip
async def test_a_reply_says_why_it_ended(parley: Live, fake: FakeOpenAI, finish: str | None, told: str | None) -> None:
    fake.script.add("chat", chunks({"content": "At sev"}, finish=finish))
    job = await ask(parley, await parley.session())
    assert (job["status"], job["result"]["text"], job["result"]["finish_reason"]) == ("succeeded", "At sev", told)
    assert fake.script.count("chat") == 1


FAILED = {
    "reasoning ate the budget": (chunks({"reasoning_content": "hm"}, finish="length", written=4096), "output_limit_reached"),
    "a tag was never closed": (chunks({"content": "<think>hm"}, finish="length", written=4096), "output_limit_reached"),
    "nothing was seen of it": (chunks({}, finish="length", written=4096), "output_limit_reached"),
    "the filter took it all": (chunks({"content": ""}, finish="content_filter", written=4096), "content_filter"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "code"), FAILED.values(), ids=FAILED)
async def test_what_a_model_answers_in_vain_is_paid_once_and_not_asked_again(
    guarded: Live, fake: FakeOpenAI, answer: Answer, code: str
) -> None:
    fake.script.always("chat", answer)
    await customer(guarded, balance=Decimal(5))
    session = await guarded.session()
    job = await ask(guarded, session, reply_audio=True)
    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", code, 1)
    assert fake.script.count("chat") == 1
    total = (await usage(guarded))["total"]
    assert (total["input_tokens"], total["output_tokens"]) == (100, 4096)
    after = await account(guarded)
    assert Decimal(after["balance"]) == Decimal(5) - Decimal(total["cost"]) < Decimal(5)
    assert after["reserved"] == "0"
    fake.script.always("chat", None)
    again = await guarded.http.post(job["links"]["self"] + "/retry")
    assert again.status_code == 202, again.text
    assert (await guarded.done(again.json()))["status"] == "succeeded"
    assert (await usage(guarded))["total"]["output_tokens"] > 4096


NO_REPLY = {
    "only reasoning": (chunks({"reasoning_content": "hm"}, written=300), "no_answer"),
    "a tag was never closed": (chunks({"content": "<think>hm"}, written=300), "no_answer"),
    "a tag was closed, and nothing followed": (chunks({"content": "<think>hm</think>"}, written=300), "no_answer"),
    "nothing": (chunks({}, written=300), "empty_reply"),
}


@pytest.mark.parametrize(("answer", "code"), NO_REPLY.values(), ids=NO_REPLY)
async def test_a_paid_answer_without_words_is_asked_for_once_more_and_booked_twice(
    guarded: Live, fake: FakeOpenAI, answer: Answer, code: str
) -> None:
    fake.script.always("chat", answer)
    await customer(guarded, balance=Decimal(5))
    job = await ask(guarded, await guarded.session())
    assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", code, 2)
    assert fake.script.count("chat") == 2
    total = (await usage(guarded))["total"]
    assert (total["input_tokens"], total["output_tokens"]) == (200, 600)
    after = await account(guarded)
    assert (Decimal(after["balance"]), after["reserved"]) == (Decimal(5) - Decimal(total["cost"]), "0")


PAID_IN_VAIN = {
    "only reasoning": chunks({"reasoning_content": "hm"}, written=300),
    "nothing": chunks({}, written=300),
    "broken off after the count": Answer(
        raw=[
            "data: "
            + json.dumps(
                {
                    "choices": [{"index": 0, "delta": {"content": "At"}}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 300},
                }
            )
            + "\n\n"
        ]
    ),
}


@pytest.mark.parametrize("answer", PAID_IN_VAIN.values(), ids=PAID_IN_VAIN)
@pytest.mark.parametrize(
    "models", ["openai/gpt-6-luna", "openai/gpt-6-luna,openai/gpt-6-sol"], ids=["again", "another"]
)
async def test_what_a_call_used_in_vain_is_added_to_that_of_the_reply(
    guarded: Live, fake: FakeOpenAI, answer: Answer, models: str
) -> None:
    fake.script.add("chat", answer)
    await customer(guarded, balance=Decimal(5))
    agent = await guarded.agent(ai_chat=models)
    job = await ask(guarded, await guarded.session(agent_id=agent["id"]))
    assert (job["status"], job["attempt"]) == ("succeeded", 1 if "," in models else 2)
    total = (await usage(guarded))["total"]
    assert (total["input_tokens"], total["output_tokens"]) == (111, 307)
    assert Decimal((await account(guarded))["balance"]) == Decimal(5) - Decimal(total["cost"])


async def test_a_call_in_vain_that_was_dear_leaves_enough_for_the_next(guarded: Live, fake: FakeOpenAI) -> None:
    fake.script.add("chat", chunks({"reasoning_content": "hm"}, written=4096))
    await customer(guarded, balance=Decimal(5))
    job = await ask(guarded, await guarded.session())
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert (await account(guarded))["reserved"] == "0"


async def test_reasoning_that_a_server_counts_in_its_total_alone_is_booked(parley: Live, fake: FakeOpenAI) -> None:
    counted = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}
    done = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": "stop"}]}
    fake.script.add("chat", verbatim([done, {"choices": [], "usage": counted}]))
    await ask(parley, await parley.session())
    total = (await usage(parley))["total"]
    assert (total["input_tokens"], total["output_tokens"]) == (10, 105)


@pytest.mark.parametrize("nothing", ["\u200b", "\ufeff", "\u2060\u00ad", "\u2800", "\u3164", "\u200d\ufe0f", "\u0301"])
async def test_a_reply_that_shows_nothing_is_empty(parley: Live, fake: FakeOpenAI, nothing: str) -> None:
    fake.script.add("chat", Answer(pieces=[nothing]))
    job = await ask(parley, await parley.session())
    assert (job["status"], job["attempt"], fake.script.count("chat")) == ("succeeded", 2, 2)
    assert job["result"]["text"].startswith("You said")


async def test_a_refused_parameter_costs_no_attempt_and_is_billed_once(guarded: Live, fake: FakeOpenAI) -> None:
    refusal = {
        "message": "Unsupported parameter: 'max_tokens'.",
        "param": "max_tokens",
        "code": "unsupported_parameter",
    }
    fake.script.add("chat", Answer(status=400, error=refusal))
    await customer(guarded, balance=Decimal(5))
    session = await guarded.session()
    job = await ask(guarded, session)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert [step["status"] for step in job["steps"]] == ["succeeded"]
    assert (await usage(guarded))["total"]["output_tokens"] == 7
    await ask(guarded, session)
    limits = [{name for name in call.wishes if "max" in name} for call in fake.script.of("chat")]
    assert limits == [{"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}]


async def test_a_withheld_reply_is_not_asked_of_another_model(parley: Live, fake: FakeOpenAI) -> None:
    fake.script.always("chat", chunks({}, finish="content_filter"))
    agent = await parley.agent(ai_chat="openai/one,openai/two")
    job = await ask(parley, await parley.session(agent_id=agent["id"]))
    assert (job["status"], job["error"]["code"], fake.script.count("chat")) == ("failed", "content_filter", 1)
