"""A formula in LaTeX as a person says it: in words in English and Arabic, in plain symbols in any other language."""
# ruff: noqa: RUF001, SIM905 - mathematical signs are what this module is about; long lists of words are read as text

import unicodedata

import regex

DEEPEST = 20  # arguments inside arguments; what is deeper is not said

_TOKEN = regex.compile(r"\\[A-Za-z]+\*?|\\.|\d+(?:[.,]\d+)*|\p{L}[\p{L}\p{M}]*|\s+|.", regex.DOTALL)
_SYNTAX = regex.compile(r"[\\{}$`^_~&#*]")
_LOOSE = regex.compile(r" +(?=[,.;:!?)\]°′⁰¹²³⁴-⁹⁺⁻ⁿ])|(?<=[(\[√]) +")
_SUPERSCRIPTS = str.maketrans("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ")

# What a sign or macro is said as: a symbol for any language, then English, then Arabic.
_SAID = {
    "+": ("+", "plus", "زائد"),
    "-": ("-", "minus", "ناقص"),
    "=": ("=", "equals", "يساوي"),
    "<": ("<", "is less than", "أصغر من"),
    ">": (">", "is greater than", "أكبر من"),
    "/": ("/", "over", "على"),
    "*": ("×", "times", "ضرب"),
    "!": ("!", "factorial", "مضروب"),
    "'": ("′", "prime", "فتحة"),
    "|": (" ", "", ""),
    "%": ("%", "percent", "بالمئة"),
    "leq": ("≤", "is less than or equal to", "أصغر من أو يساوي"),
    "geq": ("≥", "is greater than or equal to", "أكبر من أو يساوي"),
    "ll": ("≪", "is much less than", "أصغر بكثير من"),
    "gg": ("≫", "is much greater than", "أكبر بكثير من"),
    "neq": ("≠", "is not equal to", "لا يساوي"),
    "approx": ("≈", "is approximately", "يساوي تقريبا"),
    "equiv": ("≡", "is equivalent to", "يكافئ"),
    "sim": ("~", "is similar to", "يشابه"),
    "propto": ("∝", "is proportional to", "يتناسب مع"),
    "times": ("×", "times", "ضرب"),
    "div": ("÷", "divided by", "على"),
    "pm": ("±", "plus or minus", "زائد أو ناقص"),
    "mp": ("∓", "minus or plus", "ناقص أو زائد"),
    "to": ("→", "to", "إلى"),
    "mapsto": ("↦", "maps to", "إلى"),
    "implies": ("⇒", "implies", "يستلزم"),
    "iff": ("⇔", "if and only if", "إذا وفقط إذا"),
    "infty": ("∞", "infinity", "ما لا نهاية"),
    "in": ("∈", "in", "ينتمي إلى"),
    "notin": ("∉", "not in", "لا ينتمي إلى"),
    "subset": ("⊂", "is a subset of", "مجموعة جزئية من"),
    "supset": ("⊃", "is a superset of", "تحتوي"),
    "cup": ("∪", "union", "اتحاد"),
    "cap": ("∩", "intersection", "تقاطع"),
    "setminus": ("∖", "without", "ما عدا"),
    "emptyset": ("∅", "the empty set", "المجموعة الخالية"),
    "forall": ("∀", "for all", "لكل"),
    "exists": ("∃", "there exists", "يوجد"),
    "neg": ("¬", "not", "ليس"),
    "land": ("∧", "and", "و"),
    "lor": ("∨", "or", "أو"),
    "therefore": ("∴", "therefore", "إذن"),
    "because": ("∵", "because", "لأن"),
    "mid": ("|", "given", "بشرط"),
    "perp": ("⊥", "is perpendicular to", "عمودي على"),
    "parallel": ("∥", "is parallel to", "يوازي"),
    "angle": ("∠", "angle", "الزاوية"),
    "circ": ("°", "degrees", "درجة"),
    "partial": ("∂", "partial", "الجزئي"),
    "nabla": ("∇", "nabla", "نابلا"),
    "hbar": ("ħ", "h bar", "إتش بار"),
    "ell": ("ℓ", "l", "l"),
    "ldots": ("…", "and so on", "وهكذا"),
    "sin": ("sin", "sine", "جيب"),
    "cos": ("cos", "cosine", "جيب تمام"),
    "tan": ("tan", "tangent", "ظل"),
    "log": ("log", "log", "لوغاريتم"),
    "ln": ("ln", "natural log", "اللوغاريتم الطبيعي"),
    "lim": ("lim", "the limit", "نهاية"),
    "sum": ("Σ", "the sum", "مجموع"),
    "prod": ("Π", "the product", "جداء"),
    "int": ("∫", "the integral", "تكامل"),
    # structure
    "frac": ("/", "over", "على"),
    "choose": (",", "choose", "فوق"),
    "sqrt": ("√", "the square root of", "جذر"),
    "cbrt": ("∛", "the cube root of", "الجذر التكعيبي"),
    "root": ("√", "root", "الجذر"),
    "squared": ("²", "squared", "تربيع"),
    "cubed": ("³", "cubed", "تكعيب"),
    "power": ("", "to the power of", "أس"),
    "from": ("", "from", "من"),
    "as": ("", "as", "عندما"),
    "until": ("", "to", "إلى"),
    "of": ("", "of", ""),
    "base": ("", "base", "للأساس"),
    "sub": ("", "sub", ""),
    "bar": ("", "bar", ""),
    "hat": ("", "hat", ""),
    "vec": ("", "vector", ""),
}  # fmt: skip
_SAME = {
    "le": "leq", "leqslant": "leq", "ge": "geq", "geqslant": "geq", "ne": "neq", "cdot": "times", "ast": "times",
    "simeq": "approx", "cong": "equiv", "rightarrow": "to", "longrightarrow": "to", "Rightarrow": "implies",
    "Longrightarrow": "implies", "Leftrightarrow": "iff", "leftrightarrow": "iff", "subseteq": "subset",
    "supseteq": "supset", "varnothing": "emptyset", "lnot": "neg", "wedge": "land", "vee": "lor", "degree": "circ",
    "dots": "ldots", "cdots": "ldots", "vdots": "ldots", "ddots": "ldots", "prime": "'", "iint": "int", "oint": "int",
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "overline": "bar",
    "widehat": "hat", "overrightarrow": "vec", "lvert": "|", "rvert": "|", "vert": "|",
}  # fmt: skip
_SIGNS = {said[0]: name for name, said in reversed(_SAID.items()) if len(said[0]) == 1 and not said[0].isascii()}
_SIGNS |= {"−": "-", "·": "times", "⋅": "times", "∗": "times", "′": "'", "⇔": "iff", "∑": "sum", "∏": "prod"}
_BETWEEN = {"frac": "frac", "binom": "choose"}  # what is said between their two arguments
_BIG = {"sum", "prod", "int", "lim"}
_GREEK = dict(
    zip(
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
        "omega".split(),
        "ألفا بيتا غاما دلتا إبسيلون زيتا إيتا ثيتا يوتا كابا لامدا ميو نيو كساي باي رو سيغما تاو أبسيلون فاي كاي "
        "بساي أوميغا".split(),
        strict=True,
    )
)
# Macros that only shape what they hold, or the space around it: what they hold is said, their name is not.
_SHAPES = frozenset(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr middle quad qquad thinspace limits nolimits displaystyle "
    "textstyle mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr boldsymbol bm underline boxed tilde "
    "dot ddot underbrace overbrace phantom nonumber hline cancel vphantom displaylines noindent".split()
)
_TEXTS = frozenset(
    "text textbf textit textrm texttt textsf emph mbox hbox operatorname section subsection subsubsection "
    "paragraph".split()
)
_UNSAID = frozenset("label tag ref eqref hspace vspace color cite begin end".split())  # nor is their argument
MACROS = (
    frozenset(name for name in _SAID if name.isalpha() and name not in {"squared", "cubed", "power", "from", "as"})
    | _SAME.keys()
    | _GREEK.keys()
    | {name.title() for name in _GREEK}
    | {"varepsilon", "vartheta", "varphi", "binom"}
    | _SHAPES
    | _TEXTS
    | _UNSAID
) - {"until", "of", "base", "sub", "root", "cbrt"}


def say(formula: str, language: str) -> str:
    """Return what a person says for `formula`, without a backslash, a brace or a dollar sign."""
    said = _Formula(_TOKEN.findall(formula), language).read()
    words: str = _LOOSE.sub("", " ".join(_SYNTAX.sub(" ", said).split()))
    return words


class _Formula:
    """Reads a formula's tokens from the left to the right."""

    def __init__(self, tokens: list[str], language: str) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._column = {"en": 1, "ar": 2}.get(language[:2].lower(), 0)

    def read(self, end: str = "") -> str:
        """Say everything up to the part `end`."""
        words = []
        while self._at < len(self._tokens):
            part = self._next()
            if part == end:
                break
            words.append(self._say(part))
        return " ".join(filter(None, words))

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> str:
        while self._at < len(self._tokens) and self._tokens[self._at].isspace():
            self._at += 1
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _word(self, name: str) -> str:
        return _SAID[name][self._column]

    def _argument(self) -> str:
        part = self._peek()
        return self._say(self._next()) if part and part not in "}&" else ""

    def _text(self) -> str:
        """An argument that is prose: it is said as it stands."""
        words: list[str] = []
        depth = 0
        while self._peek() == "{" if not depth else self._at < len(self._tokens):
            part = self._next()
            depth += (part == "{") - (part == "}")
            words.append(part)
            if not depth:
                break
        return "".join(words)

    def _option(self) -> str:
        """What stands in square brackets after a macro."""
        if self._peek() != "[":
            return ""
        self._at += 1
        return self.read("]")

    def _say(self, part: str) -> str:
        if self._depth > DEEPEST:
            return ""
        self._depth += 1
        try:
            return self._said(part)
        finally:
            self._depth -= 1

    def _said(self, part: str) -> str:
        name = _SIGNS.get(part, part)
        is_sign = name in _SAID and (not part.isascii() or part in "+-=<>/*!'|%")
        if part == "{":
            said = self.read("}")
        elif part == "^":
            said = self._power()
        elif part == "_":
            said = self._below()
        elif part.startswith("\\"):
            said = self._macro(part[1:].rstrip("*"))
        elif name in _BIG:
            said = self._big(name)
        else:
            said = self._word(name) if is_sign else part
        return said

    def _macro(self, name: str) -> str:
        name = _SAME.get(name, name)
        if name in _BETWEEN:
            digits = self._peek()
            if digits.isdigit() and digits[1:]:  # "\\frac12" is one half
                self._tokens[self._at : self._at + 1] = [digits[0], digits[1:]]
            said = f"{self._argument()} {self._word(_BETWEEN[name])} {self._argument()}"
        elif name == "sqrt":
            said = self._root()
        elif name in {"bar", "hat", "vec"}:
            said = f"{self._argument()} {self._word(name)}"
        elif name in _BIG:
            said = self._big(name)
        elif name == "log" and self._peek() == "_":
            self._at += 1
            said = f"{self._word('log')} {self._word('base')} {self._argument()}"
        elif name in _TEXTS:
            said = self._text()
        elif name in _UNSAID:
            said = self._argument() and ""
        else:
            said = self._named(name)
        return said

    def _root(self) -> str:
        order = self._option()
        root = {"": "sqrt", "3": "cbrt"}.get(order)
        return f"{self._word(root) if root else self._word('root') + ' ' + order} {self._argument()}"

    def _named(self, name: str) -> str:
        """A macro without arguments."""
        plain = name.removeprefix("var").lower()
        if name in {"\\", "newline"}:
            said = ","
        elif name in _SAID:
            said = self._word(name)
        elif name in _SHAPES or (len(name) == 1 and not name.isalpha()):
            said = ""
        elif plain in _GREEK and self._column:
            said = (plain, _GREEK[plain])[self._column - 1]
        elif plain in _GREEK:
            case = "CAPITAL" if name[0].isupper() else "SMALL"
            said = unicodedata.lookup(f"GREEK {case} LETTER {plain.replace('lambda', 'lamda')}")
        else:
            said = name
        return said

    def _power(self) -> str:
        power = self._argument()
        if power in {"2", "3"}:
            return self._word({"2": "squared", "3": "cubed"}[power])
        if power in {self._word("circ"), self._word("'"), "", "*", "T"}:
            return power
        return f"{self._word('power')} {power}" if self._column else power.translate(_SUPERSCRIPTS)

    def _below(self) -> str:
        index = self._argument()
        return index if index.isalnum() else f"{self._word('sub')} {index}"

    def _big(self, name: str) -> str:
        """A sum, product, integral or limit with its bounds."""
        said, bounds = self._word(name), {"_": "", "^": ""}
        while (mark := self._peek()) in ("_", "^", "\\limits"):
            self._at += 1
            if mark in bounds:
                bounds[mark] = self._argument()
        if bounds["_"]:
            said += f" {self._word('as' if name == 'lim' else 'from')} {bounds['_']}"
        if bounds["^"]:
            said += f" {self._word('until')} {bounds['^']}"
        return f"{said} {self._word('of')}"
