"""A model's words while they come, as both databases can hold them: what is passed on is what will be saved."""


class Words:
    """Gathers a reply: without U+0000 and half surrogate pairs, and without white space at either end."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._held = ""  # white space, or the first half of a pair, that more may follow

    def add(self, piece: str) -> str:
        """Take in a piece; what it adds to the text, now that nothing can change it any more."""
        text = self._held + piece.replace("\x00", "")
        keep = len(text.rstrip())
        if keep and "\ud800" <= text[keep - 1] <= "\udbff":
            keep -= 1
        self._held = text[keep:]
        return self._say(text[:keep])

    def finish(self) -> str:
        """What the last piece still adds."""
        text, self._held = self._held.rstrip(), ""
        return self._say(text)

    @property
    def text(self) -> str:
        """All that was said so far."""
        return "".join(self._said)

    def _say(self, text: str) -> str:
        text = text if self._said else text.lstrip()
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if whole:
            self._said.append(whole)
        return whole


def storable(text: str) -> str:
    """A whole text of a model's, as `Words` would gather it."""
    words = Words()
    words.add(text)
    words.finish()
    return words.text
