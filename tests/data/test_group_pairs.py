"""Pairs drawn from groups."""

from __future__ import annotations

import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.group_pairs import draw_group_pairs


def catalog_of(groups, categories):
    size = len(groups)
    return Catalog(
        text_array([f"p{i:03}" for i in range(size)]),
        text_array(["t"] * size),
        text_array([""] * size),
        text_array(groups),
        pa.table({"category": categories}),
    )


GROUPS = [f"g{i // 4}" for i in range(80)] + ["", ""]
CATEGORIES = [f"c{i // 16}" for i in range(80)] + ["c0", "c1"]


def test_labels_are_the_groups():
    catalog = catalog_of(GROUPS, CATEGORIES)
    pairs = draw_group_pairs(catalog, num_pairs=400, seed=1)
    groups = {id: group for id, group in zip(catalog.ids, catalog.groups)}
    both = zip(pairs.anchor_ids, pairs.other_ids, pairs.labels)
    assert all((groups[a] == groups[b]) == (label == 1) for a, b, label in both)
    assert not {"p080", "p081"} & {*pairs.anchor_ids, *pairs.other_ids}
    assert 50 < pairs.num_positives < len(pairs) - 50


def test_near_negatives_share_the_column():
    catalog = catalog_of(GROUPS, CATEGORIES)
    category = dict(zip(catalog.ids, CATEGORIES))

    def share(near):
        pairs = draw_group_pairs(catalog, num_pairs=1000, near_column=near, seed=1)
        wrong = pairs.where(pairs.labels == 0)
        both = list(zip(wrong.anchor_ids, wrong.other_ids))
        return sum(category[a] == category[b] for a, b in both) / len(both)

    # At random 12 of 79 others share the category; half of the near ones all do.
    assert share(None) < 0.25
    assert share("category") > 0.4


def test_a_catalogue_without_groups_is_refused():
    with pytest.raises(ValueError, match="takes two groups, one with two products"):
        draw_group_pairs(catalog_of(["g", "h"], ["c", "c"]))
