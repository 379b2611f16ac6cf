"""The tags between which models think.

Those of Qwen, DeepSeek, GLM and most others (`<think>`), Mistral, Kimi, Cohere, OpenThinker, gpt-oss (Harmony), Gemma
and Granite, and those that prompts ask for (`<thinking>`, `<reflection>` …).
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_PROMPTED = "thought", "reasoning", "reflection", "scratchpad", "monologue"  # asked for by prompts
_NAME = rf"(?:\w{{1,20}}[:_]|ant)?(?:think(?:ing)?|thoughts?|{'|'.join(_PROMPTED[1:])})(?:_process)?"
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
}
# Words in place of a closing tag: Granite's, and those of Harmony without its special tokens.
_WORDS = "Here is my response:", "Here's my response:", "assistantfinal"
# Around an answer, if a thought came before it.
_WRAPPERS = (
    r"<(?:final_answer|answer|response|output)>|<\|(?:begin_of_solution|START_RESPONSE)\|>",
    r"</(?:final_answer|answer|response|output)>|<\|(?:end_of_solution|END_RESPONSE|return|end)\|>",
)


def _any(patterns: Iterable[tuple[str, str]], flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in patterns), flags)


def _begun(*literals: str) -> str:
    """A pattern that matches every prefix of these texts."""
    nested = ("".join(f"(?:{re.escape(char)}" for char in literal) + ")?" * len(literal) for literal in literals)
    return "|".join(nested)


_LONGEST = 300
CANDIDATE = re.compile(
    rf"<(?=[|/\s\w]|\Z)|[\[◁](?=[/Tt]|\Z)|Here|assistant|(?=[Ha])(?:{_begun('Here', 'assistant')})\Z"
)
_OPENING = _any((kind, pair[0]) for kind, pair in _PAIRS.items())
_CLOSING = _any((kind, pair[1]) for kind, pair in _PAIRS.items())
_WRAPPER = _any(zip(("opening", "closing"), _WRAPPERS, strict=True))
_UNFINISHED = re.compile(
    rf"(?:<[|/\s]{{0,7}}[\w:|]{{0,60}}[/\s]{{0,7}}|<{_GAP}{_NAME}\s{_REST}/?{_GAP}"
    rf"|<\|(?:start|channel)\|>[^\n]{{0,200}}|<\|channel>[a-z]{{0,7}}"
    rf"|{_begun('[THINK]', '[/THINK]', '◁think▷', '◁/think▷')})\Z",
    re.IGNORECASE,
)
_UNFINISHED_WORDS = re.compile(rf"(?:{_begun(*_WORDS)})\Z")
_NAMED = re.compile(_NAME, re.IGNORECASE)


class Tag(NamedTuple):
    """A tag; an opening and a closing one match if they have the same `kind`."""

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
        """Whether it ends a thought even if no opening tag came before."""
        return self.closes and not self.is_wrapper

    @property
    def is_usual(self) -> bool:
        """Whether models write it unasked. Other names come from prompts, and may be part of ordinary XML."""
        return not self.kind.endswith(_PROMPTED)


def tag_at(text: str, at: int, *, words: bool = False) -> Tag | None:
    """The tag at this position; with `words`, also the phrases that some models write in place of a closing tag."""
    if found := _CLOSING.match(text, at):
        return Tag(_kind(found), found[0], closes=True)
    if found := _OPENING.match(text, at):
        return Tag(_kind(found), found[0])
    if found := _WRAPPER.match(text, at):
        return Tag("wrapper", found[0], closes=found.lastgroup == "closing")
    said = next((said for said in _WORDS if words and text.startswith(said, at)), None)
    return Tag("words", said, closes=True) if said else None


def is_unfinished(text: str, at: int, *, words: bool = False) -> bool:
    """Whether the rest of the text, from this position, may become a tag when more comes."""
    if len(text) - at > _LONGEST:
        return False
    return bool(_UNFINISHED.match(text, at) or (words and _UNFINISHED_WORDS.match(text, at)))


def _kind(found: re.Match[str]) -> str:
    """`</thinking>` closes `<think>` too, `</reflection>` does not."""
    kind = found.lastgroup or ""
    name = _NAMED.search(found[0]) if kind == "tag" else None
    return re.sub("(?:ing|s)?(?:_process)?$", "", name[0].casefold()) if name else kind
