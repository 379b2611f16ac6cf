"""The shapes of a chat completion's chunks, read without trusting them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from worker.providers.base import FinishReason

MAX_TOKENS = 10_000_000  # beyond any window: a higher count is nonsense
_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "max_completion_tokens": "length",
    "model_length": "length",
    "token_limit": "length",
    **dict.fromkeys(
        # of OpenAI, Bedrock, Anthropic, Gemini and Zhipu
        ("content_filter", "content_filtered", "guardrail_intervened", "refusal", "safety", "recitation", "blocklist",
         "prohibited_content", "sensitive"),
        "content_filter",
    ),
}  # fmt: skip
# of OpenRouter, Zhipu, DeepSeek, and of engines that were told to stop
BROKEN = {"error", "network_error", "insufficient_system_resource", "abort"}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thought", "reasoning_details")
_THOUGHT_TYPES = {"thinking", "reasoning", "thought", "reasoning.text", "reasoning.summary"}
_TEXT_TYPES = {None, "text", "output_text"}


class ChunkText(NamedTuple):
    """The answer and the reasoning in one part of a reply."""

    answer: str
    thought: str


class TokenCounts(NamedTuple):
    """Token counts of a server; None where it gives none."""

    input_tokens: int | None
    output_tokens: int | None


def said_in(part: object) -> ChunkText:
    """Read a `delta` or a `message`; a refusal is an answer."""
    if not isinstance(part, dict):
        return ChunkText("", "")
    content = part.get("content")
    if len(part) == 1 and isinstance(content, str):  # most of all chunks
        return ChunkText(content, "")
    thought = _first(_thought(part.get(name)) for name in _THOUGHTS)  # some servers send the same in two of them
    answer, thought_in_parts = (content, "") if isinstance(content, str) else _parts(content)
    refusal = part.get("refusal")
    return ChunkText(answer + (refusal if isinstance(refusal, str) else ""), thought + thought_in_parts)


def tokens_in(usage: object) -> TokenCounts:
    """Read a `usage` object. Some servers count reasoning, which is paid too, in `total_tokens` alone."""
    if not isinstance(usage, dict):
        return TokenCounts(None, None)
    read, written, total = (_count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    if read is not None and written is not None and total is not None:
        written = max(written, total - read)
    return TokenCounts(read, written)


def finish_reason_of(told: object) -> FinishReason:
    """Translate a server's finish reason into OpenAI's words; an unknown one is `stop`."""
    name = told.partition(":")[0].lower() if isinstance(told, str) else ""  # Gemini: "content_filter: RECITATION"
    return _REASONS.get(name, "stop")


def _parts(content: object) -> ChunkText:
    """Read a list of parts, as Mistral's reasoning models send it."""
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    answer = [_text(part) for part in parts if _type(part) in _TEXT_TYPES]
    answer += [part["refusal"] for part in parts if isinstance(part.get("refusal"), str)]
    return ChunkText("".join(answer), "".join(_thought(part) for part in parts if _type(part) in _THOUGHT_TYPES))


def _type(part: Mapping[object, object]) -> object:
    type_ = part.get("type")
    return type_ if isinstance(type_, str | None) else ""


def _text(part: Mapping[object, object]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _thought(value: object, depth: int = 3) -> str:
    """The text of a thought: as it is, in a part of its own, or in a list of them."""
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "".join(_thought(one, depth - 1) for one in value if isinstance(one, dict))
    if depth and isinstance(value, dict):
        return _first(_thought(value.get(name), depth - 1) for name in ("text", "thinking", "reasoning", "summary"))
    return ""


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")


def _count(told: object) -> int | None:
    return told if type(told) is int and 0 <= told <= MAX_TOKENS else None
