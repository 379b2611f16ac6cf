"""Formulas are said in words, whatever they are made of."""

import time

import pytest

from worker.turn.spoken_math import say

ENGLISH = [
    (r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}", "the sum from i equals 1 to n of i equals n (n plus 1) over 2"),
    (r"\lim_{x \to 0} \frac{\sin x}{x} = 1", "the limit as x to 0 of sine x over x equals 1"),
    (r"e^{-x^2} \neq \sqrt[3]{8}", "e to the power of minus x squared is not equal to the cube root of 8"),
    (r"\alpha, \varepsilon \in \mathbb{R}", "alpha, epsilon in R"),
    (r"90^\circ \pm 5\%", "90 degrees plus or minus 5 percent"),
    (r"\left( \frac{1}{2} \right)", "(1 over 2)"),
    (r"\text{it's fast} = \vec{v}'", "it's fast equals v vector prime"),
    ("x ≤ 5, y ≠ π", "x is less than or equal to 5, y is not equal to π"),
    (r"\unknown{x}", "unknown x"),
    (r"n! \% a_{n+1}", "n factorial percent a sub n plus 1"),
    (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "a b, c d"),
]


@pytest.mark.parametrize(("formula", "said"), ENGLISH)
def test_a_formula_is_said_in_english(formula: str, said: str) -> None:
    assert say(formula, "en") == say(formula, "en-GB") == said


@pytest.mark.parametrize("formula", [formula for formula, _ in ENGLISH])
@pytest.mark.parametrize("language", ["ar", "fr"])
def test_no_syntax_is_left_in_any_language(formula: str, language: str) -> None:
    said = say(formula, language)
    assert said
    assert not set("\\{}$_^&").intersection(said)


@pytest.mark.parametrize(
    "unit", ["^", "_", "\\frac", "\\frac12", "\\sqrt[", "{", "x^{", "\\sum_", "\\text{", "}", "&", "\\"]
)
def test_a_formula_that_makes_no_sense_is_read_in_little_time(unit: str) -> None:
    def seconds(times: int) -> float:
        start = time.process_time()
        say(unit * times, "en")
        return time.process_time() - start

    assert any(seconds(4_000) <= 15 * seconds(400) for _ in range(5))
