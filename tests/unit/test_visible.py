"""What shows nothing is blank."""
# ruff: noqa: RUF001 - letters of many scripts

import pytest

from shared.blank_text import is_blank


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u00a0\u3000", "\u200b", "\ufeff", "\u2060\u200e", "\u00ad", "\u2800", "\u3164\u115f", "\ufe0f", "\u0301", "\x00", "\U000e0041", "\ud83d"]
)  # fmt: skip
def test_what_nobody_sees_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize(
    "text", ["a", "7", "👍", "---", "。", "ه", "है", "\u200b.", "\ufffd", "\U0001faff", "$", "\ue000"]
)
def test_what_is_seen_is_not(text: str) -> None:
    assert not is_blank(text)
