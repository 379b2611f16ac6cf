"""A model's thoughts are cut out of its content, and nothing else is, however the content is split."""

import random
import time
from collections.abc import Callable

import pytest

from worker.providers.openings import Thinkers
from worker.providers.reasoning import ThoughtCutter

ANSWER = "At seven."


def cut(
    content: str, size: Callable[[], int] = lambda: 1_000_000, *, presumed: bool = False, cut_off: bool = False
) -> tuple[str, str]:
    """The answer as a reader has it in the end, without white space around it, and the thoughts."""
    shown: list[str] = []
    cutter = ThoughtCutter(shown.clear, presumed=presumed)
    while content:
        length = size()
        shown.append(cutter.add(content[:length]))
        content = content[length:]
    shown.append(cutter.finish(cut_off=cut_off))
    return "".join(shown).strip(), cutter.reasoning


THOUGHTS = {
    "a block": f"<think>\nHm.\n</think>\n\n{ANSWER}",
    "a block after white space": f" \n\n<think>Hm.</think>{ANSWER}",
    "upper case": f"<THINK>Hm.</Think>{ANSWER}",
    "attributes": f'<think budget="10" lang=en>Hm.</think>{ANSWER}',
    "white space in the tags": f"< think >Hm.</ think >{ANSWER}",
    "thinking": f"<thinking>Hm.</thinking>{ANSWER}",
    "one name opens and the other closes": f"<think>Hm.</thinking>{ANSWER}",
    "thought": f"<thought>Hm.</thought>{ANSWER}",
    "thoughts": f"<thoughts>Hm.</thoughts>{ANSWER}",
    "reasoning": f"<reasoning>Hm.</reasoning>{ANSWER}",
    "reflection": f"<reflection>Hm.</reflection>{ANSWER}",
    "scratchpad": f"<scratchpad>Hm.</scratchpad>{ANSWER}",
    "antthinking": f"<antThinking>Hm.</antThinking>{ANSWER}",
    "a prefix": f"<seed:think>Hm.</seed:think>{ANSWER}",
    "an underscore": f"<longcat_think>Hm.</longcat_think>{ANSWER}",
    "Mistral": f"[THINK]Hm.[/THINK]{ANSWER}",
    "Kimi": f"◁think▷Hm.◁/think▷{ANSWER}",
    "Cohere": f"<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
    "OpenThinker": f"<|begin_of_thought|>Hm.<|end_of_thought|>\n\n<|begin_of_solution|>{ANSWER}<|end_of_solution|>",
    "Harmony": f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>",
    "Harmony without ends": f"<|channel|>analysis<|message|>Hm.<|channel|>final<|message|>{ANSWER}",
    "Harmony without special tokens": f"analysisHm.assistantfinal{ANSWER}",
    "Gemma": f"<|channel>thought\nHm.<channel|>{ANSWER}",
    "Granite": f"Here is my thought process: Hm. Here is my response: {ANSWER}",
    "Granite, in short": f"Here's my thought process: Hm. Here's my response: {ANSWER}",
    "a process": f"<thinking_process>Hm.</thinking_process>{ANSWER}",
    "nothing seen before it": f"\ufeff\u200b<think>Hm.</think>{ANSWER}",
    "only the closing tag, within a line": f"Okay, the user asks. Hm. They want seven </think> {ANSWER}",
    "an answer in tags": f"<think>Hm.</think>\n<answer>{ANSWER}</answer>",
    "only the closing tag": f"Hm.\n</think>\n\n{ANSWER}",
    "only the closing tag, without a line": f"Hm.</think>{ANSWER}",
    "only the closing tag, after words": f"Breakfast, they ask. Hm.\n</thinking>\n{ANSWER}",
    "only Mistral's closing tag": f"Hm.[/THINK]{ANSWER}",
    "only Cohere's closing tag": f"Hm.<|END_THINKING|>{ANSWER}",
    "a tag that is written about in the thought": f"<think>No `</think>` yet. Hm.</think>{ANSWER}",
    "a tag that seems to end the thought": f"<think>I end with </think>: so. Hm.</think>{ANSWER}",
    "another tag in the thought": f"<thinking>So. <reflection>Right.</reflection> Hm.</thinking>{ANSWER}",
    "code in the thought": f"<think>\n```\nx\n\nHm.\n</think>\n{ANSWER}",
}


@pytest.mark.parametrize("content", THOUGHTS.values(), ids=THOUGHTS)
def test_only_the_answer_is_left_however_it_is_split(content: str) -> None:
    whole = cut(content)
    assert whole[0] == ANSWER
    assert "Hm." in whole[1]
    assert cut(content, lambda: 1) == whole
    for seed in range(30):
        chance = random.Random(seed)
        assert cut(content, lambda chance=chance: chance.randint(1, 6)) == whole  # type: ignore[misc]


ORDINARY = [
    "The `<think>` tag opens a thought and `</think>` ends it.",
    "Use <think> and </think> around what you think.",
    'They write "<think>" first and "</think>" last.',
    "Tags (<think>, </think>) are markup.",
    "```xml\n<think>\nHm.\n</think>\n```\nThat is all.",
    "~~~\n</think>\n~~~\nThat is all.",
    "> ```\n> </think>\n> ```\nThat is all.",
    "It ends with </think> on its own.",
    "Answer.\n<think>is how it begins",
    "Is 1 < 2 and 3 > 2? Yes: a[0], [a link](https://x.example) and <b>bold</b>.",
    "<b>Seven</b> it is.",
    "<thinker>Rodin</thinker>",
    "Here is my recipe: eggs.",
    "analysis of it follows.",
    "[This] is a link.",
    "The user manual says seven.",
    "I need to know your room.",
    "We should see. <details>More</details>",
    '<details type="reasoning">Hm.</details>\nSeven.',
    "<answer>Seven</answer>",
    "Ends with <",
    "Ends with <thi",
    "Ends with `",
    "◁ and ▷",
    "",
    "هل <think> وسم؟",
    "Here is my thought process: I count. That's all.",
    "analysisParalysis is one word.",
    "<review>\n<thoughts>Good</thoughts>\n<score>5</score>\n</review>",
    "<body>\n<reflection>Good</reflection>\n</body>",
    "So it is:\n\n    <think>\n    Hm.\n    </think>\n\nThat is all.",
    "* </think> ends it.",
]


@pytest.mark.parametrize(
    "answer",
    ["The token <|end|> ends it.", "Close with </answer>.", "So:\n<response>\n1\n</response>\nDone.", "`</answer>`"],
)
def test_an_answer_after_a_thought_keeps_its_own_tags(answer: str) -> None:
    assert cut(f"<think>Hm.</think>{answer}") == (answer, "Hm.")


@pytest.mark.parametrize("content", ORDINARY)
def test_ordinary_content_loses_nothing(content: str) -> None:
    assert cut(content) == (content, "")
    assert cut(content, lambda: 1) == (content, "")
    if not content.startswith(("```", "~~~")):  # a thought may hold half a fence
        assert cut(content, presumed=True) == (content, "")


@pytest.mark.parametrize("content", ["Breakfast is at seven. ", "a[0] + b", "1\n2\n", "x`y`z"])
def test_ordinary_content_is_passed_on_at_once(content: str) -> None:
    cutter = ThoughtCutter(lambda: None)
    assert cutter.add(content) == content


@pytest.mark.parametrize(
    ("content", "said", "thoughts"),
    [
        ("<think>a</think><think>b</think>At seven.", ANSWER, "a\n\nb"),
        ("<think>a</think>\n\n<think>b</think>\n\nAt seven.", ANSWER, "a\n\nb"),
        ("<think>a</think>First.\n\n<think>b</think>\n\nSecond.", "First.\n\nSecond.", "a\n\nb"),
        ("<think>a</think>First. <think>b</think> Second.", "First. Second.", "a\n\nb"),
        ("First.\n<think>a</think>\nSecond.", "First.\nSecond.", "a"),
        ("<think></think>At seven.", ANSWER, ""),
        ("<think/>At seven.", ANSWER, ""),
        ("</think>\n\nAt seven.", ANSWER, ""),
        ("<think>a</think>At seven.\n</think>", ANSWER, "a"),
        ("<think>a</think>", "", "a"),
        ("<think>a", "", "a"),
        ("a\n</think>\n", "", "a"),
        ("a\n</think>\nb\n</think>\nAt seven.", ANSWER, "a\n\nb"),
    ],
)
def test_several_thoughts_and_none(content: str, said: str, thoughts: str) -> None:
    for size in (1, 2, 5, 1_000):
        answer, reasoning = cut(content, lambda size=size: size)  # type: ignore[misc]
        assert (answer, reasoning.replace("\n", "")) == (said, thoughts.replace("\n", ""))


@pytest.mark.parametrize(
    "beginning",
    ["The user asks.", "Okay, the user wants", "Hmm, the guest is", "We need to respond", "用户问早餐", "Let me think"],
)
def test_what_begins_as_a_thought_is_held_back_until_it_has_ended(beginning: str) -> None:
    cutter = ThoughtCutter(lambda: pytest.fail("something was shown"))
    assert [cutter.add(char) for char in f"{beginning} more.\n</think>"] == [""] * (len(beginning) + 15)
    assert cutter.add(ANSWER) == ANSWER


@pytest.mark.parametrize(
    "content",
    [
        "Hmm, interesting!", "Let me check that for you.", "I need to know your room.", "We need to talk.", "Wait, what?",
        "The question of free will is old.", "Okay, so here is the plan.", "Okay, let's start.", "I should mention",
        "So, the answer is yes.", "First, boil water.", "Analysis of it follows.", "Here is my plan", "The users ask",
    ],
)  # fmt: skip
def test_the_usual_beginnings_of_answers_are_shown_at_once(content: str) -> None:
    cutter = ThoughtCutter(lambda: None)
    shown = "".join(cutter.add(char) for char in content)
    assert content.startswith(shown)
    assert len(shown) >= len(content) - 1


def test_what_a_guess_held_back_is_passed_on_and_is_still_taken_back_by_a_closing_tag() -> None:
    shown: list[str] = []
    cutter = ThoughtCutter(shown.clear)
    shown.append(cutter.add("The user asks. "))
    assert cutter.is_guessing
    shown.append(cutter.release())
    assert not cutter.is_guessing
    shown.append(cutter.add("Seven."))
    assert "".join(shown) == "The user asks. Seven."
    shown.append(cutter.add(f" </think> {ANSWER}"))
    shown.append(cutter.finish(cut_off=False))
    assert "".join(shown) == ANSWER


def test_a_reply_that_only_began_like_a_thought_is_told_at_its_end() -> None:
    assert cut("The user asks you.", lambda: 1) == ("The user asks you.", "")


def test_a_thinking_model_that_reaches_its_limit_has_said_nothing() -> None:
    assert cut("Breakfast, so", presumed=True, cut_off=True) == ("", "Breakfast, so")
    assert cut("Breakfast, so", presumed=True) == ("Breakfast, so", "")


@pytest.mark.parametrize("model", ["deepseek-ai/DeepSeek-R1", "Qwen/QwQ-32B", "Qwen3-30B-A3B-Thinking-2507"])
def test_models_that_leave_the_opening_tag_out_are_known_until_one_does_not(model: str) -> None:
    thinkers = Thinkers()
    assert thinkers.holds(model)
    thinkers.learn(model, began_untagged=False)
    assert not thinkers.holds(model)
    assert not thinkers.holds("gpt-6-luna")


FRAGMENTS = [
    "<think>", "</think>", "</thinking>", "<think/>", "[THINK]", "[/THINK]", "◁think▷", "◁/think▷",
    "<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|start|>assistant", "<|end|>", "<answer>",
    "</answer>", "Here is my thought process:", "Here is my response:", "analysis", "assistantfinal", "X", "a", "word ",
    "The user ", "\n", " ", ". ", "`", "```", "```\n", "~~~\n", "<", "</", "|", "[", "H", "Here", '"', "(",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_it_does_not_matter_how_it_is_split(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        content = "".join(chance.choices(FRAGMENTS, k=chance.randint(1, 14)))
        presumed, cut_off = chance.random() < 0.3, chance.random() < 0.2
        whole = cut(content, presumed=presumed, cut_off=cut_off)
        for size in (lambda: 1, lambda: chance.randint(1, 6)):
            assert cut(content, size, presumed=presumed, cut_off=cut_off) == whole, content


HOSTILE = [
    "<", "[", "`", "~", "`~", "<think ", "<|start|>", "</think", "<think>a</think>", "hm\n</think>\nx", "\n<think>",
    "H", "a", " ", "<details ", "<think>" + "a" * 40, "◁",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_ten_times_as_much_takes_about_ten_times_as_long(part: str) -> None:
    def seconds(length: int) -> float:
        content = part * (length // len(part))
        began = time.process_time()
        cut(content, lambda: 3)
        return time.process_time() - began

    seconds(1_000)
    assert seconds(100_000) < 40 * max(seconds(10_000), 0.005)
