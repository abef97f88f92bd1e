"""Which words of a file are taken: exact spelling, else the first that folds to it."""

from __future__ import annotations

import pytest

from simprod_tf.features.wanted_words import WantedWords, put


def taken(file_words, keep, extra_words=0):
    """Returns {name: position in the file} of the words taken, in order of row."""
    wanted, positions = WantedWords(keep, extra_words), []
    for position, word in enumerate(file_words):
        key = wanted.key(word.encode())
        if key is not None:
            put(positions, wanted.place(key, word.encode()), [position])
    return dict(zip(wanted.words, positions)), wanted.missing()


def test_the_same_spelling_goes_before_a_folded_one_wherever_it_stands():
    assert taken(["Nike", "NIKE", "nike", "Nike"], {"nike"})[0] == {"nike": 2}
    assert taken(["nike", "Nike"], {"nike"})[0] == {"nike": 0}


def test_the_first_of_folded_and_of_repeated_words_counts():
    assert taken(["Sony", "SONY"], {"sony"})[0] == {"sony": 0}
    assert taken(["sony", "sony"], {"sony"})[0] == {"sony": 0}
    assert taken(["sony", "Sony", "sony"], None)[0] == {"sony": 0, "Sony": 1}


def test_words_fold_beyond_ascii():
    found, _ = taken(["STRASSE", "Straße", "ÉCRU"], {"strasse", "écru", "straße"})
    # "straße" itself is not in the file, and "Straße" folds to "strasse".
    assert found == {"strasse": 0, "écru": 2}


def test_words_stand_in_the_files_order_and_the_rest_is_missing():
    found, missing = taken(["b", "c", "New_York", "A"], {"a", "b", "z", "new", "y"})
    assert list(found.items()) == [("b", 0), ("a", 3)]
    assert missing == ["new", "y", "z"]


def test_extra_words_are_the_files_first_folded_and_matched_alike():
    words = ["The", "the", "Nike", "mug", "nike"]
    assert taken(words, {"mug"}, 3)[0] == {"the": 1, "nike": 4, "mug": 3}
    assert taken(words, set(), 1)[0] == {"the": 1}


def test_words_without_a_letter_are_no_words():
    assert taken(["", "a"], None)[0] == {"a": 1}
    assert taken(["", "a"], set(), 2)[0] == {"a": 1}


def test_words_that_are_not_utf8_are_refused():
    with pytest.raises(UnicodeDecodeError):
        WantedWords({"a"}).key(b"\xff")
