# ruff: noqa: RUF001 - letters and digits of other scripts are what is tried
"""Which languages there are, and by which other codes they go."""

import pytest

from shared.iso_639 import CODES, LANGUAGES, iso_639_1
from worker.providers.languages import iso_language


def test_iso_639_1_has_183_codes() -> None:
    assert len(LANGUAGES) == 183
    assert {"en", "ar", "zh", "he", "id", "yi", "jv", "no", "nb", "nn", "sr", "hr", "ii", "za", "tw"} <= LANGUAGES
    assert LANGUAGES.isdisjoint({"xx", "zz", "qq", "iw", "in", "ji", "jw", "mo", "sh", "uk-", "EN", ""})
    assert set(CODES.values()) == LANGUAGES


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("en-US", "en"),
        ("en_us", "en"),
        ("zh-Hans-CN", "zh"),
        ("sr-Latn", "sr"),
        ("eng", "en"),
        ("ara", "ar"),
        ("cmn-Hans", "zh"),
        ("yue", "zh"),
        ("ger", "de"),
        ("deu", "de"),
        ("iw", "he"),
        ("jw", "jv"),
        (" fr ", "fr"),
        ("xx", None),
        ("xx-US", None),
        ("haw", None),
        ("und", None),
        ("e", None),
        ("en-", None),
        ("-en", None),
        ("en US", None),
        ("ｅｎ", None),
        ("", None),
    ],
)
def test_a_tag_has_the_code_of_its_language(tag: str, code: str | None) -> None:
    assert iso_639_1(tag) == code
    assert iso_language(tag) == code


def test_a_recogniser_may_also_say_the_languages_name() -> None:
    assert [iso_language(told) for told in ("Arabic", "mandarin", "Klingon", None, 7, ["en"])] == [
        "ar", "zh", None, None, None, None,
    ]  # fmt: skip
