from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.decider.evidence import Vocabulary


def test_idf_counts_products_not_places(catalog_of):
    vocabulary = Vocabulary.fit(catalog_of(["red red mug", "red cup", "blue cup"]))
    assert vocabulary.idf("red") == pytest.approx(math.log(1 + 3 / 2))
    assert vocabulary.idf("mug") == pytest.approx(math.log(1 + 3 / 1))


def test_an_unseen_token_is_worth_a_token_of_one_product(catalog_of):
    vocabulary = Vocabulary.fit(catalog_of(["red mug", "red cup"]))
    assert vocabulary.idf("never") == vocabulary.idf("mug")


def test_descriptions_and_codes_count_too(catalog_of):
    long = "the DSC-W120 is a camera for people who like to carry no more than a pocket"
    vocabulary = Vocabulary.fit(catalog_of(["sony", "sony"], description=[long, ""]))
    assert vocabulary.counts["dscw120"] == 1
    assert vocabulary.counts["pocket"] == 1
    assert vocabulary.counts["sony"] == 2


def test_table_gives_the_same_vocabulary_back(catalog_of):
    vocabulary = Vocabulary.fit(catalog_of(["red mug", "red cup", "null"]))
    again = Vocabulary.from_table(vocabulary.to_table())
    assert again.counts == vocabulary.counts
    assert again.num_products == 3
    words = ["red", "mug", "other"]
    np.testing.assert_array_equal(again.idfs(words), vocabulary.idfs(words))
    assert len(again) == len(vocabulary)


def test_another_table_is_refused():
    with pytest.raises(ValueError, match=r"a vocabulary is a table of .*got \['id'\]"):
        Vocabulary.from_table(pa.table({"id": [1]}))
    with pytest.raises(ValueError, match="with the number of products, got none"):
        Vocabulary.from_table(pa.table({"token": ["a"], "products": [1]}))


def test_no_products_are_refused():
    with pytest.raises(ValueError, match="num_products must be at least 1, got 0"):
        Vocabulary({}, num_products=0)
