"""A model's words while they come."""

import random

import pytest

from worker.turn.storable_text import Words, storable

SIGNS = ["a", " ", "\n", "\x00", "\ud83d", "\ude00", "é", "م", "\u3000"]


def whole(text: str) -> str:
    """What may be stored of a whole text."""
    pairs = text.replace("\x00", "").encode("utf-16", "surrogatepass")
    return pairs.decode("utf-16", "replace").strip()


@pytest.mark.parametrize("seed", range(300))
def test_however_it_is_split_the_same_comes_out(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choices(SIGNS, k=chance.randint(0, 12)))
    words, passed_on, rest = Words(), "", text
    while rest:
        size = chance.randint(1, 4)
        piece, rest = rest[:size], rest[size:]
        passed_on += words.add(piece)
    passed_on += words.finish()
    assert passed_on == words.text == storable(text) == whole(text)


def test_words_are_passed_on_at_once() -> None:
    words = Words()
    assert [words.add(piece) for piece in (" Hello", " there", " ", "\n", "you")] == [
        "Hello",
        " there",
        "",
        "",
        " \nyou",
    ]
