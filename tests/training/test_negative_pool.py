"""Negatives drawn while training: when, which, and where they are kept."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.data.pairs import read_pairs
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.negative_pool import NegativePool
from simprod_tf.training.settings import NegativeSettings


@pytest.fixture
def pool(toy):
    """Makes a pool over the toy shop, and the encoder behind it."""

    def make(folder=None, *, ids=None, near=None, **settings):
        encoder = toy.toy_head()
        catalog = toy.toy_catalog()
        found = NegativePool(
            Embedder(encoder, toy.toy_arrays()),
            catalog,
            toy.toy_pairs(),
            ids=catalog.ids if ids is None else ids,
            near=near,
            settings=NegativeSettings(**settings),
            seed=3,
            folder=folder,
        )
        return found, encoder

    return make


def drawn(pool, toy):
    """The pairs that are not labelled, as a set."""
    both = pool()
    known = set(zip(toy.toy_pairs().anchor_ids, toy.toy_pairs().other_ids))
    assert known <= set(zip(both.anchor_ids, both.other_ids))
    new = [pair not in known for pair in zip(both.anchor_ids, both.other_ids)]
    some = both.where(np.array(new))
    assert not some.labels.any()
    return set(zip(some.anchor_ids, some.other_ids))


def spoil(encoder):
    """Gives the encoder other weights."""
    rng = np.random.default_rng(9)
    encoder.set_weights([rng.normal(size=one.shape) for one in encoder.get_weights()])


def test_random_ones_are_drawn_anew_each_few_epochs(toy, pool):
    found, _ = pool(random=1.5, refresh_epochs=3)
    seen = []
    for epoch in range(7):
        found.on_epoch_begin(epoch)
        seen.append(drawn(found, toy))
    # 48 products give 72; what is labelled already is no new pair.
    assert 60 < len(seen[0]) <= 72
    assert seen[0] == seen[1] == seen[2]
    assert seen[3] == seen[4] == seen[5]
    assert len({frozenset(one) for one in seen}) == 3


def test_hard_ones_are_the_present_encoders_and_of_no_group_of_theirs(toy, pool):
    found, encoder = pool(hard=2, refresh_epochs=1)
    first = drawn(found, toy)
    groups = dict(zip(toy.toy_catalog().ids, toy.toy_catalog().groups))
    assert first
    assert all(groups[one] != groups[other] for one, other in first)
    found.on_epoch_begin(1)
    assert drawn(found, toy) == first
    spoil(encoder)
    found.on_epoch_begin(2)
    assert drawn(found, toy) != first


def test_labels_come_first_and_drawn_pairs_have_their_weight(toy, pool):
    found, _ = pool(random=2, hard=3, weight=0.25)
    both, labelled = found(), toy.toy_pairs()
    weights = dict(zip(zip(both.anchor_ids, both.other_ids), both.weights))
    own = list(zip(labelled.anchor_ids, labelled.other_ids))
    assert [weights.pop(pair) for pair in own] == [1.0] * len(labelled)
    assert set(weights.values()) == {0.25}
    assert both.num_positives == labelled.num_positives


def test_none_are_drawn_of_other_sides_or_of_the_same_picture(toy, pool):
    ids = toy.toy_catalog().ids
    some = ids[:24]
    found, _ = pool(random=3, hard=3, ids=some)
    assert {one for pair in drawn(found, toy) for one in pair} <= set(some)
    near = np.arange(toy.PRODUCTS) // 24
    found, _ = pool(random=3, hard=3, near=near)
    halves = {id: row // 24 for row, id in enumerate(ids)}
    assert all(halves[one] != halves[other] for one, other in drawn(found, toy))


def test_a_draw_is_taken_up_from_its_file(toy, pool, tmp_path):
    first, encoder = pool(tmp_path, hard=2, refresh_epochs=2)
    spoil(encoder)
    first.on_epoch_begin(2)
    wanted = drawn(first, toy)
    path = tmp_path / "negatives-2.parquet"
    assert len(read_pairs(path, source="mined")) == len(first())
    # Started again in the fourth epoch, of other weights than when it was drawn.
    again, _ = pool(tmp_path, hard=2, refresh_epochs=2)
    again.on_epoch_begin(3)
    assert drawn(again, toy) == wanted
    np.testing.assert_array_equal(again().weights, first().weights)
    np.testing.assert_array_equal(again().anchor_ids, first().anchor_ids)
    # In the third epoch itself it is due: the file, of another try, does not count.
    anew, _ = pool(tmp_path, hard=2, refresh_epochs=2)
    anew.on_epoch_begin(2)
    assert drawn(anew, toy) != wanted
