"""The page's modules and words: nothing is missing, and nothing is fetched one after the other that could come at once."""

import re
from pathlib import Path

import pytest

from api.http.pages import OUR_FILES

IMPORT = re.compile(r"""^(?:import|export)\s(?:[^"';]*?\sfrom\s)?"\./([^"]+)";""", re.MULTILINE)
KEY = re.compile(r'\bt\(\s*"([a-z_]+\.[a-z_]+)"')
WORDS = re.compile(r"""^\s*"([a-z]+\.[A-Za-z0-9_]+)":\s*(.*?),?$""", re.MULTILINE)
OURS = sorted(path for path in OUR_FILES.glob("*.js"))


def needed(first: str) -> set[str]:
    """The modules that a module can't begin without, itself among them."""
    found, waiting = set(), [first]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if not name.startswith("vendor/"):
            waiting += IMPORT.findall((OUR_FILES / name).read_text())
    return found


def words(language: str) -> dict[str, str]:
    return dict(WORDS.findall((OUR_FILES / f"strings.{language}.js").read_text()))


def test_all_modules_of_the_first_view_are_asked_for_at_once() -> None:
    page = (OUR_FILES / "index.html").read_text()
    preloaded = re.findall(r'<link rel="modulepreload" href="/static/([^"]+)">', page)
    assert sorted(preloaded) == sorted(needed("app.js") - {"app.js"})


def test_every_word_is_there_in_both_languages() -> None:
    english, arabic = words("en"), words("ar")
    assert len(english) > 200
    assert set(english) == set(arabic)
    for key in english:
        names = [set(re.findall(r"\{(\w+)\}", text)) for text in (english[key], arabic[key])]
        assert names[0] == names[1], key


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_every_word_that_is_asked_for_is_there(path: Path) -> None:
    sound = set(re.findall(r'"((?:rec|play)\.\w+)":', (OUR_FILES / "strings.sound.js").read_text()))
    assert set(KEY.findall(path.read_text())) <= set(words("en")) | sound


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_module_writes_html(path: Path) -> None:
    assert not re.search(r"\.(?:inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(", path.read_text())
