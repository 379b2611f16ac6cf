import threading

import pytest

from shared.language import SURE_ENOUGH, choose, detect, warm

ENGLISH = [
    "OK", "ok", "Hello", "Hi", "yes please", "No", "thanks", "Thank you", "Bye", "lol", "Stop", "what?", "how r u",
    "Turn off the lights", "What time is it", "Tell me a joke", "Play music", "Call mom", "Good morning",
    "My name is Ahmed", "Where is the nearest hospital", "Can you help me", "I am fine", "set a timer", "banana",
    "HELLO HOW ARE YOU", "Weather in Cairo", "2 apples", "menu", "Sure", "no no no", "great", "Go on",
]  # fmt: skip
ARABIC = [
    "مرحبا", "مرحبًا، كيف حالك اليوم؟", "شكرا", "نعم", "لا", "كم الساعة الآن؟", "ازيك عامل ايه", "السلام عليكم",
    "أريد پيتزا من فضلك", "السعر 100 جنيه", "ﻣﺮﺣﺒﺎ",
]  # fmt: skip


@pytest.mark.parametrize("text", ENGLISH)
def test_short_english_stays_english_in_an_english_conversation(text: str) -> None:
    assert choose(text, "en") == "en"


@pytest.mark.parametrize("text", ARABIC)
def test_arabic_is_arabic_whatever_the_conversation_was_in(text: str) -> None:
    assert choose(text, "en") == "ar"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Turn off the lights, please.", "en"),
        ("Bonjour tout le monde", "fr"),
        ("Wie geht es dir heute?", "de"),
        ("¿Dónde está la biblioteca?", "es"),
        ("سلام، حال شما چطور است؟", "fa"),
        ("آپ کیسے ہیں؟", "ur"),
        ("Привет, как дела?", "ru"),
        ("你好你今天怎么样", "zh"),
        ("今日は天気がいいですね", "ja"),
        ("안녕하세요", "ko"),
        ("שלום מה שלומך", "he"),
    ],
)
def test_other_languages_are_told(text: str, code: str) -> None:
    assert choose(text, "en" if code != "en" else "ar") == code


@pytest.mark.parametrize("text", ["", "   ", "😀👍", "123 456", "?!", "\u200f", "\ud800"])
def test_without_letters_the_conversation_stands(text: str) -> None:
    assert detect(text) is None
    assert choose(text, "ar") == "ar"


@pytest.mark.parametrize("text", ["OK", "Hello", "thanks", "Stop"])
def test_a_word_of_many_languages_does_not_turn_the_conversation(text: str) -> None:
    found = detect(text)
    assert found is None or found.confidence < SURE_ENOUGH
    assert choose(text, "ar") == "ar"


def test_mixed_text_goes_by_most_of_its_letters() -> None:
    assert choose("Please افتح الباب الآن من فضلك", "en") == "ar"
    assert choose("Please open the door and say مرحبا to everybody", "ar") == "en"


def test_a_long_text_costs_no_more_than_its_beginning() -> None:
    assert choose("This is a rather ordinary English sentence. " * 20_000, "ar") == "en"


def test_many_threads_may_ask_at_once() -> None:
    warm()
    answers: list[str] = []
    texts = ["Bonjour tout le monde", "Turn off the lights, please.", "Wie geht es dir heute?"] * 20
    threads = [threading.Thread(target=lambda text=text: answers.append(choose(text, "ar"))) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["de"] * 20 + ["en"] * 20 + ["fr"] * 20
