"""The chunks of a streamed chat completion, read without trusting their shape."""

from worker.providers.base import ChatUsage

MAX_REPLY_CHARS = 1_000_000
MAX_TOKENS = 10_000_000  # beyond any window: what a server says beyond that is no count


class Reply:
    """What a stream has said so far: whether it is complete, and whether it holds any words."""

    def __init__(self, usage: ChatUsage) -> None:
        self.finished = False
        self.has_words = False
        self._usage = usage
        self._chars = 0

    def read(self, chunk: object) -> str:
        """Take in one chunk, and return the text that it adds; raises ValueError when it is an error."""
        self._count(_field(chunk, "usage"))
        choices = _field(chunk, "choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        reason = _field(choice, "finish_reason")
        if reason == "error":  # OpenRouter's way to say that the model behind it broke
            msg = "the stream ended with an error"
            raise ValueError(msg)
        self.finished = self.finished or bool(reason)
        text = _field(_field(choice, "delta"), "content")
        return self._add(text) if isinstance(text, str) else ""

    def _add(self, text: str) -> str:
        self._chars += len(text)
        if self._chars > MAX_REPLY_CHARS:
            msg = "the reply has no end"
            raise ValueError(msg)
        self.has_words = self.has_words or bool(text.strip())
        return text

    def _count(self, usage: object) -> None:
        for field, told in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
            count = _field(usage, told)
            if type(count) is int and 0 <= count <= MAX_TOKENS:
                setattr(self._usage, field, count)


def _field(part: object, name: str) -> object:
    return part.get(name) if isinstance(part, dict) else None
