"""What a product's title and attributes state of it: the traits that part look-alikes.

A trait is a quantity (400 g), the count of a pack, a model number, the brand or the
condition. What is not stated is not guessed, but for one thing: a mass or volume
without a count is of one piece. So "2 x 200 g" and "400 g" differ in the pack alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from simprod_tf.data.catalog import Product
from simprod_tf.matching.keys import KEY_COLUMNS, normal_model
from simprod_tf.matching.units import CONTENT, MASS, VOLUME, Quantity, find_quantities

KINDS = ("quantity", "pack", "model", "brand", "condition")
BRAND_COLUMNS = ("brand", "manufacturer")
MODEL_COLUMNS = tuple(name for name, kind in KEY_COLUMNS.items() if kind == "model")
CONDITION_COLUMNS = ("condition", "item_condition")

# The pack of a mass or volume without a count.
ONE_PIECE = "1 (no count stated)"

# The first that stands in a text holds: "refurbished, like new" is not new. "New" as a
# part of names and "used for" say nothing.
_CONDITIONS = {
    condition: re.compile(rf"(?<![\w-])(?:{words})(?!\w)", re.IGNORECASE)
    for condition, words in {
        "for parts": "for parts|not working|defective|defekt",
        "refurbished": "refurb(?:ished)?|renewed|reconditioned|re-?certified|"
        "remanufactured|generalüberholt|refurbed|reconditionnée?s?|reacondicionado",
        "open box": "open[ -]box|b-ware|ex-?display|ausstellungsstück",
        "used": "pre-?owned|second[ -]hand|like new|gebraucht|wie neu|d'occasion|"
        "usado|used(?! (?:for|by|in|with|to|as|on)\\b)",
        "new": "brand[ -]new|neu|nuevo|neuf|new(?! (?:york|zealand|balance|era|orleans|"
        "edition|version|release|generation|arrivals?|design|model)\\b)",
    }.items()
}
# Most titles name none: one search instead of five.
_ANY_CONDITION = re.compile(
    "|".join(form.pattern for form in _CONDITIONS.values()), re.IGNORECASE
)
_FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4"}
_COUNT = r"(?P<count>\d{1,4})"
_PACKS = tuple(
    re.compile(rf"(?<![\w.,/-]){pattern}(?!\w)", re.IGNORECASE)
    for pattern in (
        rf"(?:packs?|sets?|box|case|lot|bundle|carton) (?:of|à|mit|de) {_COUNT}",
        rf"{_COUNT}[ -]?(?:er(?:[ -]?(?:pack|set|packung|box))?|packs?|pk|pkg|pcs?|"
        r"pieces?|ct|count|stück|stk|tablets?|capsules?|pods|rolls|sheets|teabags)",
        # Not 5x optical zoom, 52x CD, 300x.
        r"(?P<count>\d{1,2}) ?[x×]"
        r"(?=$| (?!(?:opt|dig|zoom|cd|dvd|speed|usb|hdmi))[^\W\d]{2})",
        rf"[x×] ?{_COUNT}(?=$|[ ]?[,;)])",
    )
)
_PACK_WORDS = re.compile(
    r"(?<!\w)(?P<word>twin|double|triple)[ -]pack(?!\w)", re.IGNORECASE
)
_COUNTS = {"twin": 2, "double": 2, "triple": 3}

_DIGIT, _TWO_DIGITS = re.compile(r"\d"), re.compile(r"\d.*\d")
_SEPARATORS = re.compile(r"[\W_]+")
_WORD = re.compile(r"[^\W_]+(?:[./_-][^\W_]+)*")
# Ordinals, standards and counted things: 7th, 1080p, mp3, ddr4-2400, 288-pin, 24x7.
_NO_MODEL = re.compile(
    r"\d+(?:st|nd|rd|th|[pikx])|\d+[x×]\d+.*|[\d.]+-?[^\W\d]{3,}|"
    r"(?:mp|usb|sata|ddr|gddr|lga|pci?e?|h|win|hdmi|cl|v|ieee)[-.]?\d[\d.-]*[a-z]?|"
    r"[\d./-]+[a-z]?|802\.11.*|[^\W\d]+-[\d]{1,2}",
    re.IGNORECASE,
)
_MIN_MODEL_LENGTH = 5


@dataclass(frozen=True)
class Trait:
    """One thing stated.

    Attributes:
        kind: one of `KINDS`.
        dimension: of a quantity, "mass in g"; else "".
        value: what is compared: a float for quantities and packs, else folded text.
        low, high: what other numbers are the same; 0 for text.
        text: for people, nearly as it is written.
    """

    kind: str
    dimension: str
    value: float | str
    low: float
    high: float
    text: str


def product_traits(product: Product) -> tuple[Trait, ...]:
    """Returns the traits of a product, by its title and the columns that name them."""
    columns = {name.casefold(): text for name, text in product.attributes.items()}
    return traits_of(
        product.title,
        brand=_first(columns, BRAND_COLUMNS),
        model=_first(columns, MODEL_COLUMNS),
        condition=_first(columns, CONDITION_COLUMNS),
    )


def traits_of(
    title: str, *, brand: str = "", model: str = "", condition: str = ""
) -> tuple[Trait, ...]:
    """Returns what is stated, each thing once, in the order of `KINDS`.

    Args:
        title: the title.
        brand: from a column; titles do not tell which word is the brand.
        model: from a column, beside those that the title holds.
        condition: from a column; where it names none, the title may.
    """
    text = _plain(title)
    # Without a digit the patterns would be tried at every letter in vain.
    quantities = find_quantities(text) if _DIGIT.search(text) else []
    rest = _without(text, ((one.start, one.end) for one in quantities))
    packs, spans = _packs(rest)
    rest = _without(rest, spans)
    packs |= {one.pieces for one in quantities if one.pieces}
    found = [
        *_quantity_traits(quantities, packs),
        *_pack_traits(quantities, packs),
        *_models(rest, model),
        *_brands(brand),
        *_conditions(condition, rest),
    ]
    return tuple({(t.kind, t.dimension, t.value): t for t in found}.values())


def _plain(title: str) -> str:
    """Returns a title in NFKC, with single blanks."""
    if not title.isascii():
        # NFKC would make letters of the trade mark, and 1½ eleven halves.
        title = re.sub("[™℠®©]", " ", title)
        title = re.sub("[½¼¾]", lambda half: f" {_FRACTIONS[half[0]]}", title)
        title = unicodedata.normalize("NFKC", title)
    return " ".join(title.split())


def _first(columns: Mapping[str, str], names: Iterable[str]) -> str:
    return next((columns[name] for name in names if name in columns), "")


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Returns the text with blanks where the spans are, so that places stay."""
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def _quantity_traits(quantities: list[Quantity], packs: set[int]) -> Iterator[Trait]:
    for one in quantities:
        yield _quantity_trait(one)
        if one.pieces is None and one.dimension in CONTENT:
            # "330 ml, pack of 6": of the piece or of all, so it is either.
            for count in sorted(packs - {1}):
                yield _quantity_trait(one.times(count))


def _quantity_trait(one: Quantity) -> Trait:
    return Trait("quantity", one.dimension, one.value, one.low, one.high, one.text)


def _packs(text: str) -> tuple[set[int], list[tuple[int, int]]]:
    """Returns the counts that a text states, and where."""
    matches: list[re.Match[str]] = []
    if _DIGIT.search(text):
        matches = [match for pattern in _PACKS for match in pattern.finditer(text)]
    counts = {int(match["count"]) for match in matches} - {0}
    words = list(_PACK_WORDS.finditer(text))
    counts |= {_COUNTS[match["word"].casefold()] for match in words}
    return counts, [match.span() for match in [*matches, *words]]


def _pack_traits(quantities: list[Quantity], packs: set[int]) -> Iterator[Trait]:
    if not packs and any(one.dimension in (MASS, VOLUME) for one in quantities):
        yield Trait("pack", "", 1.0, 1.0, 1.0, ONE_PIECE)
    for count in sorted(packs):
        yield Trait("pack", "", float(count), count, count, str(count))


def _models(text: str, column: str) -> Iterator[Trait]:
    likely = filter(_TWO_DIGITS.search, text.split())
    words = [word for part in likely for word in _WORD.findall(part) if _is_model(word)]
    for word in [column.strip(), *words]:
        plain = normal_model(word)
        if plain:
            yield Trait("model", "", plain, 0.0, 0.0, word)


def _is_model(word: str) -> bool:
    """Says whether a word reads like a model number: letters and at least 2 digits."""
    plain = _SEPARATORS.sub("", word)
    return (
        len(plain) >= _MIN_MODEL_LENGTH
        and not plain.isdigit()
        and _TWO_DIGITS.search(word) is not None
        and _NO_MODEL.fullmatch(word) is None
    )


def _brands(text: str) -> Iterator[Trait]:
    plain = _folded(text)
    if plain:
        yield Trait("brand", "", plain, 0.0, 0.0, text.strip())


@lru_cache(maxsize=1 << 14)
def _folded(text: str) -> str:
    """Returns a brand without case and separators; a shop has few of them."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text).casefold())


def _conditions(column: str, title: str) -> Iterator[Trait]:
    for text in filter(_ANY_CONDITION.search, (column, title)):
        for condition, pattern in _CONDITIONS.items():
            if pattern.search(text):
                yield Trait("condition", "", condition, 0.0, 0.0, condition)
                return
