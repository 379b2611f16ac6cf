"""A key is all that is set, and OpenAI has ended its speech endpoint: Parley speaks on."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_standalone import API, newcomer
from tests.fakes.openai_host import HOST, OpenAIHost
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.faults.clocks import clock
from tests.processes import running, wait_until_healthy

THE_END = datetime(2027, 1, 6, tzinfo=UTC)
DAY_S = 86_400
GONE = Answer(status=404, error={"code": "model_not_found", "message": "The model has been shut down."})


def ahead(days_after_the_end: float) -> dict[str, str]:
    """The clock of so many days after it."""
    return clock(int((THE_END - datetime.now(UTC)).total_seconds() + days_after_the_end * DAY_S))


def spoken_reply(url: str) -> tuple[dict[str, Any], bytes]:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        agent = http.post(f"{API}/agent", json={"name": "Guide", "voice": "nova"}).json()
        session = http.post(f"{API}/session", json={"agent_id": agent["id"]}).json()
        said = {"session_id": session["id"], "text": "Are you still there?", "reply_audio": True}
        job = http.post(f"{API}/message/text", json=said, headers={"Prefer": "wait=60"}).json()
        assert job["status"] == "succeeded", job
        return job, http.get(job["links"]["audio"]).content


@pytest.mark.parametrize(
    ("days_after_the_end", "gone", "speaker"),
    [
        (-2, False, "openai/gpt-4o-mini-tts"),
        (-2, True, "openai/gpt-realtime-2.1-mini"),  # sooner than it was said
        (1, True, "openai/gpt-realtime-2.1-mini"),
    ],
    ids=["before", "before, but gone", "after"],
)
def test_the_default_configuration_speaks(tmp_path: Path, days_after_the_end: float, gone: bool, speaker: str) -> None:  # noqa: FBT001
    url, env = newcomer(tmp_path, OPENAI_API_KEY="sk-test-canary")
    with FakeOpenAI() as fake, OpenAIHost(tmp_path, int(httpx.URL(fake.url).port or 0)) as openai:
        fake.script.always("speech", GONE if gone else None)
        env |= openai.env | ahead(days_after_the_end)
        with running("-m", "standalone", log=tmp_path / "log", env=env) as parley:
            wait_until_healthy(url, parley)
            job, sound = spoken_reply(url)
        assert {step["model"] for step in job["steps"] if step["name"].startswith("speak")} == {speaker}
        assert len(sound) > 5_000
        assert set(openai.asked_for) == {f"{HOST}:443"}
        asked = {"speech": fake.script.count("speech") > 0, "realtime": fake.script.count("realtime") > 0}
        assert asked == {"speech": days_after_the_end < 0, "realtime": gone}
