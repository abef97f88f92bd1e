"""Drawn pictures: every family in every shape, and what nuisance changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from simprod_tf.data.shop_pen import Pen
from simprod_tf.data.shop_pictures import draw_picture
from simprod_tf.data.shop_products import FAMILIES, NUM_SHAPES, PATTERNS, make_offers
from simprod_tf.data.shop_shapes import draw_product


@pytest.fixture(scope="module")
def product():
    return make_offers(60, seed=1)[0].product


def studio_shot(product):
    """Returns [64, 64, 3]: the product from the front, on white, without nuisance."""
    canvas = Image.new("RGB", (64, 64), (255, 255, 255))
    draw_product(
        Pen(canvas, np.array([[32.0, 0, 32], [0, 32, 32], [0, 0, 1]])), product
    )
    return np.asarray(canvas).astype(int)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_shape_of_a_family_is_another_drawing(product, family):
    shots = [
        studio_shot(
            dataclasses.replace(product, family=family, size_rank=0, shape=shape)
        )
        for shape in range(NUM_SHAPES)
    ]
    assert all((shot < 250).any(-1).mean() > 0.1 for shot in shots)
    for first in range(NUM_SHAPES):
        for second in range(first):
            assert (shots[first] != shots[second]).any(-1).mean() > 0.01


def test_every_pattern_is_another_drawing(product):
    shots = [
        studio_shot(
            dataclasses.replace(
                product, family="cushion", colour="red", accent="white", pattern=pattern
            )
        )
        for pattern in PATTERNS
    ]
    assert len({shot.tobytes() for shot in shots}) == len(PATTERNS)


def test_a_pack_shows_more_pieces_to_most_sellers(product):
    mug = dataclasses.replace(product, family="mug", size_rank=0, pack=1)
    pair = dataclasses.replace(mug, pack=2)
    differ = 0
    for seed in range(12):
        one, two = (
            draw_picture(each, image_size=32, rng=np.random.default_rng(seed))
            for each in (mug, pair)
        )
        differ += one.tobytes() != two.tobytes()
    assert 5 <= differ < 12


def test_two_sellers_take_different_pictures_and_one_seller_the_same(product):
    first, second, again = (
        np.asarray(
            draw_picture(product, image_size=48, rng=np.random.default_rng(seed))
        )
        for seed in (1, 2, 1)
    )
    assert first.shape == (48, 48, 3)
    assert (first == again).all()
    assert np.abs(first.astype(int) - second).mean() > 10
