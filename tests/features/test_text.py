"""The tokeniser, worked by hand, and word ids."""

from __future__ import annotations

import pytest
import tensorflow as tf

from simprod_tf.features.text import MAX_WORDS, WordIds, title_words


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Red MUG, new!", ["red", "mug", "new"]),
        ("Mug 350 ml", ["mug", "350ml"]),
        ("mug 350ml", ["mug", "350ml"]),
        ("0,35 L mug", ["0.35l", "mug"]),
        ("USB-C cable (2 m)", ["usb-c", "cable", "2m"]),
        ("XTA-3510-73GB", ["xta-3510-73gb"]),
        ("ÜBER café", ["über", "café"]),
        ("- a -- b. c...", ["a", "b", "c"]),
        ("日本 茶", ["日本", "茶"]),
        ("5 minutes", ["5", "minutes"]),
        ("  ", []),
        ("!!!", []),
    ],
)
def test_titles_become_words(title, words):
    assert title_words([title]) == [words]


def test_batches_do_not_matter():
    titles = [f"mug number {i}" for i in range(10)]
    assert title_words(titles, batch_size=3) == title_words(titles)


def test_word_ids_follow_the_vocabulary_and_skip_unknown_words():
    ids = WordIds(["mug", "red"])(tf.constant(["red shiny mug", "shiny", ""])).numpy()
    assert ids.shape == (3, MAX_WORDS)
    assert ids[0, :3].tolist() == [2, 1, 0]
    assert (ids[1:] == 0).all()


def test_long_titles_are_cut_at_known_words():
    title = " ".join(["shiny"] * 100 + ["mug"] * 100)
    ids = WordIds(["mug"])(tf.constant([title])).numpy()
    assert ids.tolist() == [[1] * MAX_WORDS]


def test_an_empty_vocabulary_knows_nothing():
    assert (WordIds([])(tf.constant(["red mug", " "])).numpy() == 0).all()
