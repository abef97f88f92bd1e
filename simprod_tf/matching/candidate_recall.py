"""How many of the pairs known to be similar are among the candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.pair_code import pair_codes


@dataclass(frozen=True)
class CandidateRecall:
    """What no decision can get back: pairs that were never proposed are lost.

    Attributes:
        num_positives: how many distinct similar pairs there are.
        num_found: how many of them are candidates, in either direction.
        found_by: how many each source proposes.
        found_only_by: how many no source but this one proposes.
    """

    num_positives: int
    num_found: int
    found_by: Mapping[str, int]
    found_only_by: Mapping[str, int]

    @property
    def recall(self) -> float:
        """Share of the similar pairs that any source proposes; NaN of none."""
        return share_of(self.num_found, self.num_positives)

    @property
    def recall_by(self) -> dict[str, float]:
        """The same share for each source by itself."""
        return {
            source: share_of(found, self.num_positives)
            for source, found in self.found_by.items()
        }


class RecallCounter:
    """Counts the similar pairs among candidates while these stream past."""

    def __init__(self, positives: np.ndarray, *, num_products: int) -> None:
        """Takes the similar pairs.

        Args:
            positives: [P, 2] int64 rows of the views; the order of the two is all one,
                and a pair that stands there twice counts once.
            num_products: rows are below it.
        """
        positives = np.asarray(positives)
        if positives.ndim != 2 or positives.shape[1] != 2:
            raise ValueError(
                f"positives have shape [P, 2], got {list(positives.shape)}."
            )
        self._num_products = num_products
        codes = pair_codes(positives[:, 0], positives[:, 1], n=num_products)
        self._codes = np.unique(codes)
        self._via = np.zeros(len(self._codes), np.uint32)
        self._sources: tuple[str, ...] = ()

    def add(self, candidates: Candidates) -> None:
        """Counts one block."""
        self._sources = candidates.sources
        if not len(self._codes):
            return
        codes = pair_codes(candidates.starts, candidates.ends, n=self._num_products)
        places = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        hits = np.flatnonzero(self._codes[places] == codes)
        # Not |=: a pair may be there in both directions.
        np.bitwise_or.at(self._via, places[hits], candidates.via[hits])

    def watch(self, blocks: Iterable[Candidates]) -> Iterator[Candidates]:
        """Yields the blocks as they come, and counts each of them."""
        for candidates in blocks:
            self.add(candidates)
            yield candidates

    def recall(self) -> CandidateRecall:
        """Returns what was found so far."""
        bits = [np.uint32(1 << bit) for bit in range(len(self._sources))]
        by = [int(np.count_nonzero(self._via & bit)) for bit in bits]
        only = [int(np.count_nonzero(self._via == bit)) for bit in bits]
        return CandidateRecall(
            num_positives=len(self._codes),
            num_found=int(np.count_nonzero(self._via)),
            found_by=dict(zip(self._sources, by)),
            found_only_by=dict(zip(self._sources, only)),
        )


def candidate_recall(
    blocks: Iterable[Candidates], positives: np.ndarray, *, num_products: int
) -> CandidateRecall:
    """Returns how many similar pairs are among the candidates, in either direction.

    Where only some products were asked for, give the pairs that have one of them.

    Args:
        blocks: of `candidate_blocks`.
        positives: [P, 2] int64 rows of the views.
        num_products: rows are below it.
    """
    counter = RecallCounter(positives, num_products=num_products)
    for candidates in blocks:
        counter.add(candidates)
    return counter.recall()


def share_of(part: int, whole: int) -> float:
    """Returns part / whole, NaN of none."""
    return part / whole if whole else float("nan")
