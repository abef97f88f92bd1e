"""The table of units, and how numbers stand before them in a title."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cache

_FOOT, _INCH = 304.8, 25.4
_OUNCE, _POUND = 28.349523125, 453.59237
_FLUID_OUNCE, _PINT, _GALLON = 29.5735295625, 473.176473, 3785.411784

# By dimension, what is written (a regular expression) and how many base units it is.
# Ounces without "fl" are of mass, liquid measures are those of the USA.
_TABLE: dict[str, dict[str, float]] = {
    "mass in g": {
        **{r"[mµμ]cg|[µμ]g": 1e-6, "mg": 1e-3, "g|gr|grams?|gramm": 1.0},
        **{"kg|kgs|kilos?|kilograms?|kilogramm": 1e3},
        **{"oz|ounces?": _OUNCE, "lbs?|pounds?": _POUND},
    },
    "volume in ml": {
        **{"ml|millilit(?:er|re)s?": 1.0, "cl": 10.0, "dl": 100.0},
        **{"l|ltrs?|lit(?:er|re)s?": 1e3, r"cu\.? ?ft": _FOOT**3 / 1e3},
        **{r"fl\.? ?oz|fluid ounces?": _FLUID_OUNCE, "pints?": _PINT},
        **{"quarts?|qt": 2 * _PINT, "gal|gallons?": _GALLON},
    },
    "length in mm": {
        **{"mm": 1.0, "cm": 10.0, "m|met(?:er|re)s?": 1e3, "km": 1e6},
        # 3 in 1, 5 in stock and 2 in box are no lengths.
        **{r"''|′′|’’|\"|”|inch(?:es)?|in(?![ -]*(?:\d|stock|box|one|a\b))": _INCH},
        **{"ft|feet|foot": _FOOT, "yd|yards?": 3 * _FOOT},
    },
    # Before memory, of which 6 MB/s is none.
    "data rate in bit/s": {
        **{"kbps|kbit/s": 1e3, "mbps|mbit/s": 1e6, "gbps|gbit/s": 1e9},
        **{"mb/s": 8e6, "gb/s": 8e9},
    },
    "memory in bytes": {
        **{"kb|kilobytes?|kib": 1e3, "mb|mbytes?|megabytes?|mib": 1e6},
        **{"gb|gbytes?|gigabytes?|gib": 1e9, "tb|tbytes?|terabytes?|tib": 1e12},
    },
    "power in W": {"w|watts?": 1.0, "kw": 1e3},
    "energy in Wh": {"wh": 1.0, "kwh": 1e3},
    "voltage in V": {"mv": 1e-3, "v|volts?": 1.0, "kv": 1e3},
    "current in A": {"ma": 1e-3, "amps?|amperes?": 1.0},
    "charge in mAh": {"mah": 1.0, "ah": 1e3},
    "frequency in Hz": {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    "resolution in pixels": {"mp|mpix|mpixels?|megapixels?": 1e6},
    "speed in rpm": {"rpm": 1.0},
}
DIMENSIONS = tuple(_TABLE)
MASS, VOLUME, MEMORY = "mass in g", "volume in ml", "memory in bytes"
# Of these two pieces hold twice as much as one; two 60 W lamps are no 120 W lamp.
CONTENT = (MASS, VOLUME, MEMORY)

# 1,000 is a thousand and 0,35 is 0.35; a point is always a decimal one. 1 1/2 is 1.5.
# Longer ones are no amounts but codes.
_NUMBER = (
    r"(?:\d{1,3} )?[1357]/[248](?!\d)|\d{1,3}(?:,\d{3}){1,3}(?:\.\d{1,9})?"
    r"|\d{1,9}(?:[.,]\d{1,9})?"
)
_BETWEEN = r" ?(?:[x×*/–-]|to) ?"
_UNITS = [
    (re.compile(written, re.IGNORECASE), dimension, factor)
    for dimension, units in _TABLE.items()
    for written, factor in units.items()
]
_UNIT = "|".join(written for units in _TABLE.values() for written in units)
# The number must not be a part of a word: XTA-3510-73GB holds no 73 GB.
_QUANTITY = re.compile(
    rf"(?<![\w.,/-])(?P<numbers>(?:{_NUMBER})(?:{_BETWEEN}(?:{_NUMBER})){{0,3}})"
    rf"[ -]?(?P<unit>{_UNIT})(?!\w)(?:\.(?!\d))?"
    r"(?: ?[x×] ?(?P<times>\d{1,3})(?![\w.,]))?",
    re.IGNORECASE,
)
# SATA's 6G, the nets 3G to 5G and 802.11g are no masses.
_NO_QUANTITY = re.compile(r"(?:[2-6]|12)G|802\.11[a-z]+", re.IGNORECASE)
# Of 3 in size L: a set of 3 L. A litre is seldom counted so.
_SIZE_LETTER = re.compile(r"\bof \d+ [lm]", re.IGNORECASE)
# The relative difference up to which two statements are the same: 5 lb = 2.27 kg.
_TOLERANCE = 0.01
# Whole numbers from here on are rounded ones: 40 cm = 16 inch (40.6 cm).
_ROUNDED_FROM = 10


@dataclass(frozen=True)
class Quantity:
    """A number with a unit, as a title states it.

    Attributes:
        dimension: one of `DIMENSIONS`.
        value: in the base unit that the dimension names.
        low, high: what other values are the same, within rounding.
        text: as it is written.
        pieces: 2 for "2 x 400 g", whose value is 800 g; None where none are stated.
        start, end: where in the title.
    """

    dimension: str
    value: float
    low: float
    high: float
    text: str
    pieces: int | None
    start: int
    end: int

    def times(self, pieces: int) -> Quantity:
        """Returns what so many pieces of this hold."""
        return replace(
            self,
            value=self.value * pieces,
            low=self.low * pieces,
            high=self.high * pieces,
            text=f"{pieces} x {self.text}",
            pieces=pieces,
        )


def find_quantities(text: str) -> list[Quantity]:
    """Returns the quantities of a text in NFKC, from left to right.

    "20 x 30 cm" and "8/16 GB" are two each. "2 x 400 g" and "400 g x 2" are one, of
    800 g, since only contents (mass, volume, memory) add up.
    """
    found: list[Quantity] = []
    for match in _QUANTITY.finditer(text):
        before = text[max(0, match.start() - 3) : match.end()]
        if not _NO_QUANTITY.fullmatch(match[0]) and not _SIZE_LETTER.fullmatch(before):
            found += _quantities(match)
    return found


def _quantities(match: re.Match[str]) -> list[Quantity]:
    unit, times = match["unit"], match["times"]
    dimension, factor = _dimension(unit)
    numbers = re.findall(_NUMBER, match["numbers"])
    each = [
        _quantity(number, unit, dimension=dimension, factor=factor, span=match.span())
        for number in numbers
        if _number(number) > 0
    ]
    if dimension not in CONTENT or not each:
        return each
    if re.search("[x×*]", match["numbers"]):
        counts = [round(_number(number)) for number in numbers[:-1]]
        return [each[-1].times(max(1, math.prod(counts)))]
    return [each[0].times(int(times))] if times and int(times) else each


@cache
def _dimension(unit: str) -> tuple[str, float]:
    """Returns the dimension and the factor of a unit as it is written."""
    return next((d, factor) for form, d, factor in _UNITS if form.fullmatch(unit))


def _quantity(
    number: str, unit: str, *, dimension: str, factor: float, span: tuple[int, int]
) -> Quantity:
    stated = _number(number)
    value = stated * factor
    if dimension == MEMORY and stated >= 1024 and stated % 1024 == 0:
        # 3072 MB are 3 GB, although 1000 MB are 1 GB.
        value = stated / 1024 * factor * 1000
    rounded = stated == round(stated) and stated >= _ROUNDED_FROM
    around = value * max(_TOLERANCE, 0.5 / stated if rounded else 0.0)
    text = f"{number} {unit}"
    return Quantity(dimension, value, value - around, value + around, text, None, *span)


def _number(text: str) -> float:
    if "/" in text:
        *whole, fraction = text.split(" ")
        over, under = fraction.split("/")
        return float(whole[0] if whole else 0) + float(over) / float(under)
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))
