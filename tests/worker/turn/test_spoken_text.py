"""What a person would say of a reply is spoken, and nothing else."""
# ruff: noqa: RUF001 - quotes and brackets of other scripts are what these tests are about

import pytest

from worker.turn.sentences import SentenceCutter, cut

LONG_ADDRESS = "https://example.com/" + "path/" * 1_000
DATA = "data:image/png;base64," + "iVBORw0KGgo" * 2_000

EMOJI = [
    ("Done! 🎉🎉 See you soon 😊.", "Done! See you soon."),
    ("A family 👩‍👩‍👧‍👦, a flag 🇩🇪, another 🏴󠁧󠁢󠁥󠁮󠁧󠁿 and a thumb 👍🏽!", "A family, a flag, another and a thumb!"),
    ("1️⃣ Open it. #️⃣ *️⃣ Close it.", "1 Open it. Close it."),
    ("Call ☎ or ☎︎ or ☎️ us ✓ ✔️ ✅ now ★.", "Call or or us now."),
    ("hello👋world", "hello world"),
    ("**🎉 Done!** It works (🎉) well", "Done! It works well"),
    ("Settings → Privacy ⇒ Delete ->\nA -> B, 3 => 4", "Settings, Privacy, Delete A, B, 3, 4"),
    ("It is 20°C and ½ full, № 5 costs 5 € or £3 ± 1.", "It is 20°C and ½ full, № 5 costs 5 € or £3 ± 1."),
    ("Copyright © 2024 Parley™ and Acme®.", "Copyright © 2024 Parley and Acme."),
    ("می‌خواهم بروم و ශ්‍රී ලංකාව", "می‌خواهم بروم و ශ්‍රී ලංකාව"),
    ("I ♥ it ‼️ Really ❤️‍🔥", "I it Really"),
]

HTML = [
    ("Tom &amp; Jerry &nbsp;cost &lt; 5 &euro; &quot;ok&quot;.", 'Tom & Jerry cost < 5 € "ok".'),
    ("It&#39;s &#x41; &#8220;test&#8221; &mdash; fine &#128512;!", "It's A “test” — fine!"),
    ("Twice &amp;amp; thrice &amp;amp;lt; escaped &amp;quot;x&amp;quot;", 'Twice & thrice < escaped "x"'),
    ("AT&T; R&D &unknown; &; &#; ?a=1&copy=2", "AT&T; R&D &unknown; &; &#; ?a=1&copy=2"),
    ("&lt;b&gt; is a tag and 2 &#42; 3 &#42; 4 are 24", "<b> is a tag and 2 * 3 * 4 are 24"),
    (
        "<p>One <b>bold</b> word.</p><p class='x'>Two <a href=\"https://a.b/c\">links</a>.</p>",
        "One bold word. Two links.",
    ),
    ("<ul><li>First</li><li>Second</li></ul>", "First Second"),
    ("A<br>line<br/>ends<BR />here<hr>now", "A line ends here now"),
    ("Hidden <!-- a comment. <b> Not -> said --> end", "Hidden end"),
    ("<script type='x'>if (a<b) alert('No. No!')</script>Text<style>\np { color: red }\n</style> stays", "Text stays"),
    ('<img src="x.png" alt="A cat"> and <img src=x>', "A cat and"),
    (f'<img src="{DATA}" alt="A cat">Here it is', "Here it is"),
    (f"See <a href='{LONG_ADDRESS}'>this page</a> now", "See this page now"),
    ("<answer>Yes, sure.</answer> <custom-tag a='1'>ok</custom-tag> <x/>", "Yes, sure. ok"),
    ("<speak>Go <break time='1s'/> <prosody rate=\"slow\">slowly</prosody></speak>", "Go slowly"),
    ("Replace <name> with <your_key>, please", "Replace name with your key, please"),
    ("a < b and c > d, x<y and y>z, 1<2>0, <3", "a < b and c > d, x<y and y>z, 1<2>0, <3"),
    ("List<int>, Map<String, List<Integer>>, vector<T> or Promise<object> stay", None),
    ("if x <y and z> w then stop", "if x <y and z> w then stop"),
    ("The <script> tag is not closed here", "The tag is not closed here"),
    ("The <!-- mark is not closed here", "The mark is not closed here"),
    ("<!DOCTYPE html><html><body>Hi there</body></html>", "Hi there"),
]

CITATIONS = [
    ("It is open【4:0†source】 today【12†menu.pdf】.", "It is open today."),
    ("【重要】 stays as it is", "【重要】 stays as it is"),
    ("It is so [1]. It is [2][3], and [4, 5] too.[6]", "It is so. It is, and [4, 5] too."),
    ("Here[1, 2] and there[3-5] it is", "Here and there it is"),
    ("Index a[0] and the interval [0, 1) stay", "Index a[0] and the interval [0, 1) stay"),
    ("See this[^1] and that.[^note]\n\n[^1]: A note.", "See this and that. A note."),
    (
        "It is so:contentReference[oaicite:0]{index=0}. And so :contentReference[oaicite:12]{index=12}!",
        "It is so. And so!",
    ),
    (
        "It is so \ue200cite\ue202turn0search0\ue202turn0search1\ue201. And citeturn0search0turn1view2 so.",
        "It is so. And so.",
    ),
    ("In turn 2 we turn left, turn1 or not", "In turn 2 we turn left, turn1 or not"),
    ("It is so [[1]](https://a.b/c) and so [2](https://a.b/d).", "It is so and so."),
    ("It is [4:0†source] known", "It is known"),
]

LINKS = [
    (f"Here is your chart.\n\n![chart]({DATA})\n\nEnjoy it.", "Here is your chart. chart Enjoy it."),
    (f"Here it is: {DATA} Enjoy it.", "Here it is: Enjoy it."),
    (f"Here it is ({DATA}).", "Here it is."),
    (f"Read [the page]({LONG_ADDRESS}). Then go.", "Read the page. Then go."),
    (f"Read [{'very ' * 70}long label]({LONG_ADDRESS}) now", None),
    (f"Read {LONG_ADDRESS}. Then go.", "Read example.com. Then go."),
    (f"Read https://www.example.com/{'a' * 100}?b=c, please.", "Read example.com, please."),
    ("Read https://example.com/menu, or www.example.org.", "Read https://example.com/menu, or www.example.org."),
    ("请看https://example.com/a。谢谢您！", "请看https://example.com/a。 谢谢您！"),
    (f"Read <{LONG_ADDRESS}> or <https://a.b/c> or <a@b.c>", "Read example.com or https://a.b/c or a@b.c"),
    ("Write to mailto:someone@example.com?subject=Hi today", "Write to someone@example.com today"),
    ("Read [the menu][1] or [prices][] or [this](<a b.html>) or [that](x.html 'T').\n\n[1]: https://a.b/c \"The menu\"\n[prices]: /p", "Read the menu or prices or this or that."),
    ("[Note]: this stays", "[Note]: this stays"),
    ("[![Build](https://a.b/c.svg)](https://a.b/d) passes", "Build passes"),
    ("A list [of things (and more) stays", "A list [of things (and more) stays"),
    ("The data: five rows, data,more", "The data: five rows, data,more"),
]  # fmt: skip

MARKDOWN = [
    ("# Head\n## Next ##\nText\n***\n- [x] done\n- [ ] to do\n~~gone~~", "Head Next ## Text done to do gone"),
    ("Name | Age\n--- | :-:\nBob | 5", "Name, Age Bob, 5"),
    ("| Name | Use |\n|---|---|\n| `a|b` | x \\| y |", None),
    ("Use `<b>`, `$x$`, `[1]` and ``a`b`` as `&amp;` stands", "Use <b>, $x$, [1] and a`b as &amp; stands"),
    ("```html\n<!-- open\n```\nIt goes on <b>here</b>", "It goes on here"),
    ("One\\\nTwo || three -- four | five", "One Two || three -- four, five"),
    ("He said so. — Then he left.", "He said so. — Then he left."),
    ("> ```\n> code\n> ```\nIt goes on", "It goes on"),
    ("C:\\new\\alpha and \\\\server stay, \\*this\\* too", "C:\\new\\alpha and \\server stay, *this* too"),
]

MATHS = [
    (
        r"The constraint is $6{x}_{1} + 4{x}_{2} \leq {24}$. And \( \frac{a}{b} \) or $$E=mc^2$$.",
        "The constraint is 6 x 1 plus 4 x 2 is less than or equal to 24. And a over b or E equals mc squared.",
    ),
    ("It is $5 and $10, or $1,000.50. US$5–US$10 (not 5$).", "It is $5 and $10, or $1,000.50. US$5–US$10 (not 5$)."),
    ("With $x$ and $n-1$ and $2$ we pay $20.", "With x and n minus 1 and 2 we pay $20."),
    ("So\n$$\n\\int_0^1 x\\,dx\n= \\frac{1}{2}\n$$\nis it.", "So the integral from 0 to 1 of x dx equals 1 over 2 is it."),
    (r"\[ x = \sqrt{2} \] and \begin{align} a &= b \\ c &= d \end{align}", "x equals the square root of 2 and a equals b, c equals d"),
    (r"Bare \frac{a}{b}, \alpha and \textbf{bold} and \$5 too", "Bare a over b, alpha and bold and $5 too"),
    (r"Half is $\frac12$ or $\frac1{n}$ of $x_{10}^{12}$", "Half is 1 over 2 or 1 over n of x 10 to the power of 12"),
    (r"Cut off $\frac{a}{b", "Cut off a over b"),
    (r"Cut off \( \sqrt{x", "Cut off the square root of x"),
]  # fmt: skip

UNSEEN = [
    ("a\u200bb\u202ec\u2066d\ufffd\x00\x1b\x07\ufeff\u00ade", "abcde"),
    ("One\r\nTwo\rThree\u2028Four\u00a0five\u3000six", "One Two Three Four five six"),
    ("كيف حالك؟\u200f أنا بخير\u200e.", "كيف حالك؟ أنا بخير."),
]

CASES = EMOJI + HTML + CITATIONS + LINKS + MARKDOWN + MATHS + UNSEEN
SAID = [(text, said) for text, said in CASES if len(text) < 2_000]


@pytest.mark.parametrize(("text", "said"), [(text, said) for text, said in CASES if said is not None])
def test_it_is_said_as_a_person_would(text: str, said: str) -> None:
    assert " ".join(cut(text, "en")) == said


def test_types_in_angle_brackets_are_no_tags() -> None:
    said = "List<int>, Map<String, List<Integer>>, vector<T> or Promise<object> stay"
    assert " ".join(cut(said, "en")) == said


def test_a_link_with_a_label_too_long_to_wait_for_is_said_without_its_address() -> None:
    said = " ".join(cut(f"Read [{'very ' * 70}long label]({LONG_ADDRESS}) now", "en"))
    assert said.endswith("long label now")
    assert "path" not in said


def test_cells_keep_what_is_written_in_code() -> None:
    assert cut("| Name | Use |\n|---|---|\n| `a|b` | x\\|y |", "en") == ["Name, Use", "a|b, x|y"]


@pytest.mark.parametrize(
    "text",
    [
        "👍", "👩‍👩‍👧", "🇩🇪 ❤️", "✓ → ☎", "#️⃣", "---", "...", "?!", "***\n___", "|---|", "![](https://a.b/c.png)",
        "&nbsp;", "&lt;&gt;", "<br>", "<b></b>", "<!-- x -->", "<script>x</script>", "【4:0†source】", "[1]", "[^1]",
        DATA, f"![]({DATA})", "[1]: https://a.b", "$$ $$", r"\(\)", "\u200b\u200f", "\ufffd", ":)", "[](x)", "©",
    ],
)  # fmt: skip
def test_what_nobody_would_say_is_silent(text: str) -> None:
    assert cut(text, "en") == cut(f"\n{text}\n", "ar") == []


def test_nothing_is_held_back_for_long() -> None:
    for opener in ("$", "<a b='", "`", "[", "【", "\\(", "$$", "https://a.b/", "<!--", "&", "data:,"):
        cutter = SentenceCutter("en")
        cutter.feed(f"It begins here. {opener}")
        said = [piece for _ in range(1_000) for piece in cutter.feed("And so it goes on. \n")]
        assert len(said) > 2, opener
        assert sum(map(len, said)) + len(cutter._text._held) < 25_000


@pytest.mark.parametrize("language", ["fr", "hi", "zh", "xx"])
def test_maths_is_plain_in_any_language(language: str) -> None:
    said = " ".join(cut(r"$\frac{a}{b} \leq x^2$ \(\alpha \cdot \sqrt{2}\)", language))
    assert said == "a / b ≤ x² α × √2"


def test_maths_is_said_in_arabic() -> None:
    said = " ".join(cut(r"القيمة $\frac{a}{b} \leq x^2$ إذن.", "ar"))
    assert said == "القيمة a على b أصغر من أو يساوي x تربيع إذن."
