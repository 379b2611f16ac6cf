"""`python -m worker check-models`, as an operator runs it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.fakes.assemblyai import FakeAssemblyAI
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.fakes.watsonx import FakeWatsonx
from tests.faults.clocks import clock

KEY = "sk-canary-8f3a61c2d97b4e05"
NOBODY = "http://127.0.0.1:9/v1"
MS = re.compile(r"[\d,]+ ms")


class Row(NamedTuple):
    """A line of the table."""

    role: str
    model: str
    reachable: str
    latency: str
    first_token: str
    answer: str
    ends_on: str


class Checked(NamedTuple):
    """What the command did."""

    code: int
    rows: list[Row]
    stdout: str
    stderr: str

    def row(self, model: str) -> Row:
        """The only line of a model."""
        (found,) = [row for row in self.rows if row.model == model]
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _fresh(server: FakeOpenAI) -> None:
    server.script.reset()


def check(folder: Path, **settings: str) -> Checked:
    """Run it with these settings and nothing else: there is no Redis, no database and no terminal."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ENV": "TEST", **settings}
    command = [sys.executable, "-m", "worker", "check-models"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert KEY not in done.stdout + done.stderr
    return Checked(done.returncode, rows_of(done.stdout), done.stdout, done.stderr)


def rows_of(table: str) -> list[Row]:
    """The table by its columns: they begin where the headings do."""
    heading, *lines = table.splitlines() or [""]
    starts = [heading.find(field.replace("_", " ")) for field in Row._fields]
    assert starts == sorted(starts)
    ends = [*starts[1:], None]
    return [Row(*(line[start:end].strip() for start, end in zip(starts, ends, strict=True))) for line in lines]


def mine(server: FakeOpenAI) -> dict[str, str]:
    return {
        "AI_CHAT": "mine/llama-4",
        "AI_STT": "mine/whisper-1",
        "AI_TTS": "mine/kokoro",
        "PROVIDERS__MINE__BASE_URL": server.url,
        "PROVIDERS__MINE__API_KEY": KEY,
    }


def test_every_model_is_asked_something_short_and_told_how_long_it_took(server: FakeOpenAI, tmp_path: Path) -> None:
    server.script.always("chat", Answer(pieces=["Hel", "lo"], delay_s=0.02, chunk_delay_s=0.05))
    server.script.always("transcriptions", Answer(text="What time is it?"))
    done = check(tmp_path, **mine(server))
    assert (done.code, done.stderr) == (0, "")
    assert [(row.role, row.model, row.reachable) for row in done.rows] == [
        ("chat", "mine/llama-4", "yes"), ("stt", "mine/whisper-1", "yes"), ("tts", "mine/kokoro", "yes"),
    ]  # fmt: skip
    assert [MS.fullmatch(row.latency) is None for row in done.rows] == [False] * 3
    chat, stt, tts = done.rows
    assert 0 < milliseconds(chat.first_token) < milliseconds(chat.latency)
    assert (stt.first_token, tts.first_token) == ("", "")
    assert (chat.answer, stt.answer) == ("Hello", "What time is it?")
    assert re.fullmatch(r"mp3, 24 kHz, \d\.\d s", tts.answer)
    assert [server.script.count(endpoint) for endpoint in ("chat", "transcriptions", "speech")] == [1, 1, 1]
    assert list(tmp_path.iterdir()) == []


def test_a_chat_model_is_asked_as_a_job_asks_it(server: FakeOpenAI, tmp_path: Path) -> None:
    refusal = {"message": "Unsupported parameter: 'max_tokens'.", "param": "max_tokens"}
    server.script.add("chat", Answer(status=400, error=refusal), Answer(text="<think>A greeting.</think>Hello"))
    done = check(tmp_path, **mine(server), MAX_REPLY_TOKENS="123")
    chat = done.row("mine/llama-4")
    assert (done.code, chat.reachable, chat.answer) == (0, "yes", "Hello")
    usual = {"stream": True, "stream_options": {"include_usage": True}}
    first, second = server.script.of("chat")
    assert (first.wishes, second.wishes) == ({**usual, "max_tokens": 123}, {**usual, "max_completion_tokens": 123})
    assert [message["role"] for message in second.messages] == ["system", "user"]


def test_a_chat_model_that_only_thinks_does_not_answer(server: FakeOpenAI, tmp_path: Path) -> None:
    server.script.add("chat", Answer(text="<think>A greeting.", finish="length"))
    chat = check(tmp_path, **mine(server)).row("mine/llama-4")
    assert (chat.reachable, chat.answer[:38]) == ("no", "The model 'llama-4' reached its output")


def milliseconds(told: str) -> int:
    return int(told.removesuffix(" ms").replace(",", ""))


def test_what_fails_says_why_and_the_others_are_shown_all_the_same(server: FakeOpenAI, tmp_path: Path) -> None:
    with FakeOpenAI() as refusing:
        refusing.script.always("chat", Answer(status=401))
        refusing.script.always("speech", Answer(status=404))
        done = check(
            tmp_path,
            **mine(server)
            | {
                "AI_CHAT": "refusing/llama-4,mine/llama-4",
                "AI_STT": "away/whisper-1, mine/whisper-1",
                "AI_TTS": "mine/kokoro,refusing/piper",
                "PROVIDERS__REFUSING__BASE_URL": refusing.url,
                "PROVIDERS__REFUSING__API_KEY": KEY,
                "PROVIDERS__AWAY__BASE_URL": NOBODY,
            },
        )
    assert done.code == 1
    assert [(row.model, row.reachable) for row in done.rows] == [
        ("refusing/llama-4", "no"), ("mine/llama-4", "yes"), ("away/whisper-1", "no"), ("mine/whisper-1", "yes"),
        ("mine/kokoro", "yes"), ("refusing/piper", "no"),
    ]  # fmt: skip
    assert done.row("refusing/llama-4").answer == "The model server 'refusing' refused the key it was given."
    assert done.row("refusing/llama-4").first_token == ""
    assert done.row("away/whisper-1").answer == "The model server 'away' can't be reached."
    assert (
        done.row("refusing/piper").answer
        == "The model server 'refusing' has no model 'piper', or its base URL is wrong."
    )


def test_the_other_wires_are_asked_too(server: FakeOpenAI, tmp_path: Path) -> None:
    with FakeWatsonx() as watsonx, FakeAssemblyAI() as assemblyai:
        watsonx.script.always("chat", Answer(text="Hello"))
        assemblyai.script.always("transcript", Answer(text="What time is it?"))
        done = check(
            tmp_path,
            **mine(server)
            | {
                "AI_CHAT": "watsonx/ibm/granite-4-h-small",
                "AI_STT": "assemblyai/universal-3-pro",
                "AI_TTS": "mine/gpt-realtime-mini",
                "WX_API_KEY": KEY,
                "WX_URL": watsonx.url,
                "WX_PROJECT_ID": "project",
                "WX_IAM_URL": watsonx.iam_url,
                "PROVIDERS__ASSEMBLYAI__BASE_URL": assemblyai.url,
                "PROVIDERS__ASSEMBLYAI__API_KEY": KEY,
            },
        )
    assert (done.code, done.stderr) == (0, "")
    assert [row.answer for row in done.rows[:2]] == ["Hello", "What time is it?"]
    assert done.rows[2].answer.startswith("pcm, 24 kHz, ")


def test_warnings_go_where_logs_go_and_not_into_the_table(server: FakeOpenAI, tmp_path: Path) -> None:
    server.script.always("realtime", Answer(reading="I am sorry, I can't help with that."))
    done = check(tmp_path, **mine(server) | {"AI_TTS": "mine/gpt-realtime-mini"})
    assert done.code == 0
    assert "speech.differs" in done.stderr
    assert [row.reachable for row in done.rows] == ["yes"] * 3


def test_a_long_answer_is_cut_and_takes_one_line(server: FakeOpenAI, tmp_path: Path) -> None:
    server.script.always("chat", Answer(text="Hello!\n\n\x1b[31mHow " + "very " * 50 + "nice."))
    done = check(tmp_path, **mine(server))
    assert done.code == 0
    assert re.fullmatch(r"Hello! \[31mHow (very )+.{0,4}…", done.rows[0].answer)
    assert len(done.rows) == 3
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 120


def test_the_day_on_which_a_model_ends_is_told_where_it_is_known(server: FakeOpenAI, tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(
        '[[model]]\nid = "mine/llama-4"\nkind = "chat"\nretires_on = 2099-01-31\nfollowed_by = "mine/llama-5"\n'
    )
    done = check(tmp_path, **mine(server), MODEL_CATALOGUE=str(catalogue))
    assert done.code == 0
    assert [(row.model, row.ends_on) for row in done.rows] == [
        ("mine/llama-4", "2099-01-31"), ("mine/llama-5", ""), ("mine/whisper-1", ""), ("mine/kokoro", ""),
    ]  # fmt: skip


def test_the_offline_engine_is_there_without_any_setting(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert (done.code, done.stderr) == (0, "")
    assert [(row.role, row.model, row.reachable) for row in done.rows] == [
        (role, "offline/offline", "yes") for role in ("chat", "stt", "tts")
    ]
    assert done.rows[2].answer.startswith("pcm, 22.05 kHz, ")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"AI_CHAT": "nobody/model"}, "AI_CHAT names 'nobody': set PROVIDERS__NOBODY__BASE_URL"),
        ({"OPENAI_API_KEY": f"{KEY} 2"}, "the API key of 'openai' holds characters that no key has"),
        ({"MODEL_CATALOGUE": "nowhere.toml"}, "Parley can't read its models: nowhere.toml"),
    ],
)
def test_settings_with_which_no_worker_starts_are_told_in_words(
    settings: dict[str, str], told: str, tmp_path: Path
) -> None:
    done = check(tmp_path, **settings)
    assert (done.code, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_has_ended_is_told_with_who_follows_it_and_not_asked(tmp_path: Path) -> None:
    ahead = clock(int((datetime(2027, 1, 7, tzinfo=UTC) - datetime.now(UTC)).total_seconds()))
    done = check(tmp_path, OPENAI_API_KEY="sk-x", HTTPS_PROXY="http://127.0.0.1:9", **ahead)
    (ended,) = [row for row in done.rows if row.model == "openai/gpt-4o-mini-tts"]
    assert (ended.reachable, ended.answer) == ("ended", "openai/gpt-realtime-2.1-mini follows")


def test_a_model_that_has_ended_is_asked_when_nobody_follows_it(server: FakeOpenAI, tmp_path: Path) -> None:
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(
        "".join(
            f'[[model]]\nid = "mine/{one}"\nkind = "chat"\nretires_on = 2026-01-01\nfollowed_by = "{other}"\n'
            for one, other in (("alone", "nowhere/b"), ("this", "mine/that"), ("that", "mine/this"))
        )
    )
    for named, asked in (("mine/alone", ["mine/alone"]), ("mine/this", ["mine/this", "mine/that"])):
        done = check(tmp_path, **mine(server) | {"AI_CHAT": named}, MODEL_CATALOGUE=str(catalogue))
        assert [(row.model, row.reachable) for row in done.rows if row.role == "chat"] == [
            (one, "yes") for one in asked
        ]
