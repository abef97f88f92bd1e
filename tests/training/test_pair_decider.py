"""A small model learns that model numbers must agree, and is repeatable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.word_vectors import WordVectors
from simprod_tf.model.cross_attention import CrossAttentionSettings
from simprod_tf.training.pair_decider import (
    cross_fitted_probabilities,
    decider_texts,
    decider_words,
    fit_pair_decider,
)
from simprod_tf.training.pair_decider_settings import PairDeciderSettings

SETTINGS = PairDeciderSettings(
    columns=("brand",),
    epochs=20,
    batch_size=16,
    learning_rate=3e-3,
    vector_dim=4,
    vector_epochs=1,
    model=CrossAttentionSettings(word_dim=8, hidden_units=16, buckets=256),
)


@pytest.fixture(scope="module")
def catalog():
    """40 products, each in two shops, with model numbers one letter apart."""
    titles = []
    for number in range(40):
        code = f"kx{100 + number // 2}{'ab'[number % 2]}7"
        titles += [f"red lamp {code}", f"lamp ({code.upper()}) in red"]
    size = len(titles)
    return Catalog(
        ids=text_array([f"p{row:02}" for row in range(size)]),
        titles=text_array(titles),
        images=text_array([""] * size),
        groups=text_array([""] * size),
        attributes=pa.table({"brand": ["acme", ""] * (size // 2)}),
    )


@pytest.fixture(scope="module")
def pairs(catalog):
    same = [(row, row + 1, 1) for row in range(0, 80, 2)]
    others = [(row, (row + 3) % 80, 0) for row in range(0, 80, 2)]
    one, other, labels = zip(*same, *others)
    return canonical_pairs(catalog.ids[list(one)], catalog.ids[list(other)], labels)


def rows(catalog, pairs):
    return [catalog.rows_of(ids) for ids in (pairs.anchor_ids, pairs.other_ids)]


@pytest.fixture(scope="module")
def decider(catalog, pairs):
    return fit_pair_decider(catalog, pairs, SETTINGS, validation=pairs)


@pytest.mark.slow
def test_similar_pairs_are_more_probable(decider, catalog, pairs):
    found = decider.probabilities(catalog, *rows(catalog, pairs))
    assert found.dtype == np.float32
    assert found[pairs.labels == 1].min() > found[pairs.labels == 0].max()


@pytest.mark.slow
def test_the_history_has_an_entry_for_each_epoch(decider):
    assert set(decider.history) == {"loss", "pr_auc", "val_loss", "val_pr_auc"}
    assert all(len(values) == 20 for values in decider.history.values())
    assert decider.history["loss"][-1] < decider.history["loss"][0]


@pytest.mark.slow
def test_the_probability_does_not_depend_on_order_or_batch(decider, catalog, pairs):
    starts, ends = rows(catalog, pairs)
    found = decider.probabilities(catalog, starts, ends)
    np.testing.assert_allclose(
        decider.probabilities(catalog, ends[:3], starts[:3]), found[:3], atol=1e-6
    )
    none = np.array([], np.int64)
    assert decider.probabilities(catalog, none, none).shape == (0,)


@pytest.mark.slow
def test_cross_fitting_judges_each_pair_by_the_other_folds(catalog, pairs):
    folds = np.arange(len(pairs)) % 2
    settings = replace(SETTINGS, epochs=1)
    done = []
    found = cross_fitted_probabilities(
        catalog,
        pairs,
        settings,
        folds=folds,
        progress=lambda *count: done.append(count),
    )
    first = fit_pair_decider(catalog, pairs.where(folds == 1), settings)
    expected = first.probabilities(catalog, *rows(catalog, pairs.where(folds == 0)))
    np.testing.assert_allclose(found[folds == 0], expected, atol=1e-5)
    assert done == [(1, 2), (2, 2)]


@pytest.mark.slow
def test_given_vectors_stand_behind_the_own_ones(catalog, pairs):
    given = WordVectors(("red", "zebra"), np.array([[0, 2.0], [1, 1]], np.float32))
    done = []
    found = fit_pair_decider(
        catalog,
        pairs,
        replace(SETTINGS, epochs=1),
        word_vectors=given,
        progress=lambda *count: done.append(count),
    )
    vectors = found.model.get_layer("title_pair").table.vectors.numpy()
    assert vectors.shape[1] == 4 + 2
    # Of unit length; no other word of the catalogue has one.
    assert sorted(vectors[:, 5].tolist())[-2:] == [0, 1]
    assert done == [(1, 1)]


def test_texts_are_titles_and_then_the_attributes_that_there_are(catalog):
    texts = decider_texts(catalog, ("brand",))
    assert texts[:2] == ["red lamp kx100a7 acme", "lamp (KX100A7) in red"]
    words = decider_words(catalog, replace(SETTINGS, max_words=2))
    assert words[1] == ["lamp", "kx100a7"]


def test_pairs_of_one_label_are_refused(catalog, pairs):
    with pytest.raises(ValueError, match="got 40 similar of 40"):
        fit_pair_decider(catalog, pairs.where(pairs.labels == 1), SETTINGS)


def test_folds_that_do_not_fit_are_refused(catalog, pairs):
    with pytest.raises(ValueError, match="got 80 in 1 folds"):
        cross_fitted_probabilities(catalog, pairs, folds=np.zeros(80, int))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"max_words": 0}, "max_words must be at least 1, got 0"),
        ({"changed": 1.5}, r"changed must be in \[0, 1\], got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PairDeciderSettings(**wrong)
