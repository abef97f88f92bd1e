"""Changed texts: what changes, and what must not."""

from __future__ import annotations

import numpy as np

from simprod_tf.training.title_changes import changed_pair, changed_words, renamed_pair

WORDS = "canon powershot a590is digital camera black".split()


def rng(seed=0):
    return np.random.default_rng(seed)


def test_words_are_dropped_swapped_or_cut_and_none_is_new():
    ways = set()
    for seed in range(50):
        found = changed_words(WORDS, rng(seed))
        assert 3 <= len(found) <= len(WORDS)
        for word in found:
            assert any(one.startswith(word) for one in WORDS)
        ways.add("drop" if len(found) < len(WORDS) else "keep")
        if any(word not in WORDS for word in found):
            ways.add("cut")
        if sorted(found) == sorted(WORDS) and found != WORDS:
            ways.add("swap")
    assert ways == {"drop", "keep", "cut", "swap"}


def test_a_short_text_stays_as_it_is():
    assert all(
        changed_words(["red", "mug"], rng(s)) == ["red", "mug"] for s in range(9)
    )


def test_a_cut_word_keeps_three_letters_and_model_numbers_stay_whole():
    for seed in range(50):
        found = changed_words(WORDS, rng(seed))
        new = [word for word in found if word not in WORDS]
        assert all(3 <= len(word) <= 5 for word in new)
        assert not any("a5".startswith(word) for word in new)


def test_model_numbers_are_renamed_alike_on_both_sides():
    one, other = renamed_pair([["a590is", "black"], ["a590is", "a590it"]], rng())
    assert one[0] == other[0] != "a590is"
    assert one[1] == "black"
    assert other[1][:-1] == other[0][:-1]
    assert other[1] != other[0]


def test_sizes_years_and_words_are_not_renamed():
    words = ["8gb", "2007", "1024.5", "windows", "mp3"]
    assert renamed_pair([words], rng()) == [words]


def test_nothing_is_changed_but_the_order_of_the_two_where_the_shares_are_0():
    other = ["red", "mug"]
    found = {
        changed_pair(WORDS, other, rng=rng(seed), changed=0, renamed=0)[0] is WORDS
        for seed in range(20)
    }
    assert found == {True, False}


def test_the_same_draws_give_the_same_changes():
    one, same = (
        changed_pair(WORDS, WORDS[::-1], rng=rng(3), changed=1, renamed=1)
        for _ in range(2)
    )
    assert one == same
