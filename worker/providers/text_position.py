"""The position in streamed Markdown: a tag in code or in a sentence is only mentioned."""
# ruff: noqa: RUF001 - the marks of many scripts

import re

_MARKS = re.compile(r"[`~\n]")
_PART = re.compile(r"`+|~+|\n|[^`~\n]+")
_FENCE, _LONGEST_RUN = 3, 1_000
_BEFORE_FENCE = " \t>"
_CODE_INDENT = 4
_SENTENCE_ENDS = frozenset(".!?…。！？؟۔।")
_QUOTES = frozenset("\"'“”‘’«»([{=`")


class TextPosition:
    """The end of a text: in a fence, in a code span, at the start of a line, or after this or that character."""

    def __init__(self) -> None:
        self._fence = ""
        self._span = 0
        self._run = ""  # of backticks or tildes, which may go on
        self._may_fence = True
        self._last = ""  # what is not white space, in this line
        self._has_space = False
        self._indent = 0

    def move(self, text: str) -> None:
        """Move past this text."""
        if not _MARKS.search(text):
            self._end_run()
            self._go_on(text)
            return
        for part in _PART.findall(text):
            if part[0] in "`~":
                if not self._run.startswith(part[0]):
                    self._end_run()
                self._run = (self._run + part)[:_LONGEST_RUN]
                continue
            self._end_run()
            if part == "\n":
                self._span, self._may_fence, self._last, self._has_space = 0, True, "", False
                self._indent = 0
            else:
                self._go_on(part)

    @property
    def is_code(self) -> bool:
        """Whether it is within code."""
        self._end_run()
        return bool(self._fence or self._span)

    def takes_opening(self, *, in_line: bool) -> bool:
        """Whether a thought may begin here: at the start of a line, and `in_line` after a sentence too."""
        if self.is_code:
            return False
        return self._indent < _CODE_INDENT if not self._last else in_line and self._last in _SENTENCE_ENDS

    def takes_closing(self, *, is_likely: bool, in_code: bool) -> bool:
        """Whether a thought may end here; `is_likely` within a line too, `in_code` within code that is not whole."""
        if (self.is_code and not in_code) or self._last == "`":
            return False
        if is_likely or self._last in _SENTENCE_ENDS:
            return True
        if not self._last:
            return self._indent < _CODE_INDENT
        return not self._has_space and self._last not in _QUOTES

    def _go_on(self, part: str) -> None:
        if not self._last:
            bare = part.lstrip()
            self._indent += len(part[: len(part) - len(bare)].expandtabs(_CODE_INDENT))
        bare = part.rstrip()
        self._has_space = len(bare) < len(part)
        if bare:
            self._last = bare[-1]
            self._may_fence = self._may_fence and not bare.strip(_BEFORE_FENCE)

    def _end_run(self) -> None:
        run, self._run = self._run, ""
        if not run:
            return
        if self._fence:
            self._fence = "" if self._may_fence and run.startswith(self._fence) else self._fence
        elif self._may_fence and len(run) >= _FENCE:
            self._fence = run
        elif run[0] == "`":
            self._span = 0 if self._span == len(run) else self._span or len(run)
        self._may_fence, self._last, self._has_space = False, run[0], False
