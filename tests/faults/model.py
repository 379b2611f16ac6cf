"""The model server of the fault tests: what it answers follows from what it is asked, so every call tells its job.

A user's message is `prompt(topic, sentences)`. The reply has that many sentences; each of them holds the topic, a
word that no other message has.
"""

import hashlib
import io
import re
import wave
from dataclasses import replace
from functools import cache

from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer, Call, Endpoint, Script

NOTE_S = 1.0
_PROMPT = re.compile(r"Please tell me (\d+) things about (topic[a-z]+)\.")
_SENTENCE = re.compile(r"Sentence (\d+) says something about topic[a-z]+\.")
_TOPIC = re.compile(r"topic[a-z]+")


def prompt(topic: str, sentences: int) -> str:
    """A user's message."""
    return f"Please tell me {sentences} things about {topic}."


def reply_to(text: str) -> str | None:
    """The whole reply to a text that holds a prompt."""
    asked = _PROMPT.search(text)
    if asked is None:
        return None
    return " ".join(_sentence(asked[2], number) for number in range(1, int(asked[1]) + 1))


def topics_in(text: str) -> list[str]:
    """The topics that a text is about."""
    return _TOPIC.findall(text)


def note(topic: str) -> bytes:
    """A voice note unlike that of any other topic."""
    params, sound = _speech()
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams(params)
        writer.writeframes(hashlib.sha256(topic.encode()).digest() + sound)
    return file.getvalue()


class Model(Script):
    """Answers prompts by itself; what a test scripts (`once`, `hold`, `add`, `always`) is done to those answers."""

    def reset(self) -> None:
        super().reset()
        self._notes: dict[str, str] = {}

    def expect_note(self, audio: bytes, text: str) -> None:
        """Hear `text` in exactly these bytes."""
        self._notes[hashlib.sha256(audio).hexdigest()] = text

    def begin(self, call: Call) -> Answer:
        """Record a call and choose its answer; a transcription's `text` is what there is to hear."""
        if call.endpoint == "transcriptions":
            call.text = self._notes.get(call.sha256, "")
        answer = super().begin(call)
        if (answer.text, answer.pieces, answer.raw) != (None, None, None):
            return answer
        return replace(answer, text=reply_to(call.text) if call.endpoint == "chat" else call.text)

    def once(self, topic: str, step: str, *answers: Answer) -> None:
        """Answer the next calls that a job makes for `step` so; the step is `transcribe`, `reply` or `speak/n`."""
        kind, _, number = step.partition("/")
        endpoint: Endpoint = "transcriptions" if kind == "transcribe" else "chat" if kind == "reply" else "speech"
        when = _sentence(topic, int(number)) if number else topic
        self.add(endpoint, *[replace(answer, when=when) for answer in answers])

    def hold(self, topic: str, step: str) -> None:
        """Leave the next call that a job makes for `step` unanswered until `release()`."""
        self.once(topic, step, Answer(hold=True))

    def asked(self, topic: str, step: str) -> list[Call]:
        """The calls that a job made for `step`."""
        return [call for call in self.calls if topic in call.text and step_of(call) == step]


def step_of(call: Call) -> str:
    """The step that made a call."""
    if call.endpoint == "speech":
        spoken = _SENTENCE.search(call.text)
        return f"speak/{spoken[1]}" if spoken else "speak/?"
    return {"chat": "reply", "transcriptions": "transcribe"}.get(call.endpoint, call.endpoint)


def _sentence(topic: str, number: int) -> str:
    return f"Sentence {number} says something about {topic}."


@cache
def _speech() -> tuple["wave._wave_params", bytes]:
    with wave.open(str(SAMPLES / "en_01_pcm16_16k.wav")) as reader:
        return reader.getparams(), reader.readframes(int(NOTE_S * reader.getframerate()))
