"""Which languages an agent hears and speaks, and with which voice."""

from typing import Any

import pytest

from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

NOTE = SAMPLES / "en_13.flac"
ARABIC, ENGLISH, FRENCH = (
    "كم الساعة الآن؟",
    "What time is it in the village now?",
    "Bonjour tout le monde, ça va bien ?",
)
BOTH = ["ar", "en"]


@pytest.fixture(params=["embedded"])
def stack(request: pytest.FixtureRequest) -> str:
    """Languages are chosen alike with any stores."""
    return str(request.param)


def system_of(fake: FakeOpenAI) -> str:
    return str(fake.script.of("chat")[-1].messages[0]["content"])


async def spoken_to(live: Live, text: str, session: dict[str, Any]) -> dict[str, Any]:
    return dict((await live.done(await live.text(session["id"], text)))["result"])


async def heard_by(live: Live, session: dict[str, Any], **fields: Any) -> dict[str, Any]:
    job = await live.done(await live.voice(session["id"], NOTE, **fields))
    assert job["status"] == "succeeded", job
    return dict(job["result"])


async def test_an_agent_says_which_languages_it_speaks_and_its_voice_in_each(parley: Live) -> None:
    agent = await parley.agent(languages=BOTH, language="en", voice="alloy", voices={"ar": "shimmer"})
    assert (agent["languages"], agent["voices"]) == (BOTH, {"ar": "shimmer"})
    path = f"{API}/agent/{agent['id']}"
    assert (await parley.http.get(path)).json() == agent
    changed = await parley.http.patch(path, json={"languages": ["ar", "en", "fr"]})
    assert (changed.status_code, changed.json()["voices"]) == (200, {"ar": "shimmer"})
    plain = await parley.agent()
    assert (plain["languages"], plain["voices"]) == ([], {})


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"languages": ["english"]}, "languages.0"),
        ({"languages": "ar"}, "languages"),
        ({"languages": None}, "languages"),
        ({"languages": ["ar"], "language": "en"}, "language"),
        ({"languages": ["ar"], "voices": {"en": "alloy"}}, "voices"),
        ({"voices": {"ar": ""}}, "voices.ar"),
        ({"voices": {"Arabic": "x"}}, "voices.Arabic.[key]"),
        ({"languages": ["ar"] * 51}, "languages"),
    ],
)
async def test_a_policy_that_contradicts_itself_is_refused(parley: Live, fields: dict[str, Any], field: str) -> None:
    made = await parley.http.post(f"{API}/agent", json={"name": "A", **fields})
    assert (made.status_code, made.json()["errors"][0]["field"]) == (422, field)


async def test_a_change_is_judged_with_what_stays(parley: Live) -> None:
    agent = await parley.agent(languages=BOTH, language="en", voices={"ar": "shimmer"})
    for change in ({"languages": ["ar"]}, {"language": "fr"}, {"voices": {"fr": "x"}}, {"languages": ["en"]}):
        answer = await parley.http.patch(f"{API}/agent/{agent['id']}", json=change)
        assert answer.status_code == 422, change
    assert (await parley.http.get(f"{API}/agent/{agent['id']}")).json() == agent
    narrowed = {"languages": ["ar"], "language": None}
    assert (await parley.http.patch(f"{API}/agent/{agent['id']}", json=narrowed)).status_code == 200


async def test_a_text_outside_the_policy_is_answered_in_the_conversations_language(
    parley: Live, fake: FakeOpenAI
) -> None:
    agent = await parley.agent(languages=BOTH)
    session = await parley.session(agent_id=agent["id"])
    assert (await spoken_to(parley, FRENCH, session))["language"] == "ar"  # the first that it speaks
    assert (await spoken_to(parley, ENGLISH, session))["language"] == "en"
    assert (await spoken_to(parley, FRENCH, session))["language"] == "en"  # the conversation's by now
    assert "Reply in English" in system_of(fake)
    assert (await spoken_to(parley, ARABIC, session))["language"] == "ar"
    free = await parley.session()
    assert (await spoken_to(parley, FRENCH, free))["language"] == "fr"


@pytest.mark.usefixtures("fake")
async def test_a_conversation_in_a_language_that_its_agent_unlearned_goes_on_in_its_default(
    parley: Live,
) -> None:
    agent = await parley.agent(languages=["ar", "en", "fr"], language="en")
    session = await parley.session(agent_id=agent["id"], language="fr")
    await parley.http.patch(f"{API}/agent/{agent['id']}", json={"languages": BOTH})
    assert (await spoken_to(parley, "OK", session))["language"] == "en"


async def test_a_speech_model_is_told_which_languages_to_expect(parley: Live, fake: FakeOpenAI) -> None:
    agent = await parley.agent(languages=BOTH, language="en")
    session = await parley.session(agent_id=agent["id"])
    await heard_by(parley, session, reply_audio=False)
    await heard_by(parley, session, reply_audio=False, language="ar")
    await heard_by(parley, session, reply_audio=False, language="fr")  # it does not speak that: no hint
    await heard_by(parley, await parley.session(), reply_audio=False)
    assert [call.languages for call in fake.script.of("transcriptions")] == [["en", "ar"], ["ar"], ["en", "ar"], []]


@pytest.mark.parametrize(
    ("said", "detected", "language"),
    [
        ("Sí.", ["es"], "es"),  # too short to be told by itself: the model's word counts
        ("Yes please, thank you.", ["la"], "en"),  # whisper takes short clips for Latin
        (ARABIC, ["fa"], "ar"),  # letters say more
        ("Mhm.", [], "en"),  # nobody knows: the conversation's
        ("Hmm.", ["la"], "en"),
        ("Jó napot, szeretnék egy asztalt foglalni.", ["hu"], "hu"),  # the text alone would be taken for Polish
        ("Hello, can you hear me clearly?", ["de"], "en"),
    ],
)
async def test_what_a_speech_model_detected_is_used_where_the_text_leaves_doubts(
    parley: Live, fake: FakeOpenAI, said: str, detected: list[str], language: str
) -> None:
    fake.script.add("transcriptions", Answer(text=said, languages=detected))
    result = await heard_by(parley, await parley.session(), reply_audio=False)
    assert (result["transcript"], result["language"]) == (said, language)


async def test_a_detection_outside_the_policy_falls_back_to_the_conversations_language(
    parley: Live, fake: FakeOpenAI
) -> None:
    agent = await parley.agent(languages=BOTH, language="ar")
    session = await parley.session(agent_id=agent["id"])
    fake.script.add(
        "transcriptions", Answer(text="Mhm.", languages=["cy"]), Answer(text=FRENCH, languages=["fr", "en"])
    )
    assert (await heard_by(parley, session, reply_audio=False))["language"] == "ar"
    assert (await heard_by(parley, session, reply_audio=False))["language"] == "en"  # the likelier of what it speaks


async def test_each_language_has_its_voice(parley: Live, fake: FakeOpenAI) -> None:
    agent = await parley.agent(languages=BOTH, voice="onyx", voices={"ar": "shimmer"})
    session = await parley.session(agent_id=agent["id"])
    fake.script.add("chat", Answer(text="It is noon."), Answer(text="إنها الظهيرة الآن."), Answer(text="It is one."))
    for text in (ENGLISH, ARABIC, ENGLISH):
        job = await parley.done(await parley.text(session["id"], text, reply_audio=True))
        assert job["status"] == "succeeded"
    assert [call.voice for call in fake.script.of("speech")] == ["onyx", "shimmer", "onyx"]
