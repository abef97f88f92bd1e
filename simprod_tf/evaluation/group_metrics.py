"""How well groups of products are the true ones.

A measure that the groups cannot give, such as the precision of the pairs when no two
products are together, is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simprod_tf.evaluation.cuts import ratio
from simprod_tf.evaluation.interval import cluster_numbers
from simprod_tf.evaluation.section import Section
from simprod_tf.matching.group_ids import group_by_id


@dataclass(frozen=True)
class GroupMetrics:
    """Found groups against true ones, over the products whose true group is known.

    Attributes:
        b_cubed_precision: the mean, over products, of the share of its found group
            that is of its true group; a product alone counts with its 1.
        b_cubed_recall: the mean share of its true group that is in its found group.
        b_cubed_f1: the harmonic mean of these two.
        pair_precision: of all pairs of products in one found group, the share that is
            in one true group. Unlike B-cubed it is ruled by the large groups.
        pair_recall: of all pairs in one true group, the share in one found group.
        pair_f1: the harmonic mean of these two.
        row_f1: the mean, over products, of the F1 of its found group against its true
            one, as Kaggle's "Shopee - Price Match Guarantee" (2021) scores,
            https://www.kaggle.com/competitions/shopee-product-matching; a product is
            in both of its groups.
        num_products: how many products were judged.
        num_groups: how many found groups of two and more there are among them.
        num_singletons: how many of them stand alone.
        largest: the number of products in the largest found group.
    """

    b_cubed_precision: float
    b_cubed_recall: float
    b_cubed_f1: float
    pair_precision: float
    pair_recall: float
    pair_f1: float
    row_f1: float
    num_products: int
    num_groups: int
    num_singletons: int
    largest: int


GROUP_METRICS = (
    *("b_cubed_precision", "b_cubed_recall", "b_cubed_f1"),
    *("pair_precision", "pair_recall", "pair_f1", "row_f1"),
)


@dataclass(frozen=True, eq=False)
class GroupRows:
    """What found and true groups have in common, product by product.

    Attributes:
        ids: [n] the products judged.
        groups: [n] their true groups, the clusters to resample.
        shared: [n] int64, the products in both of its groups, itself among them.
        found_sizes, true_sizes: [n] int64, of its found and its true group.
    """

    ids: np.ndarray
    groups: np.ndarray
    shared: np.ndarray
    found_sizes: np.ndarray
    true_sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> GroupRows:
        """Returns some of the products; their groups stay as large as they are."""
        return GroupRows(
            self.ids[rows],
            self.groups[rows],
            self.shared[rows],
            self.found_sizes[rows],
            self.true_sizes[rows],
        )


@dataclass(frozen=True)
class GroupedPairMetrics:
    """Labelled pairs, when a pair counts as similar if both are in one group.

    Attributes:
        precision: share of the pairs in one group that are similar.
        recall: share of the similar pairs that are in one group.
        num_pairs: how many pairs there are.
        num_similar: how many of them are similar.
        num_together: how many of them are in one group.
        num_hits: how many of them are both.
    """

    precision: float
    recall: float
    num_pairs: int
    num_similar: int
    num_together: int
    num_hits: int


def group_metrics(
    found: pa.Table | Mapping[str, str], truth: Mapping[str, Hashable]
) -> GroupMetrics:
    """Returns precision and recall of groups: B-cubed, and over pairs.

    B-cubed: Bagga and Baldwin, "Entity-based cross-document coreferencing using the
    vector space model", 1998, https://aclanthology.org/P98-1012.

    Args:
        found: the group of each product, as a mapping or as a table of `id` and
            `group`. A product that is not there stands alone; those without a true
            group are left out, as if they did not exist.
        truth: the true group of each product to judge; those alone have their own.
    """
    rows = group_rows(found, truth)
    sizes = _sizes_of_found(rows)
    values = _values(_columns(rows).sum(axis=0)[None], np.array([len(rows)]))[0]
    return GroupMetrics(
        **dict(zip(GROUP_METRICS, values.tolist())),
        num_products=len(rows),
        num_groups=int(np.count_nonzero(sizes > 1)),
        num_singletons=int(np.count_nonzero(sizes == 1)),
        largest=int(sizes.max(initial=0)),
    )


def group_rows(
    found: pa.Table | Mapping[str, str], truth: Mapping[str, Hashable]
) -> GroupRows:
    """Returns found groups beside true ones; see `group_metrics` for the arguments."""
    groups = _as_mapping(found)
    found_codes = _codes([groups.get(id) for id in truth])
    true_codes = _codes(list(truth.values()))
    n = len(truth)
    # One number a cell of the contingency table: found group by true group.
    _, cells, counts = np.unique(
        found_codes * max(n, 1) + true_codes, return_inverse=True, return_counts=True
    )
    return GroupRows(
        ids=np.array(list(truth), object),
        groups=true_codes,
        shared=counts[cells],
        found_sizes=np.bincount(found_codes)[found_codes],
        true_sizes=np.bincount(true_codes)[true_codes],
    )


def group_section(rows: GroupRows) -> Section:
    """Returns the measures `GROUP_METRICS`, resampled by true group.

    What a product's groups share is held as it was found: a resample draws products,
    it does not group them anew. No names where there are no products.
    """
    numbers = cluster_numbers(rows.groups)
    if not len(rows):
        return Section((), numbers, lambda counts: np.empty((len(counts), 0)))
    size = int(numbers.max()) + 1
    sums = np.stack(
        [np.bincount(numbers, column, size) for column in _columns(rows).T], axis=1
    )
    sizes = np.bincount(numbers).astype(np.float64)
    return Section(
        GROUP_METRICS,
        numbers,
        lambda counts: _values(counts @ sums, counts @ sizes),
    )


def _columns(rows: GroupRows) -> np.ndarray:
    """Returns [n, 6] float64, of whose sums all measures are made."""
    shared, found, true = rows.shared, rows.found_sizes, rows.true_sizes
    # Each pair is counted at both of its products.
    pairs = shared - 1, found - 1, true - 1
    shares = shared / found, shared / true, 2 * shared / (found + true)
    return np.stack([*shares, *pairs], axis=1).astype(np.float64)


def _values(sums: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Returns [B, M] `GROUP_METRICS` of [B, 6] sums over [B] numbers of products."""
    shared_of_found, shared_of_true, row_f1, hits, found, true = sums.T
    precision, recall = ratio(shared_of_found, n), ratio(shared_of_true, n)
    measures = {
        "b_cubed_precision": precision,
        "b_cubed_recall": recall,
        # Neither is ever 0: a product shares both groups with itself.
        "b_cubed_f1": 2 * precision * recall / (precision + recall),
        "pair_precision": ratio(hits, found),
        "pair_recall": ratio(hits, true),
        "pair_f1": ratio(2 * hits, found + true),
        "row_f1": ratio(row_f1, n),
    }
    return np.stack([measures[name] for name in GROUP_METRICS], axis=1)


def _sizes_of_found(rows: GroupRows) -> np.ndarray:
    """Returns the sizes of the found groups, one number a group, by rising size."""
    sizes, members = np.unique(rows.found_sizes, return_counts=True)
    return np.repeat(sizes, members // np.maximum(sizes, 1))


def grouped_pair_metrics(
    found: pa.Table | Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    *,
    labels: npt.ArrayLike,
) -> GroupedPairMetrics:
    """Returns precision and recall of labelled pairs after grouping.

    Grouping brings pairs together that were no match, by way of others, and parts
    matches: the decision's precision and recall do not hold for its groups.

    Args:
        found: the group of each product, as a mapping or as a table of `id` and
            `group`; a product that is not there stands alone.
        pairs: the two ids of each pair.
        labels: [N] 1 = similar, 0 = not.
    """
    similar = np.asarray(labels)
    if similar.shape != (len(pairs),) or not np.isin(similar, (0, 1)).all():
        raise ValueError(
            f"labels must be one row of {len(pairs)} values, 1 (similar) or 0 (not), "
            f"as many as pairs, got shape {similar.shape}."
        )
    groups = _as_mapping(found)
    # A product that is in no group is with nobody else.
    ends = ((groups.get(one, (one,)), groups.get(two, (two,))) for one, two in pairs)
    together = np.array([one == two for one, two in ends], bool)
    num_similar, num_together = int(similar.sum()), int(together.sum())
    hits = int(np.count_nonzero(together & (similar == 1)))
    return GroupedPairMetrics(
        precision=_share(hits, num_together),
        recall=_share(hits, num_similar),
        num_pairs=len(pairs),
        num_similar=num_similar,
        num_together=num_together,
        num_hits=hits,
    )


def _as_mapping(found: pa.Table | Mapping[str, str]) -> Mapping[str, str]:
    return group_by_id(found) if isinstance(found, pa.Table) else found


def _codes(groups: Sequence[Hashable | None]) -> np.ndarray:
    """Returns [n] int64: one number a group, and one each product without a group."""
    numbers: dict[Hashable, int] = {}
    codes = np.empty(len(groups), np.int64)
    alone = len(groups)
    for row, group in enumerate(groups):
        codes[row] = alone if group is None else numbers.setdefault(group, len(numbers))
    without = codes == alone
    codes[without] = len(numbers) + np.arange(int(without.sum()))
    return codes


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
