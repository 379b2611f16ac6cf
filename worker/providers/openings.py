"""How thoughts begin whose opening tag is missing, and the models whose templates leave it out."""
# ruff: noqa: RUF001 - the words of many languages

import re
from enum import Enum, auto


class Opening(Enum):
    """What the first words of a reply look like."""

    ANSWER = auto()
    THOUGHT = auto()
    UNKNOWN = auto()  # until more of it has come


_LEADS = (
    "", "okay, ", "ok, ", "okay. ", "okay, so ", "alright, ", "alright, so ",
    "hmm, ", "so ", "so, ", "first, ",
)  # fmt: skip
_WHO = "user", "guest", "customer", "caller"
_DOES = "ask", "is ", "has ", "just ", "want", "need", "said", "says", "seems", "might "
# About the user in the third person, or about the reply: rare in words that are meant for the user.
_PLANS = (
    *(f"the {who} {does}" for who in _WHO for does in _DOES),
    "the user's ", "the question is ", "user asks", "user wants", "they ask", "they want", "let me think",
    "i need to figure", "i need to answer", "i need to respond", "i should answer", "i should respond",
    "we need to answer", "we need to respond", "we need to produce", "we are asked", "i'm asked",
)  # fmt: skip
_OTHERS = (
    "thinking process", "here is my thought process:", "here's my thought process:",  # Granite
    "用户", "好的，用户", "嗯，用户", "首先，用户",
    "المستخدم ي", "حسنًا، المستخدم", "حسناً، المستخدم",
    "el usuario ", "l'utilisateur ", "der nutzer ", "der benutzer ", "пользователь ", "o usuário ",
    "ユーザー", "사용자",
)  # fmt: skip
_THOUGHTS = (*(lead + plan for lead in _LEADS for plan in _PLANS), *_OTHERS)
_LONGEST = max(map(len, _THOUGHTS))
_BARE = "analysis"  # Harmony without its special tokens: "analysisWe need to …"
_BARE_THOUGHT = re.compile(f"{_BARE}[A-Z]")
_THINKERS = re.compile(r"deepseek-r1|\br1\b|qwq|qwen.*thinking|\bglm-z1|minimax-m2", re.IGNORECASE)


def opening_of(text: str, *, final: bool) -> Opening:
    """What `text`, without white space before it, looks like; `final` when no more comes."""
    start = text[:_LONGEST].lower().replace("’", "'")
    if start.startswith(_THOUGHTS) or _BARE_THOUGHT.match(text):
        return Opening.THOUGHT
    if not final and any(thought.startswith(start) for thought in (*_THOUGHTS, _BARE)):
        return Opening.UNKNOWN
    return Opening.ANSWER


class Thinkers:
    """The models that reason first without an opening tag, judged by name and by each model's last reply."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def holds(self, model: str) -> bool:
        """Whether to hold back a reply of this model until its thought has ended."""
        known = self._known.get(model)
        return bool(_THINKERS.search(model)) if known is None else known

    def learn(self, model: str, *, began_untagged: bool) -> None:
        """Remember how a complete reply of this model began."""
        if began_untagged != self.holds(model):
            self._known[model] = began_untagged
