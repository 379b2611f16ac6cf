"""Whether a text shows anything."""

import unicodedata

# Letters and symbols that are drawn as nothing: Hangul's fillers and an empty Braille cell.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# Marks alone show nothing of their own; what Python does not know (Cn) may be a newer emoji.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me", "Mc"})
_TAGS = range(0xE0000, 0xE1000)  # ignorable, the unassigned ones too


def is_blank(text: str) -> bool:
    """Whether all of it is white space, control characters, and others that nobody sees."""
    return not any(map(_is_seen, text))


def _is_seen(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in _UNSEEN and char not in _BLANK and not _is_tag(char)


def _is_tag(char: str) -> bool:
    return ord(char) in _TAGS
