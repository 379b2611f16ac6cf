"""Replies are cut where a voice would pause, whole and in order, however they stream in."""
# ruff: noqa: RUF001 - Arabic letters, dashes and quotes are what these tests are about

import random
import re
import time

import pytest

from tests.worker.turn.test_languages import LANGUAGES
from tests.worker.turn.test_spoken_text import SAID
from worker.turn.sentences import LONG, LONG_FIRST, SHORT, SPEECH_LIMIT, SentenceCutter, cut

ENGLISH = [
    (
        "Hello there, my friend. How are you today? I am glad!",
        ["Hello there, my friend.", "How are you today?", "I am glad!"],
    ),
    ("No stop at the end", ["No stop at the end"]),
    ("The first line\nThe second line", ["The first line", "The second line"]),
    ("The first line\r\n\r\n  The second line", ["The first line", "The second line"]),
    # short ones wait for the next
    ("Yes. Of course I can help you. OK!", ["Yes. Of course I can help you.", "OK!"]),
    ("Yes. OK. Sure thing. Let us go on.", ["Yes. OK. Sure thing.", "Let us go on."]),
    ("Yes.\nOf course I can.", ["Yes.", "Of course I can."]),
    # abbreviations and initials
    ("I met Mr. Smith and Dr. Jones. They were well.", ["I met Mr. Smith and Dr. Jones.", "They were well."]),
    ("We live on St. James Street. It is quiet.", ["We live on St. James Street.", "It is quiet."]),
    (
        "Bring fruit, e.g. apples, i.e. Granny Smiths. Then eat.",
        ["Bring fruit, e.g. apples, i.e. Granny Smiths.", "Then eat."],
    ),
    ("Bring apples, pears, etc. and some bread. Then eat.", ["Bring apples, pears, etc. and some bread.", "Then eat."]),
    ("Bring apples, pears, etc. Then eat them.", ["Bring apples, pears, etc.", "Then eat them."]),
    ("The U.S. Army left. The U.K. stayed.", ["The U.S. Army left.", "The U.K. stayed."]),
    ("Come at 5 p.m. or at 6 a.m. tomorrow. Bye for now.", ["Come at 5 p.m. or at 6 a.m. tomorrow.", "Bye for now."]),
    ("We open at 9 a.m. Please be there.", ["We open at 9 a.m.", "Please be there."]),
    ("See No. 5 and fig. 3 on it. Then go home.", ["See No. 5 and fig. 3 on it.", "Then go home."]),
    ("The answer to that is no. I cannot do it.", ["The answer to that is no.", "I cannot do it."]),
    ("It is cats vs. Dogs here. Who wins it?", ["It is cats vs. Dogs here.", "Who wins it?"]),
    (
        "Books by J. K. Rowling and J.R.R. Tolkien. Both sell.",
        ["Books by J. K. Rowling and J.R.R. Tolkien.", "Both sell."],
    ),
    ("So did my friend and I. We left early.", ["So did my friend and I.", "We left early."]),
    ("It was made by Acme Inc. in Ohio. It broke.", ["It was made by Acme Inc. in Ohio.", "It broke."]),
    # stops inside words
    ("Pi is 3.14 and it costs $1,000.50. Fine by me.", ["Pi is 3.14 and it costs $1,000.50.", "Fine by me."]),
    ("Use v1.2.3 or main.py at 10:30. Then rest.", ["Use v1.2.3 or main.py at 10:30.", "Then rest."]),
    (
        "See https://example.com/a.b?c=d!e. Or write to a.b@c.org. Thanks.",
        ["See https://example.com/a.b?c=d!e.", "Or write to a.b@c.org.", "Thanks."],
    ),
    ("See https://example.com/. Then come back.", ["See https://example.com/.", "Then come back."]),
    ("The counter is at 5. You have more.", ["The counter is at 5.", "You have more."]),
    # quotes, brackets, ellipses
    ('She said "Go away now!" He did not.', ['She said "Go away now!"', "He did not."]),
    ('He said "What are you doing?" and left.', ['He said "What are you doing?" and left.']),
    (
        "“It is late.” ‘I know that.’ (So do we all.) Good.",
        ["“It is late.”", "‘I know that.’", "(So do we all.)", "Good."],
    ),
    (
        "Well... maybe we should go. Or not at all…  We will see.",
        ["Well... maybe we should go.", "Or not at all…", "We will see."],
    ),
    ("Is it really so?! Yes, it really is.", ["Is it really so?!", "Yes, it really is."]),
    ("It was seen before.[1] It was seen again.", ["It was seen before.", "It was seen again."]),
    ("Is a != b or a <= b? Who could know!", ["Is a != b or a <= b?", "Who could know!"]),
    ("all in lower case here. because why not. fine", ["all in lower case here.", "because why not.", "fine"]),
    ("I love Yahoo! it is a company.", ["I love Yahoo! it is a company."]),
    # emoji
    ("Great to see you! 🎉🎉\n👍\nBye then, friend 👋", ["Great to see you!", "Bye then, friend"]),
    ("That is wonderful!😊 Shall we go on?", ["That is wonderful!", "Shall we go on?"]),
]

ARABIC = [
    ("مرحبا بك يا صديقي. كيف حالك اليوم؟ أنا سعيد جدا!", ["مرحبا بك يا صديقي.", "كيف حالك اليوم؟", "أنا سعيد جدا!"]),
    ("هذه هي الجملة الأولى؟وهذه هي الثانية", ["هذه هي الجملة الأولى؟", "وهذه هي الثانية"]),
    ("هذه جملة أولى۔ وهذه جملة ثانية…", ["هذه جملة أولى۔", "وهذه جملة ثانية…"]),
    ("نعم. بالطبع أستطيع مساعدتك. شكرا.", ["نعم. بالطبع أستطيع مساعدتك.", "شكرا."]),
    ("قابلت د. أحمد مع أ. سمير أمس. كان لقاء جميلا.", ["قابلت د. أحمد مع أ. سمير أمس.", "كان لقاء جميلا."]),
    ("اكتب إلى ص.ب. ١٢٣ في الرياض. سنرد عليك.", ["اكتب إلى ص.ب. ١٢٣ في الرياض.", "سنرد عليك."]),
    ("درّس أ.د. خالد سنة ٣٠٠ ق.م. في مصر. ثم عاد.", ["درّس أ.د. خالد سنة ٣٠٠ ق.م. في مصر.", "ثم عاد."]),
    ("القيمة هي ٣.١٤ أو ٣٫١٤ تقريبا. والسعر ١٬٠٠٠ ريال.", ["القيمة هي ٣.١٤ أو ٣٫١٤ تقريبا.", "والسعر ١٬٠٠٠ ريال."]),
    ("قال لي: «إلى أين تذهب؟» ثم مضى في طريقه.", ["قال لي: «إلى أين تذهب؟»", "ثم مضى في طريقه."]),
    ("أهلًا وسهلًا بكم جميعًا. شكرًا جزيلًا لكم.", ["أهلًا وسهلًا بكم جميعًا.", "شكرًا جزيلًا لكم."]),
    ("ذهبت إلى السوق؛ ثم عدت إلى البيت، ونمت.", ["ذهبت إلى السوق؛ ثم عدت إلى البيت، ونمت."]),
    ("الخطوات:\n١. افتح الباب\n٢. ادخل بهدوء\n- اجلس", ["الخطوات:", "١. افتح الباب", "٢. ادخل بهدوء", "اجلس"]),
    (
        "استخدم **الأمر** `git` من [هنا](https://a.b/c). ثم انتظر قليلا.",
        ["استخدم الأمر git من هنا.", "ثم انتظر قليلا."],
    ),
    ("| الاسم | العمر |\n|:-:|---|\n| علي | ٣٠ |", ["الاسم، العمر", "علي، ٣٠"]),
]

MARKDOWN = [
    ("# The title\nSome text.\n## 2. Part two ##", ["The title", "Some text.", "2. Part two ##"]),
    (
        "1. First\n2) Second. Go.\n  - Third one\n* Fourth\n• Fifth\n- [x] Sixth\n- [ ] Seventh",
        ["1. First", "2) Second. Go.", "Third one", "Fourth", "Fifth", "Sixth", "Seventh"],
    ),
    ("**Note:** it is *very* __good__ and _nice_, ~~not~~ ***bad***.", ["Note: it is very good and nice, not bad."]),
    (
        "**First we go out. Then we return.** *Is that so?* Yes.",
        ["First we go out.", "Then we return.", "Is that so?", "Yes."],
    ),
    ("Keep snake_case, 3 * 4, 5*6 and 2**8 as they are.", ["Keep snake_case, 3 * 4, 5*6 and 2**8 as they are."]),
    ("Call `a.b()`, or `x. Y! z_*_` if need be. Done.", ["Call a.b(), or x. Y! z_*_ if need be.", "Done."]),
    (
        "Read [the docs. All of them](https://a.b/c_(d)) now. Really, do.",
        ["Read the docs. All of them now.", "Really, do."],
    ),
    ('![A cat.](cat.png "Our cat") and [**bold `x`**](#here), <https://a.b>.', ["A cat. and bold x, https://a.b."]),
    ("An interval [0, 1) is half open. It is used often. " + "And so on, as ever. " * 12, None),
    ("H<sub>2</sub>O is water.<br>It is \\*wet\\*.", ["H2O is water.", "It is *wet*."]),
    ("> Quoted words here.\n>And here\n\n---\n***\nThe end", ["Quoted words here.", "And here", "The end"]),
    ("Look at this:\n```python\nprint('a. b')\n# c\n```\nThat was it.", ["Look at this:", "That was it."]),
    ("Look here:\n1. ```sh\n   ls\n   ```\n~~~\n```\n~~~\nDone now.", ["Look here:", "1.", "Done now."]),
    ("An open fence:\n```\nnever closed. Not at all.", ["An open fence:"]),
    ("```not a fence``` but code. It is read out.", ["not a fence but code.", "It is read out."]),
    (
        "| Name | What it does. Well |\n|------|:--:|\n| **A** | - |\n|B|yes.|",
        ["Name, What it does. Well", "A", "B, yes."],
    ),
]


@pytest.mark.parametrize(("text", "sentences"), ENGLISH + [row for row in MARKDOWN if row[1]])
def test_english_is_cut_where_a_voice_pauses(text: str, sentences: list[str]) -> None:
    assert cut(text, "en") == sentences


@pytest.mark.parametrize(("text", "sentences"), ARABIC)
def test_arabic_is_cut_where_a_voice_pauses(text: str, sentences: list[str]) -> None:
    assert cut(text, "ar") == sentences


@pytest.mark.parametrize("text", ["", " ", "\n\n", "...", "?!؟…", "🎉 👍\n✅", "---\n***", "|---|---|", "``", "[](x)"])
def test_what_cannot_be_spoken_gives_nothing(text: str) -> None:
    assert cut(text, "en") == []


@pytest.mark.parametrize("text", ["```python\nprint(1)\n```", "```\nx", "\n~~~\na\n~~~\n🎉"])
def test_a_reply_of_nothing_but_code_gets_a_remark(text: str) -> None:
    assert cut(text, "en") == cut(text, "fr") == ["Here is the code."]
    assert cut(text, "ar") == cut(text, "ar-EG") == ["إليك الشيفرة البرمجية."]


def test_a_sentence_comes_out_when_the_next_one_starts() -> None:
    cutter = SentenceCutter("en")
    assert cutter.feed("This is one sentence") == []
    assert cutter.feed(".") == []
    assert cutter.feed(" ") == []
    assert cutter.feed("T") == ["This is one sentence."]
    assert cutter.feed("his is a line\n") == ["This is a line"]
    assert cutter.feed("The rest.") == []
    assert cutter.finish() == ["The rest."]
    assert cutter.finish() == []


def test_only_a_long_first_sentence_is_cut_at_a_clause_early() -> None:
    clause = "When the sun had gone down behind the far hills, and the birds were silent in the trees, "
    sentence = clause + "the old man took his hat and walked slowly along the river to the sea."
    head = "When the sun had gone down behind the far hills, and the birds were silent in the trees,"
    cutter = SentenceCutter("en")
    assert cutter.feed(sentence[: LONG_FIRST + 10]) == [head]
    rest = sentence[len(clause) :]
    assert cutter.feed(sentence[LONG_FIRST + 10 :] + " " + sentence) + cutter.finish() == [rest, sentence]


@pytest.mark.parametrize("mark", [",", "،", ";", "؛", ":", " —"])
def test_a_long_sentence_is_cut_at_its_last_clause(mark: str) -> None:
    start = "It has now begun. "
    head, tail = "Word " + "word " * 40 + "word" + mark, "more " * 60 + "more."
    assert cut(f"{start}{head} {tail}", "en") == ["It has now begun.", head, tail]


def test_without_a_clause_a_long_sentence_is_cut_at_spaces() -> None:
    pieces = cut("word " * 1000, "en")
    assert all(LONG - 10 < len(piece) <= LONG for piece in pieces[:-1])
    assert " ".join(pieces).split() == ["word"] * 1000


def test_a_word_is_cut_only_when_no_provider_would_take_it() -> None:
    word = "x" * (SPEECH_LIMIT - 200)
    assert cut(f"See {word} there.", "en") == ["See", word, "there."]
    pieces = cut("y" * 3 * SPEECH_LIMIT, "en")
    assert "".join(pieces) == "y" * 3 * SPEECH_LIMIT
    assert max(map(len, pieces)) <= SPEECH_LIMIT


def test_no_piece_is_longer_than_a_provider_takes() -> None:
    pieces = cut("`" + ("[(" + "a" * 3000 + ") ") * 5 + "`", "en")
    assert max(map(len, pieces)) <= SPEECH_LIMIT
    assert "".join(pieces).count("a") == 5 * 3000


@pytest.mark.parametrize("cluster", ["字", "ก็", "नि", "e\u0301", "각", "ກໍ", "ម៉ោ"])
@pytest.mark.parametrize("limit", [50, 199, SPEECH_LIMIT])
def test_a_character_is_never_cut_from_its_marks(cluster: str, limit: int) -> None:
    text = cluster * 3000
    cutter = SentenceCutter("en", limit=limit)
    pieces = cutter.feed(text) + cutter.finish()
    assert "".join(pieces) == text
    assert all(len(piece) % len(cluster) == 0 for piece in pieces)
    assert max(map(len, pieces)) <= limit


@pytest.mark.parametrize(
    "script", ["早餐七点开始您需要订", "あさごはんはしちじ", "อาหารเช้าเริ่มเจ็ดโมง", "ອາຫານເຊົ້າເລີ່ມ", "အာဟာရကို"]
)
def test_a_long_run_of_a_script_without_spaces_is_cut_like_words(script: str) -> None:
    pieces = cut(script * 200, "zh")
    assert "".join(pieces) == script * 200
    assert all(LONG - 60 < len(piece) <= LONG for piece in pieces[:-1])


@pytest.mark.parametrize("mark", ["，", "、", "；", "：", "፣", "፤", "၊"])
def test_a_long_sentence_without_spaces_is_cut_at_its_last_clause(mark: str) -> None:
    head, tail = "字" * 70 + mark, "字" * 70 + "。"
    assert cut(head + tail, "zh") == [head, tail]


def test_a_long_sentence_in_thai_is_cut_at_a_space_early() -> None:
    clause = "อาหารเช้าเริ่มเจ็ดโมงทุกวันสำหรับแขกทุกท่าน"
    pieces = cut(" ".join([clause] * 20), "th")
    assert pieces[0] == f"{clause} {clause}"
    assert " ".join(pieces) == " ".join([clause] * 20)


@pytest.mark.parametrize("text", ["```\nx\n```", "Hi there.", "👍", ""])
def test_the_end_comes_once(text: str) -> None:
    cutter = SentenceCutter("en")
    cutter.feed(text)
    cutter.finish()
    assert cutter.finish() == cutter.finish() == []


def test_an_open_bracket_does_not_hold_up_what_follows() -> None:
    text = next(text for text, sentences in MARKDOWN if sentences is None)
    pieces = cut(text, "en")
    assert pieces[-1] == "And so on, as ever."
    assert max(map(len, pieces)) <= LONG


PARTS = [
    *(text for text, _ in ENGLISH + ARABIC + MARKDOWN),
    *(text for text, _ in SAID),
    *(text for text, _ in LANGUAGES.values()),
    *"`*_[](){}<>|#-!?.…؟،—;:\\~\n \t$&。，【】",
    *(
        "```",
        "~~~",
        "\n\n",
        "](",
        "**",
        " | ",
        "\n- ",
        "\n1. ",
        "e.g. ",
        "Dr. ",
        "؟",
        "🎉",
        "word " * 30,
        "w" * 500,
        ", ",
    ),
]


def _random_text(dice: random.Random) -> str:
    return "".join(dice.choice(PARTS) for _ in range(dice.randint(1, 25)))


def _in_deltas(text: str, language: str, dice: random.Random, longest: int) -> list[str]:
    cutter, pieces = SentenceCutter(language), []
    while text:
        size = dice.randint(0, longest)
        pieces += cutter.feed(text[:size])
        text = text[size:]
    return pieces + cutter.finish()


@pytest.mark.parametrize("seed", range(150))
def test_the_sentences_do_not_depend_on_the_deltas(seed: int) -> None:
    dice = random.Random(seed)
    text, language = _random_text(dice), dice.choice(["en", "ar", "de", "el", "ja"])
    whole = cut(text, language)
    for longest in (1, 7, 60):
        assert _in_deltas(text, language, dice, longest) == whole
    for piece in whole:
        assert 0 < len(piece) <= SPEECH_LIMIT
        assert piece == piece.strip()
        assert any(map(str.isalnum, piece))


@pytest.mark.parametrize("text", [text for text, _ in [*SAID, *LANGUAGES.values(), *ENGLISH, *ARABIC, *MARKDOWN]])
def test_the_sentences_are_the_same_wherever_the_text_is_split(text: str) -> None:
    whole = cut(text, "en")
    for at in range(len(text) + 1) if len(text) < 400 else range(0, len(text), len(text) // 40):
        cutter = SentenceCutter("en")
        assert cutter.feed(text[:at]) + cutter.feed(text[at:]) + cutter.finish() == whole
    cutter = SentenceCutter("en")
    assert [piece for char in text for piece in cutter.feed(char)] + cutter.finish() == whole


@pytest.mark.parametrize("seed", range(150))
def test_every_word_comes_out_once_and_in_order(seed: int) -> None:
    dice = random.Random(seed)
    words = [
        "Dr.",
        "e.g.",
        "3.14",
        "٣٫١٤",
        "v1.2.3",
        "https://a.b/c?d",
        "no.",
        "؟",
        "!",
        "—",
        "word—word",
        "نعم،",
        "x" * 700,
    ]
    plain = [
        f"{dice.choice(['w', 'W', 'كلمة'])}{n}{dice.choice(['', '', ',', '.', '?', '؟', '…', '**', '`', ')', ':'])}"
        for n in range(400)
    ]
    text = "".join(word + dice.choice("     \n") for word in dice.choices(words, k=100) + dice.sample(plain, k=400))
    pieces = cut(text, "en")
    assert re.findall(r"[^\W_]+", " ".join(pieces)) == re.findall(r"[^\W_]+", text)
    assert all(len(piece) <= LONG or " " not in piece for piece in pieces)


def test_no_sentence_but_a_lines_last_is_short() -> None:
    text = " ".join(["Yes.", "No!", "Why is that so?", "Because.", "It was me.", "Ah."] * 50)
    assert min(map(len, cut(text, "en")[:-1])) >= SHORT


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a ",
        "Well, it is so. ",
        "x, ",
        "؟",
        "؟ا",
        ". ",
        "....,",
        "—",
        "`",
        "``` a ` ",
        "[ ",
        "[](",
        "](#",
        "*",
        "a*",
        "_ ",
        "| ",
        "\n",
        " ",
        "1. ",
        "$",
        "$a ",
        "$$a",
        "<",
        "<a b='",
        "<!--",
        "<script>",
        "&",
        "&amp;",
        "【",
        "[a](b ",
        "![",
        "\\(",
        "\\[",
        "\\begin{a}",
        "\\frac{",
        "https://a.b/",
        "data:,",
        "turn1",
        "🎉",
        "字",
        "字，",
        "ก",
        "\u0301",
        "```\n",
        "~~~",
    ],
)
def test_the_time_grows_with_the_text_and_no_faster(unit: str) -> None:
    def seconds(length: int) -> float:
        text, best = (unit * length)[:length], float("inf")
        for _ in range(3):
            start = time.process_time()
            cut(text, "en")
            best = min(best, time.process_time() - start)
        return best

    assert any(seconds(100_000) <= 15 * seconds(10_000) for _ in range(5))
