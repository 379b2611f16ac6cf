"""Cuts a model's reasoning out of streamed content, where servers without a reasoning parser leave it.

A thought stands between two tags. The first is missing if the model's chat template wrote it into the prompt.
"""

from collections.abc import Callable
from enum import Enum, auto

from shared.blank_text import is_blank
from worker.providers.openings import Opening, opening_of
from worker.providers.tags import CANDIDATE, Tag, is_unfinished, tag_at
from worker.providers.text_position import TextPosition


class _State(Enum):
    START = auto()  # of the reply, or right after a thought
    THOUGHT = auto()
    ANSWER = auto()


class ThoughtCutter:
    """Passes on the answer and keeps the thoughts; what comes out does not depend on how the content is split.

    `presumed` is a model that is known to think first without an opening tag: its content is held back until the
    closing tag, or the end. Content that begins as a thought does is held back too, until `release`. When a closing tag
    shows that content already passed on was a thought, `take_back` is called.
    """

    def __init__(self, take_back: Callable[[], None], *, presumed: bool = False) -> None:
        self._take_back = take_back
        self._presumed = presumed
        self._buffer = ""
        self._at = 0
        self._state = _State.START
        self._place = TextPosition()
        self._thoughts: list[str] = []
        self._told: list[str] = []  # in a field of its own
        self._open: Tag | None = None  # of the thought under way
        self._is_inside = False  # it began in the middle of the answer
        self._thought: list[str] = []
        self._said: list[str] = []
        self._held: list[str] | None = None
        self._is_likely = False  # it began as a thought does
        self._is_wrapped = False  # the answer stands between tags of its own
        self._closed_late = False  # one more closing tag than opening ones, and nothing behind it yet
        self._has_thought = False
        self._mentioned: set[str] = set()
        self.began_untagged = False

    @property
    def reasoning(self) -> str:
        """The thoughts so far."""
        parts = ["".join(self._told), *self._thoughts, "".join(self._thought)]
        bare = (part.strip().removesuffix("<|end|>") for part in parts)
        return "\n\n".join(part for part in bare if part)

    def note(self, thought: str) -> None:
        """Keep a thought that the server sends in a field of its own."""
        self._told.append(thought)

    @property
    def is_guessing(self) -> bool:
        """Whether content is held back only because it begins as a thought does."""
        return self._held is not None and not self._presumed

    def release(self) -> str:
        """Pass on what a guess has held back: it may be an answer after all."""
        held, self._held = "".join(self._held or ()), None
        self._said.append(held)
        return held

    def add(self, content: str) -> str:
        """Read content and return the part of the answer that is now certain."""
        self._buffer += content
        return self._read(final=False, cut_off=False)

    def finish(self, *, cut_off: bool) -> str:
        """End the reply and return the rest of the answer; `cut_off` when a limit ended it."""
        return self._read(final=True, cut_off=cut_off)

    def _read(self, *, final: bool, cut_off: bool) -> str:
        out: list[str] = []
        while self._at < len(self._buffer) and self._go_on(out, final=final):
            pass
        self._buffer, self._at = self._buffer[self._at :], 0
        if final:
            self._end(out, cut_off=cut_off)
        return "".join(out)

    def _go_on(self, out: list[str], *, final: bool) -> bool:
        """Read on from `self._at`; False when more content is needed."""
        if self._state is _State.ANSWER:
            return self._answer(out, final=final)
        return self._think(final=final) if self._state is _State.THOUGHT else self._start(out, final=final)

    def _end(self, out: list[str], *, cut_off: bool) -> None:
        if self._state is _State.THOUGHT and self._is_inside and self._open and not cut_off:
            self._say(self._open.text + "".join(self._thought), out)  # never closed: it was only mentioned
            self._thought = []
        if self._held is not None and self._presumed and cut_off:
            self._thoughts.append("".join(self._held))
        elif self._held is not None:
            out.append(self.release())

    def _start(self, out: list[str], *, final: bool) -> bool:
        blank = len(self._buffer) - len(self._buffer[self._at :].lstrip(" \t\r\n\ufeff\u200b"))
        if not self._has_thought:
            out.append(self._buffer[self._at : blank].replace("\ufeff", "").replace("\u200b", ""))
        self._at = blank
        if blank == len(self._buffer):
            return False
        tag = tag_at(self._buffer, self._at)
        if tag and (tag.stands_alone or (tag.is_wrapper and self._has_thought)):
            self._at += len(tag.text)
            self._has_thought = True
            self._is_wrapped = tag.is_wrapper or tag.kind == "harmony"
            return True
        if tag and not tag.closes and not tag.is_wrapper:
            self._begin_thought(tag, is_inside=bool(self._said or self._held))
            return True
        if not final and is_unfinished(self._buffer, self._at):
            return False
        return self._begin_answer(out, final=final)

    def _begin_answer(self, out: list[str], *, final: bool) -> bool:
        if self._closed_late:
            self._turn_into_thought()
            out.clear()
        elif not (self._has_thought or any(self._told) or self._said or self._held is not None):
            opening = opening_of(self._buffer[self._at :], final=final)
            if opening is Opening.UNKNOWN:
                return False
            self._is_likely = opening is Opening.THOUGHT
            self._held = [] if self._is_likely or self._presumed else None
        self._state = _State.ANSWER
        return True

    def _begin_thought(self, tag: Tag, *, is_inside: bool) -> None:
        self._at += len(tag.text)
        if tag.is_empty:
            self._has_thought, self._state = True, _State.START
            return
        self._open, self._is_inside, self._state = tag, is_inside, _State.THOUGHT

    def _think(self, *, final: bool) -> bool:
        begin = self._at
        for found in CANDIDATE.finditer(self._buffer, begin):
            at = found.start()
            tag = tag_at(self._buffer, at)
            if tag and tag.closes and self._open and tag.kind == self._open.kind and not self._is_quoted(at):
                self._thought.append(self._buffer[begin:at])
                self._thoughts.append("".join(self._thought))
                self._thought, self._open, self._has_thought = [], None, True
                self._is_wrapped = tag.kind == "harmony"
                self._at, self._state = at + len(tag.text), _State.START
                return True
            if not final and is_unfinished(self._buffer, at):
                self._at = at
                break
        else:
            self._at = len(self._buffer)
        if self._at > begin:
            self._thought.append(self._buffer[begin : self._at])
        return False

    def _is_quoted(self, at: int) -> bool:
        before = self._buffer[at - 1] if at else (self._thought[-1][-1:] if self._thought else "")
        return before == "`"

    def _answer(self, out: list[str], *, final: bool) -> bool:
        for found in CANDIDATE.finditer(self._buffer, self._at):
            at = found.start()
            if at < self._at:
                continue  # within a tag that was only mentioned
            self._say(self._buffer[self._at : at], out)
            self._at = at
            if tag := tag_at(self._buffer, at, words=self._is_likely):
                if self._acts(tag, out):
                    return True
                self._say(tag.text, out)
                self._at += len(tag.text)
            elif not final and is_unfinished(self._buffer, at, words=self._is_likely):
                return False
        self._say(self._buffer[self._at :], out)
        self._at = len(self._buffer)
        return False

    def _acts(self, tag: Tag, out: list[str]) -> bool:
        """Act on a tag in the answer; False when it is only mentioned."""
        if tag.is_wrapper:
            is_meant = tag.closes and self._is_wrapped and not self._place.is_code
            if is_meant:
                self._at += len(tag.text)
                self._is_wrapped = False
            return is_meant
        return self._closes(tag, out) if tag.closes else self._opens(tag)

    def _opens(self, tag: Tag) -> bool:
        is_meant = (self._has_thought or tag.is_usual) and self._place.takes_opening(in_line=self._has_thought)
        if is_meant:
            self._begin_thought(tag, is_inside=True)
        else:
            self._mentioned.add(tag.kind)
        return is_meant

    def _closes(self, tag: Tag, out: list[str]) -> bool:
        """Without an opening tag, all before it was a thought; after a first thought only if an answer follows."""
        is_sure = self._presumed and self._held is not None
        is_mentioned = tag.kind in self._mentioned and not (is_sure and tag.is_usual)
        is_likely = self._is_likely and not self._has_thought
        if is_mentioned or not tag.stands_alone:
            return False
        if not self._place.takes_closing(is_likely=is_likely, in_code=is_sure):
            return False
        self._at += len(tag.text)
        self._closed_late, self._state = True, _State.START
        if self._held is not None or not self._has_thought:
            self._turn_into_thought()
            out.clear()
        return True

    def _turn_into_thought(self) -> None:
        """Make a thought of all content so far; the answer begins now."""
        is_told = self._held is None and not is_blank("".join(self._said))
        self._thoughts.append("".join(self._said) + "".join(self._held or ()))
        self._said, self._held, self._closed_late = [], None, False
        self.began_untagged = self.began_untagged or not self._has_thought
        self._has_thought = True
        self._place, self._mentioned = TextPosition(), set()
        if is_told:
            self._take_back()

    def _say(self, text: str, out: list[str]) -> None:
        if not text:
            return
        self._place.move(text)
        if self._held is not None:
            self._held.append(text)
        else:
            self._said.append(text)
            out.append(text)
