"""The tags between which models think.

Those of Qwen, DeepSeek, GLM and most others (`<think>`), Mistral, Kimi, Cohere, OpenThinker, gpt-oss (Harmony), Gemma
and Granite, and those that prompts ask for (`<thinking>`, `<reflection>` …).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_NAMES = r"think(?:ing)?|antthinking|thoughts?|reasoning|reasoning_scratchpad|scratchpad|reflection|monologue"
_NAME = rf"(?:\w{{1,20}}[:_])?(?:{_NAMES})"
_THINK = "(?:thinking|think|thought|reasoning)"
_GAP, _REST = r"\s{0,3}", "[^<>]{0,200}"
_CHANNEL = r"(?:<\|start\|>assistant)?<\|channel\|>\s?(?:{})[^<>|]{{0,80}}(?:<\|constrain\|>\w{{0,20}})?<\|message\|>"
_PAIRS = {
    "tag": (rf"<{_GAP}{_NAME}(?:\s{_REST})?/?{_GAP}>", rf"<{_GAP}/{_GAP}{_NAME}{_GAP}>"),
    "token": (
        rf"<\|{_GAP}(?:begin_of_|start_)?{_THINK}{_GAP}\|>",
        rf"<\|{_GAP}(?:/|end_of_|end_){_THINK}{_GAP}\|>",
    ),
    "bracket": (r"\[THINK\]", r"\[/THINK\]"),
    "kimi": ("◁think▷", "◁/think▷"),
    "harmony": (_CHANNEL.format("analysis|commentary"), _CHANNEL.format("final")),
    "gemma": (r"<\|channel>thought", r"<channel\|>"),
    "medgemma": ("<unused94>thought", "<unused95>"),
    "details": (rf"<details\s{_REST}\btype=[\"']reasoning[\"']{_REST}>", "</details>"),
}
# Words in place of tags: they count at the start of a reply only, and in a thought that began with them.
_GRANITE = (
    ("Here is my thought process:", "Here's my thought process:"),
    ("Here is my response:", "Here's my response:"),
)
_BARE = "analysis", "assistantfinal"  # Harmony, of which a server has left out the special tokens
# Around an answer, if a thought came before it.
_WRAPPERS = (
    r"<(?:final_answer|answer|response|output)>|<\|(?:begin_of_solution|START_RESPONSE)\|>",
    r"</(?:final_answer|answer|response|output)>|<\|(?:end_of_solution|END_RESPONSE|return|end)\|>",
)
_NEEDS_OPENING = {"details", "granite", "bare", "wrapper"}


def _any(patterns: Iterable[tuple[str, str]], flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in patterns), flags)


def _begun(*literals: str) -> str:
    """A pattern of all beginnings of these texts."""
    nested = ("".join(f"(?:{re.escape(char)}" for char in literal) + ")?" * len(literal) for literal in literals)
    return "|".join(nested)


_LONGEST = 300
CANDIDATE = re.compile(
    rf"<(?=[|/\s\w]|\Z)|[\[◁](?=[/Tt]|\Z)|Here|assistant|(?=[Ha])(?:{_begun('Here', 'assistant')})\Z"
)
_OPENING = _any((kind, pair[0]) for kind, pair in _PAIRS.items())
_CLOSING = _any((kind, pair[1]) for kind, pair in _PAIRS.items())
_FIRST_WORDS = _any([("granite", "|".join(_GRANITE[0])), ("bare", f"{_BARE[0]}(?=[A-Z])")], flags=0)
_LAST_WORDS = _any([("granite", "|".join(_GRANITE[1])), ("bare", _BARE[1])], flags=0)
_WRAPPER = _any(zip(("opening", "closing"), _WRAPPERS, strict=True))
_UNFINISHED = re.compile(
    rf"(?:<[|/\s]{{0,7}}[\w:|]{{0,60}}[/\s]{{0,7}}|<{_GAP}(?:{_NAME}|details)\s{_REST}/?{_GAP}"
    rf"|<\|(?:start|channel)\|>[^\n]{{0,200}}|<\|channel>[a-z]{{0,7}}|<unused94>[a-z]{{0,7}}"
    rf"|{_begun('[THINK]', '[/THINK]', '◁think▷', '◁/think▷')})\Z",
    re.IGNORECASE,
)
_UNFINISHED_FIRST = re.compile(rf"(?:{_begun(*_GRANITE[0], _BARE[0])})\Z")
_UNFINISHED_LAST = re.compile(rf"(?:{_begun(*_GRANITE[1], _BARE[1])})\Z")
_NAMED = re.compile(_NAME, re.IGNORECASE)


class Tag(NamedTuple):
    """A tag as it is written; those of one `kind` belong together."""

    kind: str
    text: str
    closes: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it is an element without content: `<think/>`."""
        return not self.closes and self.text.endswith("/>")

    @property
    def is_wrapper(self) -> bool:
        """Whether it belongs to an answer, not to a thought."""
        return self.kind == "wrapper"

    @property
    def stands_alone(self) -> bool:
        """Whether it says by itself that what came before was a thought."""
        return self.closes and self.kind not in _NEEDS_OPENING


def tag_at(text: str, at: int, *, at_start: bool = False, in_thought: bool = False) -> Tag | None:
    """The tag that begins there, in the answer, at the start of a reply, or where a thought can only end."""
    if found := _CLOSING.match(text, at) or (in_thought and _LAST_WORDS.match(text, at)):
        return Tag(_kind(found), found[0], closes=True)
    if in_thought:
        return None
    if found := _OPENING.match(text, at) or (at_start and _FIRST_WORDS.match(text, at)):
        return Tag(_kind(found), found[0])
    if found := _WRAPPER.match(text, at):
        return Tag("wrapper", found[0], closes=found.lastgroup == "closing")
    return None


def is_unfinished(text: str, at: int, *, at_start: bool = False, in_thought: bool = False) -> bool:
    """Whether what stands there, up to the end of the text, may become a tag."""
    if len(text) - at > _LONGEST:
        return False
    if _UNFINISHED.match(text, at):
        return True
    words = _UNFINISHED_FIRST if at_start else _UNFINISHED_LAST
    return (at_start or in_thought) and words.match(text, at) is not None


def _kind(found: re.Match[str]) -> str:
    """`<think>` is closed by `</thinking>` too, and not by `</reflection>`."""
    kind = found.lastgroup or ""
    name = _NAMED.search(found[0]) if kind == "tag" else None
    return re.sub("(?:ing|s)$", "", name[0].casefold()) if name else kind
