"""Lines of near-misses, products and offers of the invented shop."""

from __future__ import annotations

from collections import defaultdict

import pytest

from simprod_tf.data.shop_products import FAMILIES, make_offers


@pytest.fixture(scope="module")
def offers():
    return make_offers(900, seed=3)


def products_by_line(offers):
    lines = defaultdict(dict)
    for offer in offers:
        lines[offer.product.line][offer.product.group] = offer.product
    return lines.values()


def test_ids_are_numbered_in_order(offers):
    assert [offer.id for offer in offers[:2]] == ["p000000", "p000001"]
    assert [offer.number for offer in offers] == list(range(900))


def test_most_products_have_near_misses(offers):
    lines = list(products_by_line(offers))
    with_near_miss = sum(len(line) for line in lines if len(line) > 1)
    assert with_near_miss > 0.85 * sum(len(line) for line in lines)


def test_near_misses_differ_in_colour_size_or_pack_alone(offers):
    for line in products_by_line(offers):
        shared = {
            (one.brand, one.model, one.family, one.shape, one.pattern, one.accent)
            for one in line.values()
        }
        variations = {(one.colour, one.size_rank, one.pack) for one in line.values()}
        assert len(shared) == 1
        assert len(variations) == len(line)


def test_all_families_are_sold(offers):
    assert {offer.product.family for offer in offers} == set(FAMILIES)


def test_a_larger_shop_begins_with_other_ids_but_the_same_seed_repeats(offers):
    assert make_offers(900, seed=3) == offers
    assert make_offers(900, seed=4) != offers
