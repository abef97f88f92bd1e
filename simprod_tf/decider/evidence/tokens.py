"""Titles as plain text, tokens, compounds of tokens, and codes.

A token is a run of letters and digits, or a decimal number: "DSC-W120" are "dsc" and
"w120", "6.0" is "6". A compound is two or three neighbours written as one, "dscw120".
A code is a word that reads like a model or part number, without its separators.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_MARKS = re.compile("[™℠®©]")
# What pages and exports leave where there is nothing, and language tags: "..."@en.
_NOTHING = re.compile(r'"?(?<![^\W_])(?:null|nan|none|n/a)(?![^\W_])"?|"@\w\w(?!\w)')
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}),(\d{3})(?![\d,])")
# "v22", "v. 17", "version 9": the number alone tells; "v3 .0" is torn.
_VERSION = re.compile(r"(?<![^\W_])(?:v|ver|version)[. ]{0,2}(?=\d)")
_TORN = re.compile(r"(?<=\d) \.(?=\d)")
_TOKEN = re.compile(r"\d+\.\d+(?![^\W\d_])|[^\W_]+")
_ZEROS = re.compile(r"\.0+$")
_WORD = re.compile(r"[^\W_]+(?:[./_-][^\W_]+)*")
_SEPARATORS = re.compile(r"[\W_]+")
_DIGIT = re.compile(r"\d")
# Letters behind a number may be its unit (120gb, 7200rpm, 1080p), one or two digits
# behind letters a standard (mp3, usb2); years are no codes.
_NO_CODE = re.compile(
    r"\d+(?:\.\d+)?(?:[^\W\d_]{1,4})?|\d+x\d+.*|(?:19|20)\d\d|[^\W\d_]{1,6}\d{1,2}"
)
_MIN_CODE, _MIN_DIGITS = 4, 5
_MAX_COMPOUND = 3


def plain_text(text: str) -> str:
    """Returns a text in small letters, without accents, marks and fillers."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", _MARKS.sub(" ", text))
        text = "".join(one for one in text if not unicodedata.combining(one))
    text = _VERSION.sub(" ", _NOTHING.sub(" ", text.casefold()))
    return _THOUSANDS.sub(r"\1\2", _TORN.sub(".", text))


def tokens(text: str) -> list[str]:
    """Returns the tokens of a plain text, in order, as often as they stand there."""
    found = _TOKEN.findall(text)
    return [_ZEROS.sub("", one) if "." in one else one for one in found]


def compounds(parts: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Returns two and three neighbours written as one: where they begin and end.

    The end is the place behind the last; of a compound that stands twice, the first.
    """
    found: dict[str, tuple[int, int]] = {}
    for width in range(2, _MAX_COMPOUND + 1):
        for begin in range(len(parts) - width + 1):
            end = begin + width
            found.setdefault("".join(parts[begin:end]), (begin, end))
    return found


def codes(text: str) -> list[str]:
    """Returns the codes of a plain text, in order, each once.

    They have 4 characters and a digit among them, or are of 5 digits and more; numbers
    with units, years and names of standards are none.
    """
    words = [one for one in _WORD.findall(text) if _DIGIT.search(one)]
    found = (joined(one) for one in words if _is_code(one))
    return list(dict.fromkeys(found))


def joined(text: str) -> str:
    """Returns a word without its separators."""
    return _SEPARATORS.sub("", text)


def _is_code(word: str) -> bool:
    if word.isdigit():
        return len(word) >= _MIN_DIGITS
    return len(joined(word)) >= _MIN_CODE and _NO_CODE.fullmatch(word) is None
