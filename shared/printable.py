"""Characters that must not reach a terminal or a line of a log as they are."""

# What moves the cursor, breaks the line, or turns the direction of what stands around it.
CONTROL = frozenset(
    map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)


def escaped(text: str, *, keep: str = "") -> str:
    r"""The text with its control characters, but for those to `keep`, as Python writes them: `\x1b`, `\u202e`."""
    if CONTROL.isdisjoint(text):
        return text
    return "".join(_escape(char) if char in CONTROL and char not in keep else char for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()
