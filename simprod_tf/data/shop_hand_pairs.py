"""Hand-labelled pairs of the synthetic shop, with the mistakes that people make.

The pairs stay within islands of a few lines each, so that a split by connected
component has many components to deal out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.data.shop_products import Offer, stream

Pair = tuple[Offer, Offer]

_SIMILAR_SHARE = 0.45
# Of the negatives: near-misses of one line; the rest is any two of the island.
_HARD_SHARE = 0.5


@dataclass(frozen=True)
class HandPair:
    """Two offers as a person labelled them, 1 = similar; `label` may be mistaken."""

    anchor_id: str
    other_id: str
    label: int
    is_mistaken: bool


def label_pairs(
    offers: Sequence[Offer], *, num_pairs: int, labelling_error: float, seed: int
) -> list[HandPair]:
    """Returns up to `num_pairs` labelled pairs of different offers, none twice.

    A very small shop may have fewer pairs to label than asked for.
    """
    rng = stream(seed, "hand pairs")
    islands = _islands(offers, rng)
    num_similar = round(num_pairs * _SIMILAR_SHARE)
    similar = itertools.islice(
        _in_turn([_similar(part, rng) for part in islands]), num_similar
    )
    different = itertools.islice(
        _in_turn([_different(part, rng) for part in islands]), num_pairs - num_similar
    )
    truths = [(pair, 1) for pair in similar] + [(pair, 0) for pair in different]
    mistaken = rng.random(len(truths)) < labelling_error
    pairs = []
    for place in rng.permutation(len(truths)):
        (anchor, other), label = truths[place]
        wrong = bool(mistaken[place])
        pairs.append(HandPair(anchor.id, other.id, label ^ int(wrong), wrong))
    return pairs


def count_pairs(pairs: Sequence[HandPair]) -> dict[str, float]:
    """Returns how many pairs there are, and how many of them are mislabelled."""
    num_mistaken = sum(pair.is_mistaken for pair in pairs)
    return {
        "num_hand_pairs": len(pairs),
        "num_hand_pairs_labelled_similar": sum(pair.label for pair in pairs),
        "num_hand_pairs_mistaken": num_mistaken,
        "hand_labelling_error": num_mistaken / len(pairs),
    }


def _islands(offers: Sequence[Offer], rng: np.random.Generator) -> list[list[Offer]]:
    """Returns the offers in sets of two lines of one category and a third line."""
    by_line: dict[int, list[Offer]] = {}
    for offer in offers:
        by_line.setdefault(offer.product.line, []).append(offer)
    lines = [by_line[line] for line in sorted(by_line)]
    lines = [lines[place] for place in rng.permutation(len(lines))]
    num_alone = len(lines) // 3
    alone, rest = lines[:num_alone], lines[num_alone:]
    rest.sort(key=lambda line: line[0].product.family)
    islands = [
        list(itertools.chain.from_iterable(rest[first : first + 2]))
        for first in range(0, len(rest), 2)
    ]
    for island, line in zip(islands, alone):
        island.extend(line)
    return [islands[place] for place in rng.permutation(len(islands))]


def _similar(island: list[Offer], rng: np.random.Generator) -> Iterator[Pair]:
    """Yields every pair of offers of one product, the products taking turns."""
    by_group: dict[str, list[Offer]] = {}
    for offer in island:
        by_group.setdefault(offer.product.group, []).append(offer)
    yield from _in_turn(
        [
            _shuffled(itertools.combinations(group, 2), rng)
            for group in by_group.values()
        ]
    )


def _different(island: list[Offer], rng: np.random.Generator) -> Iterator[Pair]:
    """Yields pairs of offers of different products, hard and easy ones mixed."""
    hard: list[Pair] = []
    easy: list[Pair] = []
    for anchor, other in itertools.combinations(island, 2):
        if anchor.product.group == other.product.group:
            continue
        near = anchor.product.line == other.product.line
        (hard if near else easy).append((anchor, other))
    sources = [_shuffled(hard, rng), _shuffled(easy, rng)]
    for _ in range(len(hard) + len(easy)):
        first = 0 if rng.random() < _HARD_SHARE else 1
        pair = next(sources[first], None) or next(sources[1 - first], None)
        if pair is not None:
            yield pair


def _shuffled(
    pairs: Iterator[Pair] | Sequence[Pair], rng: np.random.Generator
) -> Iterator[Pair]:
    known = list(pairs)
    return iter([known[place] for place in rng.permutation(len(known))])


def _in_turn(sources: Sequence[Iterator[Pair]]) -> Iterator[Pair]:
    """Yields from each source in turn, until all are empty."""
    left = list(sources)
    while left:
        still_left = []
        for source in left:
            pair = next(source, None)
            if pair is not None:
                still_left.append(source)
                yield pair
        left = still_left
