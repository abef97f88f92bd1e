"""What may not be taken for a dissimilar pair: guards against false negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.components import similar_components
from simprod_tf.data.pairs import Pairs, canonical_pairs

# In the order in which they are asked: a pair is counted under the first that holds.
LABELLED = "labelled already"
GROUP = "same group"
SIMILAR = "similar by way of others"
TITLE = "same title"
PICTURE = "near-duplicate picture"


@dataclass(frozen=True, eq=False)
class Negatives:
    """Pairs taken for dissimilar.

    Attributes:
        pairs: Label 0, source "mined".
        dropped: How many candidates were left out, by reason.
    """

    pairs: Pairs
    dropped: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Guards:
    """Tells which pairs of rows may not be taken for dissimilar; `guards_of` makes it.

    Attributes:
        keys: By reason [P] int64; two products of one key are no negative; -1 = none.
        labelled: [N] int64, sorted: the labelled pairs, each as `pair_numbers`.
    """

    keys: Mapping[str, np.ndarray]
    labelled: np.ndarray

    def reasons(self, anchors: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
        """Returns [N] bool by reason, in order: which pairs it forbids.

        Args:
            anchors, others: [N] int64 rows.
        """
        num_products = len(self.keys[GROUP])
        numbers = pair_numbers(anchors, others, num_products)
        found = {LABELLED: np.isin(numbers, self.labelled)}
        for reason, keys in self.keys.items():
            found[reason] = (keys[anchors] == keys[others]) & (keys[anchors] >= 0)
        return found


def guards_of(catalog: Catalog, positives: Pairs, near: np.ndarray | None) -> Guards:
    """Returns the guards of a catalogue.

    Args:
        catalog: The products; those of one group or one title are guarded.
        positives: The labelled pairs. Products that hang together by similar ones are
            guarded; pairs labelled dissimilar are known already.
        near: [P] int64 component of near-duplicate pictures, -1 for none; or None.

    Raises:
        ValueError: `near` has another length.
    """
    if near is not None and len(near) != len(catalog):
        raise ValueError(f"near has {len(near)} rows for {len(catalog)} products.")
    rows = catalog.rows_of(positives.anchor_ids), catalog.rows_of(positives.other_ids)
    keys = {
        GROUP: text_keys(catalog.groups),
        SIMILAR: similar_components(catalog, positives),
        TITLE: text_keys(catalog.titles),
    }
    if near is not None:
        keys[PICTURE] = near
    return Guards(keys, np.sort(pair_numbers(*rows, len(catalog))))


def pair_numbers(
    anchors: np.ndarray, others: np.ndarray, num_products: int
) -> np.ndarray:
    """Returns [N] int64, one number a pair of rows, whichever comes first."""
    low, high = np.minimum(anchors, others), np.maximum(anchors, others)
    return low.astype(np.int64) * num_products + high


def text_keys(texts: np.ndarray) -> np.ndarray:
    """Returns [P] int64, equal where the texts are; -1 where there is none ("")."""
    known: dict[str, int] = {}
    return np.array(
        [known.setdefault(text, len(known)) if text else -1 for text in texts], np.int64
    )


def allowed_rows(
    catalog: Catalog, ids: Sequence[str] | np.ndarray | None
) -> np.ndarray:
    """Returns the sorted [A] rows of these ids, or of all products."""
    if ids is None:
        return np.arange(len(catalog))
    return np.unique(catalog.rows_of(ids))


def negative_pairs(
    catalog: Catalog, anchors: np.ndarray, others: np.ndarray, weight: float
) -> Pairs:
    """Returns [N] pairs of rows with label 0."""
    return canonical_pairs(
        catalog.ids[anchors],
        catalog.ids[others],
        np.zeros(len(anchors), np.int8),
        weights=np.full(len(anchors), weight),
        source="mined",
    )
