from __future__ import annotations

import numpy as np
import pytest
from rapidfuzz.distance import JaroWinkler

from simprod_tf.decider.evidence.alignment import aligned


def matched(products, name):
    """By token of both titles of the pair (0, 1), how well it is matched."""
    found = aligned(products, np.array([0]), np.array([1]))
    text = products.words.text
    sides = (found.one, f"{name}_one"), (found.two, f"{name}_two")
    return [
        dict(zip(text[taken.values], getattr(found, side).tolist()))
        for taken, side in sides
    ]


def test_equal_tokens_are_matched(prepared):
    products = prepared(["red mug", "blue mug"])
    assert matched(products, "equal") == [{"red": 0, "mug": 1}, {"blue": 0, "mug": 1}]


def test_words_written_as_one_are_joined_on_both_sides(prepared):
    products = prepared(["sony cyber shot w120", "cybershot w120b"])
    one, two = matched(products, "joined")
    assert one == {"sony": 0, "cyber": 1, "shot": 1, "w120": 0}
    assert two == {"cybershot": 1, "w120b": 0}
    one, _ = matched(products, "equal")
    assert one["cyber"] == 0


def test_three_neighbours_are_joined(prepared):
    one, two = matched(prepared(["kx tg 9343", "kxtg9343"]), "joined")
    assert set(one.values()) == {1.0}
    assert two == {"kxtg9343": 1}


def test_abbreviations_are_softly_matched(prepared):
    one, two = matched(prepared(["windows upg", "windows upgrade"]), "soft")
    likeness = JaroWinkler.similarity("upg", "upgrade")
    assert one["upg"] == two["upgrade"] == pytest.approx(likeness)


@pytest.mark.parametrize(
    ("this", "that"), [("2006", "2007"), ("w120", "w170"), ("red", "blue")]
)
def test_numbers_codes_and_other_words_are_not_softly_matched(prepared, this, that):
    one, two = matched(prepared([f"camera {this}", f"camera {that}"]), "soft")
    assert one[this] == two[that] == 0


def test_each_pair_is_aligned_for_itself(prepared):
    products = prepared(["red mug", "blue cup", "blue mug"])
    found = aligned(products, np.array([0, 1, 0]), np.array([1, 2, 2]))
    assert found.one.sum(found.joined_one).tolist() == [0, 1, 1]
    assert found.two.sum(found.joined_two).tolist() == [0, 1, 1]
