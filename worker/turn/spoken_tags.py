"""Which words in angle brackets are tags, and what is said of them: `a<b` and `List<int>` are read, `<br>` is not."""
# ruff: noqa: SIM905 - long lists of words are read as text

import regex

# Elements that begin a line of their own.
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav ol optgroup option p pre section "
    "select summary table tbody textarea tfoot thead title tr ul".split()
)
_INLINE = frozenset(
    "a abbr acronym area audio b base bdi bdo big br button canvas cite code col colgroup data datalist del dfn em "
    "embed font frame i iframe img input ins kbd label link map mark math meta meter nobr noscript object output "
    "param picture progress q rp rt ruby s samp script slot small source span strike strong style sub sup svg td "
    "template th time track tt u var video wbr path circle rect line polyline polygon ellipse g text tspan defs".split()
)
# Not of HTML: how speech is marked up, and what models are told to put around parts of their answers.
_OTHERS = frozenset(
    "speak voice prosody emphasis break phoneme say-as lang audio answer response output result message final".split()
)
_KNOWN = _BLOCKS | _INLINE | _OTHERS
# Right after a word these are more likely the type in a generic one: `List<object>`.
_TYPES = frozenset(
    "object data time map var input output text path line option param source label link message result response "
    "answer section table template form button frame address body title head main".split()
)
_BARE = regex.compile(
    r"(?:\s+(?:allowfullscreen|async|autofocus|autoplay|checked|controls|default|defer|disabled|hidden|ismap|loop"
    r"|multiple|muted|nomodule|novalidate|open|playsinline|readonly|required|reversed|selected"
    r"|[^\s\"'<>/=]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'=<>`]+)))*+\s*",
    regex.IGNORECASE,
)
_ALT = regex.compile(r"\salt\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", regex.IGNORECASE)


def said_of_tag(found: regex.Match[str], before: str) -> str | None:
    """Return what is said in the place of a tag; None: it is none, and its characters are said.

    `found` has the groups `tag`, `name`, `attributes` and `next`; `before` is the character before it.
    """
    name, tag = found["name"].lower(), found["tag"]
    if tag.startswith("</"):
        return "\n" if name in _BLOCKS else ""
    after_word = before.isalnum() or before == "_"
    if not _BARE.fullmatch(found["attributes"]) or (after_word and (name in _TYPES or _is_type(found["name"]))):
        return None
    if name in _KNOWN:
        return _said_of_element(name, tag)
    if "=" in found["attributes"] or tag.endswith("/>"):
        return ""
    if after_word:
        return None
    # A placeholder, as in "replace <name> with yours", is followed by more of its sentence; a tag by what it holds.
    is_placeholder = found["next"] in " .,;:!?)\"'" and not found["attributes"]
    return found["name"].replace("_", " ") if is_placeholder else ""


def _is_type(name: str) -> bool:
    return len(name) == 1 and name.isupper()


def _said_of_element(name: str, tag: str) -> str:
    if name == "img":
        alt = _ALT.search(tag)
        return (alt[1] or alt[2] or "") if alt else ""
    if name in _BLOCKS:
        return "\n"
    return " " if name in {"br", "td", "th", "break"} else ""
