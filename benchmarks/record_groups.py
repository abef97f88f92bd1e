"""Groups of products in `record.py`: from matches, and measured product by product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from simprod_tf.evaluation.group_metrics import group_rows
from simprod_tf.matching.group_edges import FARTHEST, LINKED
from simprod_tf.matching.group_ids import group_by_id
from simprod_tf.matching.grouping import group_matches

# Cuts tried, as shares of the matches' distances.
_TRIED = np.linspace(0.02, 1.0, 50)


def match_table(ids: np.ndarray, rows: np.ndarray, distances: np.ndarray) -> pa.Table:
    """Returns each pair in both directions, as `group_matches` takes them."""
    starts, ends = (np.concatenate([rows[:, s], rows[:, 1 - s]]) for s in (0, 1))
    return pa.table(
        {
            "query_id": pa.array(ids[starts], pa.string()),
            "id": pa.array(ids[ends], pa.string()),
            "distance": pa.array(np.tile(distances, 2), pa.float32()),
        }
    )


def groups_of(
    matches: pa.Table, *, max_distance: float, missing_distance: float
) -> Mapping[str, str]:
    """Returns the group of each product that is in one of two and more."""
    if not len(matches):
        return {}
    found = group_matches(
        matches,
        max_distance=max_distance,
        missing_distance=missing_distance,
        mutual=False,
    )
    return group_by_id(found.table)


def shares_of_limit(distances: np.ndarray, limit: float) -> np.ndarray:
    """Returns [E] float32 distances as `simprod match` gives them to grouping.

    Up to `LINKED` they are within the limit; none counts as more than `FARTHEST`.
    """
    # As float32 a share just above the limit could be at it.
    above = np.nextafter(np.float32(LINKED), np.float32(np.inf))
    shares = (distances / max(limit, 1e-9)).astype(np.float32)
    within = distances.astype(np.float64) <= limit
    return np.where(
        within, np.minimum(shares, np.float32(LINKED)), np.clip(shares, above, FARTHEST)
    )


def in_one_group(found: Mapping[str, str], pairs: np.ndarray) -> np.ndarray:
    """Returns [N] bool, whether the ids of [N, 2] pairs are in one group.

    A product that is in no group is with itself alone.
    """
    ends = ((found.get(one, (one,)), found.get(two, (two,))) for one, two in pairs)
    return np.array([one == two for one, two in ends], bool)


def group_columns(
    ids: np.ndarray, truth: np.ndarray, found: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Returns [N] float64 each: B-cubed precision and recall, and the row's F1.

    Shopee's measure is the mean of the last one.

    Args:
        ids, truth: [N] str, the judged products and their true groups.
        found: Group by id; a product that is not there stands alone.
    """
    rows = group_rows(found, dict(zip(ids, truth)))
    return {
        "b_cubed_precision": rows.shared / rows.found_sizes,
        "b_cubed_recall": rows.shared / rows.true_sizes,
        "row_f1": 2 * rows.shared / (rows.found_sizes + rows.true_sizes),
    }


def best_group_distance(
    matches: pa.Table, ids: np.ndarray, truth: np.ndarray, *, missing_distance: float
) -> float:
    """Returns the max_distance whose groups have the highest mean row F1.

    For products that are not judged: the choice is made for them.
    """
    cuts = np.unique(np.quantile(matches["distance"].to_numpy(), _TRIED))

    def row_f1(cut: float) -> float:
        found = groups_of(
            matches, max_distance=float(cut), missing_distance=missing_distance
        )
        return float(group_columns(ids, truth, found)["row_f1"].mean())

    return float(max(cuts, key=row_f1))
