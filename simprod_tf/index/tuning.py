"""How thoroughly ScaNN has to search for a wanted recall, found out on a sample."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from simprod_tf.index.vectors import nearest_rows

# Queries that measure (twice as many choose), and neighbours that are looked for.
NUM_QUERIES = 1000
TUNED_K = 10
# Leaves are told apart by 2, reordered points by more: cost is flatter there.
_LEAVES = (2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 181, 256, 362, 512, 724)
_REORDERED = (30, 50, 80, 130, 200, 350, 600, 1000)
# What one reordered point costs, in points compared by their codes.
_REORDER_COST = 12.0
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ScannSettings:
    """How ScaNN divides the products, and how much of them a search looks at.

    Attributes:
        num_leaves: parts that the tree divides the products into.
        leaves_to_search: the nearest leaves that a search for 10 products looks into.
        reordered: how many points of these, by quantised distance, are compared anew
            by their embeddings. Without this, recall stops at about 0.8.
        anisotropic_threshold: of the quantisation (Guo et al., 2020).
        soar_lambda: a second leaf for each product (Sun et al., 2023,
            https://arxiv.org/abs/2404.00774), None without; a change retrains nothing.
    """

    num_leaves: int
    leaves_to_search: int = 20
    reordered: int = 100
    anisotropic_threshold: float = 0.2
    soar_lambda: float | None = None

    def __post_init__(self) -> None:
        """Refuses what ScaNN cannot do."""
        if not 1 <= self.leaves_to_search <= self.num_leaves:
            raise ValueError(
                "leaves_to_search lies between 1 and num_leaves "
                f"({self.num_leaves}), got {self.leaves_to_search}."
            )
        if self.reordered < 1:
            raise ValueError(f"reordered must be at least 1, got {self.reordered}.")

    def leaves_for(self, k: int) -> int:
        """Returns how many leaves a search for k products looks into."""
        wider = math.ceil(self.leaves_to_search * math.sqrt(max(k, TUNED_K) / TUNED_K))
        return min(self.num_leaves, wider)

    def reordered_for(self, k: int) -> int:
        """Returns how many points a search for k products compares anew."""
        return math.ceil(self.reordered * max(1.0, k / TUNED_K))


@dataclass(frozen=True)
class Tuning:
    """What is wanted of an approximate search.

    Attributes:
        recall: wanted share of the 10 nearest products, above 0 and at most 1.
        settings: an expert's, taken as they are; None has them chosen.
        allow_miss: build an index although its recall is below the wanted one.
        seed: of the sample by which recall is measured.
    """

    recall: float = 0.99
    settings: ScannSettings | None = None
    allow_miss: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses a recall that is no share."""
        if not 0 < self.recall <= 1:
            raise ValueError(
                f"recall lies above 0 and is at most 1, got {self.recall}."
            )


@dataclass(frozen=True)
class Tuned:
    """Settings, and the recall@10 measured with them.

    Attributes:
        settings: chosen, or given.
        recall: share of the 10 nearest products found, over queries that the settings
            were not chosen by.
        num_queries: how many queries these were.
        wanted: the recall asked for.
    """

    settings: ScannSettings
    recall: float
    num_queries: int
    wanted: float

    @property
    def suffices(self) -> bool:
        """Whether the recall is the wanted one, but for two standard errors."""
        return at_most(self.recall, self.num_queries) >= self.wanted

    def __str__(self) -> str:
        """Returns the recall, and what it was measured with."""
        settings = self.settings
        return (
            f"recall@10 {self.recall:.3f}, measured on {self.num_queries} products "
            f"({settings.leaves_to_search} of {settings.num_leaves} leaves, "
            f"{settings.reordered} reordered)"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, as JSON holds them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Tuned:
        """Returns what `to_json` gave; TypeError or ValueError if it is damaged."""
        return cls(**{**content, "settings": ScannSettings(**content["settings"])})


def at_most(recall: float, num_queries: int) -> float:
    """Returns what a measured recall may be in truth: two standard errors more."""
    return recall + 2 * math.sqrt(recall * (1 - recall) / max(1, num_queries))


def leaves_of(n: int) -> int:
    """Returns into how many leaves n products are divided: about 2 sqrt(n)."""
    return max(1, math.ceil(2 * math.sqrt(n)))


# (queries, k, settings) -> [Q, k] rows.
Search = Callable[[np.ndarray, int, ScannSettings], np.ndarray]


def tune(
    embeddings: np.ndarray,
    search: Search,
    *,
    settings: ScannSettings,
    wanted: Tuning,
) -> Tuned:
    """Returns the cheapest settings of a grid whose recall on a sample suffices.

    Changed products stand for queries (see `recalls_of`). Some choose, by the recall
    less two standard errors, others measure. Where nothing of the grid suffices, the
    most thorough settings come back.

    Args:
        embeddings: [N, D] float32, unit length.
        search: the searcher to be tuned.
        settings: how the products are divided; what a search looks at is chosen.
        wanted: the recall, and the seed of the sample.
    """
    chosen, judged = _samples(len(embeddings), wanted.seed)
    truth = _Truth(embeddings, chosen)
    passing = list(_passing(truth, search, settings, wanted.recall))
    if passing:
        best = min(passing, key=lambda way: _cost(way, len(embeddings)))
    else:
        best = dataclasses.replace(
            settings,
            leaves_to_search=settings.num_leaves,
            reordered=min(_REORDERED[-1], len(embeddings)),
        )
    recalls = recalls_of(embeddings, search, best, rows=judged)
    return Tuned(best, float(recalls.mean()), len(judged), wanted.recall)


def _passing(
    truth: _Truth, search: Search, settings: ScannSettings, recall: float
) -> Iterator[ScannSettings]:
    """Yields the passing settings of which neither number can be lowered.

    Recall rises with either number, so the border between passing and failing is a
    staircase: one walk along it sees all its corners.
    """
    fewer = iter(reversed(_REORDERED))
    more = iter([*(n for n in _LEAVES if n < settings.num_leaves), settings.num_leaves])
    leaves, reordered = next(more, None), next(fewer, None)
    while leaves is not None and reordered is not None:
        way = dataclasses.replace(
            settings, leaves_to_search=leaves, reordered=reordered
        )
        shares = truth.recalls(search, way)
        error = shares.std() / math.sqrt(len(shares))
        if shares.mean() - 2 * error >= recall or shares.mean() == 1:
            yield way
            reordered = next(fewer, None)
        else:
            leaves = next(more, None)


def recalls_of(
    embeddings: np.ndarray,
    search: Search,
    settings: ScannSettings,
    *,
    rows: np.ndarray,
) -> np.ndarray:
    """Returns [Q], the share of each query's 10 neighbours that a searcher finds.

    A query is seldom a product of the index, and lies farther from its leaves' centres
    than products do: so each product that stands for one is moved, in a random
    direction, by the distance to its nearest neighbour. So its own nearest are about as
    far as a product's are.

    Args:
        embeddings: [N, D] float32, unit length.
        search: the searcher.
        settings: what it searches with.
        rows: [Q] int, the products that stand for queries.
    """
    return _Truth(embeddings, rows).recalls(search, settings)


def judged_rows(n: int, seed: int) -> np.ndarray:
    """Returns the rows below n by which recall is measured."""
    return _samples(n, seed)[1]


def _samples(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows below n to choose by, and others to measure by."""
    rows = np.random.default_rng(seed).permutation(n)[: 3 * NUM_QUERIES]
    border = len(rows) - len(rows) // 3
    return rows[:border], rows[border:] if len(rows) > 2 else rows


class _Truth:
    """Queries made of some rows, and their true neighbours."""

    def __init__(self, embeddings: np.ndarray, rows: np.ndarray) -> None:
        self._queries = _moved(np.asarray(embeddings[rows]), embeddings)
        found = nearest_rows(self._queries, embeddings, k=TUNED_K)
        self._k = found.rows.shape[1]
        self._farthest = found.distances[:, -1]
        self._embeddings = embeddings

    def recalls(self, search: Search, settings: ScannSettings) -> np.ndarray:
        """Returns [Q], the share of each query's neighbours that is found.

        A product as near as the last of them counts as well.
        """
        rows = search(self._queries, self._k, settings)
        differences = self._embeddings[rows] - self._queries[:, None, :]
        distances = np.sqrt(np.einsum("qkd,qkd->qk", differences, differences))
        near = (distances <= self._farthest[:, None] + _ROUNDING) & (rows >= 0)
        return np.asarray(near.sum(axis=1) / self._k)


def _moved(vectors: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """Returns [Q, D] float32, unit length: vectors moved as far as their nearest."""
    gaps = nearest_rows(vectors, embeddings, k=2).distances[:, -1:]
    directions = np.random.default_rng(0).normal(size=vectors.shape)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    moved = vectors + gaps * directions / lengths
    return np.asarray(
        moved / np.linalg.norm(moved, axis=1, keepdims=True), dtype=np.float32
    )


def _cost(way: ScannSettings, n: int) -> float:
    """Returns what a search costs, in points compared by their codes."""
    scanned = n * way.leaves_to_search / way.num_leaves
    # Finding the leaves compares the query with each one's centre, in float32.
    return scanned + _REORDER_COST * way.reordered + 4 * way.num_leaves
