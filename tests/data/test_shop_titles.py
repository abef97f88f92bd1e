"""Sellers' titles: what they say of a product, and how differently."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simprod_tf.data.shop_products import (
    COLOURS,
    FAMILIES,
    PATTERNS,
    make_offers,
)
from simprod_tf.data.shop_titles import write_title


@pytest.fixture(scope="module")
def mug():
    product = make_offers(60, seed=1)[0].product
    return dataclasses.replace(
        product, family="mug", colour="navy", size_rank=2, pack=4, material="ceramic"
    )


def titles_of(product, *, sellers=300):
    return [
        write_title(product, rng=np.random.default_rng(seed)) for seed in range(sellers)
    ]


def test_sellers_spell_a_size_differently(mug):
    titles = " | ".join(titles_of(mug)).lower()
    for spelling in ("350 ml", "350ml", "0.35 l", "35 cl"):
        assert spelling in titles


def test_sellers_call_a_colour_a_thing_and_a_pack_differently(mug):
    titles = " | ".join(titles_of(mug)).lower()
    for words in ("navy", "dark blue", "midnight", "mug", "cup", "set of 4", "4 pack"):
        assert words in titles


def test_most_titles_name_the_brand_and_few_pairs_are_equal(mug):
    titles = titles_of(mug)
    named = sum(mug.brand.lower() in title.lower() for title in titles)
    assert 0.8 * len(titles) < named < len(titles)
    assert len(set(titles)) > 0.95 * len(titles)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_product_gets_a_title(mug, family):
    for number, colour in enumerate(COLOURS):
        product = dataclasses.replace(
            mug,
            family=family,
            colour=colour,
            pattern=PATTERNS[number % len(PATTERNS)],
            size_rank=number % len(FAMILIES[family].sizes),
        )
        title = write_title(product, rng=np.random.default_rng(number))
        assert title and title == " ".join(title.split())
