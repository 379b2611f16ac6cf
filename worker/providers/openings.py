"""How thoughts begin whose opening tag is not there, and the models whose templates leave it out."""
# ruff: noqa: RUF001 - the words of many languages

import re
from enum import Enum, auto


class Opening(Enum):
    """What the first words of a reply look like."""

    ANSWER = auto()
    THOUGHT = auto()
    UNKNOWN = auto()  # until more of it has come


_LEADS = (
    "", "okay, ", "ok, ", "okay. ", "okay ", "ok ", "alright, ", "alright. ", "right, ", "so ", "so, ", "first, ",
)  # fmt: skip
_PLANS = (
    "the user ", "the user's ", "the question ", "user ", "i need to ", "i should ", "i have to ", "i must ",
    "we need to ", "we should ", "we have to ", "we must ", "let me think", "let me see", "let's think", "let's see",
    "let me start", "let me recall", "let me check", "we are asked", "i'm asked", "they ask", "they want",
    *(
        f"the {who} {does} "
        for who in ("guest", "customer", "caller", "client", "person", "human")
        for does in ("asks", "asked", "is asking", "wants", "wanted", "needs", "said", "says")
    ),
)  # fmt: skip
_OTHERS = (
    "hmm", "okay, so ", "alright, so ", "okay, let", "alright, let", "thinking process", "wait, ",
    "好的，用户", "好的,用户", "用户", "嗯", "首先，用户", "我需要", "我应该", "المستخدم", "حسنًا، المستخدم",
    "حسناً، المستخدم",
    "el usuario ", "l'utilisateur ", "der nutzer ", "der benutzer ", "пользователь ", "o usuário ", "kullanıcı ",
    "ユーザー", "사용자",
)  # fmt: skip
_THOUGHTS = (*(lead + plan for lead in _LEADS for plan in _PLANS), *_OTHERS)
_LONGEST = max(map(len, _THOUGHTS))
_THINKERS = re.compile(r"deepseek-r1|\br1\b|r1-distill|qwq|thinking|\bglm-z1|reasoner", re.IGNORECASE)


def opening_of(text: str, *, final: bool) -> Opening:
    """What `text`, without white space before it, looks like; `final` when no more comes."""
    start = text[:_LONGEST].lower().replace("’", "'")
    if start.startswith(_THOUGHTS):
        return Opening.THOUGHT
    if not final and any(thought.startswith(start) for thought in _THOUGHTS):
        return Opening.UNKNOWN
    return Opening.ANSWER


class Thinkers:
    """The models that think before they answer and leave the opening tag out: by name, and by how they last did."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def holds(self, model: str) -> bool:
        """Whether a reply of this model is to be held back until its thought has ended."""
        known = self._known.get(model)
        return bool(_THINKERS.search(model)) if known is None else known

    def learn(self, model: str, *, began_untagged: bool) -> None:
        """Note how a whole reply of this model has begun."""
        if began_untagged != self.holds(model):
            self._known[model] = began_untagged
