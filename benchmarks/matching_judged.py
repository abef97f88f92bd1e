"""What an option of matching did, pair by pair and product by product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from simprod_tf.data.components import components
from simprod_tf.matching.pair_code import pair_codes

Vetoed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Judged:
    """What an option did, by labelled pair [P], product [M] and candidate [C].

    Products and candidates are there only where all true groups are known. Of a product
    the partners that matching found for it are counted, in either direction; a
    candidate is there if one of its products is judged.

    Attributes:
        cluster: [P] what the pair's first product hangs together with.
        label, candidate, accepted, together: [P] bool; together after grouping.
        probability: [P] at the prior of the labelled pairs chosen on.
        distance: [P], inf where no threshold would accept it: no candidate, or vetoed.
        group: [M] the true group.
        found, hits, partners, proposed: [M] accepted partners, the true ones among
            them, true partners, and those of them that are candidates.
        precision_before, recall_before: [M] B-cubed of the connected components.
        precision_after, recall_after: [M] B-cubed of the groups.
        after, after_hits: [M] others in its group, and the true partners among them.
        estimate: [C] probability at the decision's prior.
        same: [C] bool, of one true group.
        apart: [C] distance, inf where it is vetoed.
    """

    cluster: np.ndarray
    label: np.ndarray
    candidate: np.ndarray
    accepted: np.ndarray
    together: np.ndarray
    probability: np.ndarray
    distance: np.ndarray
    group: np.ndarray
    found: np.ndarray
    hits: np.ndarray
    partners: np.ndarray
    proposed: np.ndarray
    precision_before: np.ndarray
    recall_before: np.ndarray
    precision_after: np.ndarray
    recall_after: np.ndarray
    after: np.ndarray
    after_hits: np.ndarray
    estimate: np.ndarray
    same: np.ndarray
    apart: np.ndarray

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        cluster: np.ndarray,
        truth: np.ndarray | None,
        products: np.ndarray,
        candidates: tuple[np.ndarray, np.ndarray],
        accepted: np.ndarray,
        groups: np.ndarray,
        curve: Any,
        labelled_curve: Any,
        labelled_distances: np.ndarray,
        vetoed: Vetoed,
    ) -> Judged:
        """Returns the judgement of one fold.

        Args:
            rows: [P, 2] of the labelled pairs.
            labels: [P] 1 = similar, 0 = not.
            cluster: [N] what hangs together.
            truth: [N] true groups, or None.
            products: [N] bool, those that are judged.
            candidates: [C, 2] rows and their [C] distances, each pair once.
            accepted: [E, 2] rows, each pair once.
            groups: [N] found groups.
            curve, labelled_curve: from distance to probability.
            labelled_distances: [P].
            vetoed: says which of [E, 2] rows no threshold accepts.
        """
        n = len(products)
        between, distances = candidates
        pairs = {
            "cluster": cluster[rows[:, 0]],
            "label": labels == 1,
            "candidate": _among(rows, between, n),
            "accepted": _among(rows, accepted, n),
            "together": groups[rows[:, 0]] == groups[rows[:, 1]],
            "probability": labelled_curve.probability(labelled_distances),
            "distance": np.where(
                _among(rows, between, n) & ~vetoed(rows), labelled_distances, np.inf
            ),
        }
        if truth is None:
            rest = {one.name: np.empty(0) for one in fields(cls)}
            return cls(**{**rest, **pairs})
        joined = components(accepted, n)
        judged = products[between].any(axis=1)
        every = {
            "group": truth,
            "found": _ends(accepted, n),
            "hits": _ends(accepted[_same(truth, accepted)], n),
            "partners": np.bincount(truth)[truth] - 1,
            "proposed": _ends(between[_same(truth, between)], n),
            **dict(zip(("precision_before", "recall_before"), b_cubed(joined, truth))),
            **dict(zip(("precision_after", "recall_after"), b_cubed(groups, truth))),
            "after": np.bincount(groups)[groups] - 1,
            "after_hits": _shared(groups, truth) - 1,
        }
        return cls(
            **pairs,
            **{name: values[products] for name, values in every.items()},
            estimate=curve.probability(distances[judged]),
            same=_same(truth, between[judged]),
            apart=np.where(vetoed(between[judged]), np.inf, distances[judged]),
        )

    @classmethod
    def pooled(cls, parts: Sequence[Judged]) -> Judged:
        """Returns the folds as one."""
        names = [one.name for one in fields(cls)]
        return cls(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in names)
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the fields, for a file."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def b_cubed(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns B-cubed precision and recall of each product, both [N].

    `evaluation.group_metrics` has the means; here the products of other sides count in
    a group as well, and a bootstrap needs each product's own.
    """
    shared = _shared(found, truth)
    return shared / np.bincount(found)[found], shared / np.bincount(truth)[truth]


def _shared(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns [N] how many share both groups with each product, itself among them."""
    cells = found.astype(np.int64) * (int(truth.max()) + 1) + truth
    _, place, count = np.unique(cells, return_inverse=True, return_counts=True)
    return count[place]


def _among(rows: np.ndarray, pairs: np.ndarray, n: int) -> np.ndarray:
    return np.isin(pair_codes(*rows.T, n=n), pair_codes(*pairs.T, n=n))


def _same(truth: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return truth[pairs[:, 0]] == truth[pairs[:, 1]]


def _ends(pairs: np.ndarray, n: int) -> np.ndarray:
    return np.bincount(pairs.ravel(), minlength=n)
