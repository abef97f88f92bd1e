"""Hand-labelled pairs: which pairs people see, and how they hang together."""

from __future__ import annotations

from collections import Counter

import pytest

from simprod_tf.data.shop_hand_pairs import count_pairs, label_pairs
from simprod_tf.data.shop_products import make_offers


@pytest.fixture(scope="module")
def offers():
    return make_offers(900, seed=2)


@pytest.fixture(scope="module")
def pairs(offers):
    return label_pairs(offers, num_pairs=720, labelling_error=0.0, seed=2)


def components(pairs, group_of):
    """Returns the sets of products that pairs tie together."""
    leader = {group: group for group in group_of.values()}

    def find(group):
        while leader[group] != group:
            group = leader[group]
        return group

    for pair in pairs:
        leader[find(group_of[pair.anchor_id])] = find(group_of[pair.other_id])
    return Counter(find(group) for group in leader)


def test_labels_without_mistakes_tell_the_product(offers, pairs):
    group_of = {offer.id: offer.product.group for offer in offers}
    for pair in pairs:
        assert pair.label == (group_of[pair.anchor_id] == group_of[pair.other_id])
        assert pair.anchor_id != pair.other_id
    counts = count_pairs(pairs)
    assert counts["num_hand_pairs"] == 720
    assert counts["num_hand_pairs_labelled_similar"] == 324
    assert counts["num_hand_pairs_mistaken"] == 0


def test_pairs_leave_many_components_for_a_split(offers, pairs):
    group_of = {offer.id: offer.product.group for offer in offers}
    sizes = components(pairs, group_of)
    assert len(sizes) >= 25
    assert max(sizes.values()) < 0.1 * len(set(group_of.values()))


def test_half_of_the_negatives_are_near_misses_and_some_of_other_categories(
    offers, pairs
):
    product_of = {offer.id: offer.product for offer in offers}
    negatives = [
        (product_of[pair.anchor_id], product_of[pair.other_id])
        for pair in pairs
        if not pair.label
    ]
    hard = sum(anchor.line == other.line for anchor, other in negatives)
    far = sum(anchor.family != other.family for anchor, other in negatives)
    assert 0.4 * len(negatives) < hard < 0.6 * len(negatives)
    assert 0.1 * len(negatives) < far < 0.45 * len(negatives)


def test_no_offer_is_in_many_pairs(pairs):
    uses = Counter(id for pair in pairs for id in (pair.anchor_id, pair.other_id))
    assert max(uses.values()) < 16


def test_a_small_shop_runs_out_of_pairs():
    offers = make_offers(50, seed=1)
    pairs = label_pairs(offers, num_pairs=10_000, labelling_error=0.0, seed=1)
    assert 100 < len(pairs) < 10_000
    assert len({frozenset((pair.anchor_id, pair.other_id)) for pair in pairs}) == len(
        pairs
    )
