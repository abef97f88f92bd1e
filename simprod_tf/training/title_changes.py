"""Random changes to the words of two texts that leave what they say of each other."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import numpy as np

# Digits and letters in one, five at least: names a product, and not how large it is.
_MODEL_NUMBER = re.compile(r"(?=.*[a-z])(?=(?:.*[0-9]){2}).{5,}")
_SHORTEST_TEXT = 3
_LONGEST_ABBREVIATION = 5


def changed_pair(
    words: Sequence[str],
    other_words: Sequence[str],
    *,
    rng: np.random.Generator,
    changed: float,
    renamed: float,
) -> tuple[Sequence[str], Sequence[str]]:
    """Returns both texts as another shop might write them, in either order.

    Args:
        words, other_words: the two texts' words.
        rng: draws; it is used up by an amount that depends on what is drawn.
        changed: share of the texts of which one or two words are changed.
        renamed: share of the pairs whose model numbers are renamed.
    """
    pair = [words, other_words]
    pair = [changed_words(one, rng) if rng.random() < changed else one for one in pair]
    if rng.random() < renamed:
        pair = renamed_pair(pair, rng)
    if rng.random() < 0.5:
        pair = pair[::-1]
    return pair[0], pair[1]


def changed_words(words: Sequence[str], rng: np.random.Generator) -> Sequence[str]:
    """Returns one or two words dropped, swapped with another, or abbreviated.

    Texts of fewer than three words stay as they are.
    """
    if len(words) < _SHORTEST_TEXT:
        return words
    found = list(words)
    for _ in range(rng.integers(1, 3)):
        place, way = rng.integers(len(found)), rng.integers(4)
        if way < 2 and len(found) > _SHORTEST_TEXT:
            found.pop(place)
        elif way == 2:
            other = rng.integers(len(found))
            found[place], found[other] = found[other], found[place]
        elif len(found[place]) > _LONGEST_ABBREVIATION and found[place].isalpha():
            found[place] = found[place][: rng.integers(3, _LONGEST_ABBREVIATION + 1)]
    return found


def renamed_pair(
    pair: Sequence[Sequence[str]], rng: np.random.Generator
) -> list[Sequence[str]]:
    """Returns texts whose model numbers have each letter and digit by another.

    The same in all texts: what was equal stays so, and what differed differs as much.
    """
    order = [
        rng.permutation(len(one)) for one in (string.digits, string.ascii_lowercase)
    ]
    shuffled = [
        "".join(alphabet[place] for place in places)
        for alphabet, places in zip((string.digits, string.ascii_lowercase), order)
    ]
    table = str.maketrans(string.digits + string.ascii_lowercase, "".join(shuffled))
    return [
        [w.translate(table) if _MODEL_NUMBER.fullmatch(w) else w for w in words]
        for words in pair
    ]
