import dataclasses

import numpy as np
import pytest

from simprod_tf.decider.decider import LEAST_PAIRS, Decider
from simprod_tf.decider.products import DeciderProducts
from simprod_tf.errors import FingerprintError, SimprodError


def test_it_decides_pairs_of_products_that_it_never_saw(
    decider, new_products, new_pairs
):
    rows, labels = new_pairs
    found = decider.bind(new_products, rows).probability(*rows.T)
    decided = found >= decider.best_f1_probability
    assert np.mean(decided == (labels == 1)) > 0.95


def test_the_same_pairs_and_settings_learn_the_same(decider, products, pairs, settings):
    again = Decider.fit(products, *pairs, settings=settings)
    assert again.fingerprint == decider.fingerprint
    assert (again.out_of_fold == decider.out_of_fold).all()
    other = dataclasses.replace(settings, seed=1)
    assert Decider.fit(products, *pairs, settings=other).fingerprint != (
        decider.fingerprint
    )


def test_pairs_may_stand_in_any_order_and_direction(decider, products, pairs, settings):
    rows, labels = pairs
    turned = Decider.fit(products, rows[:, ::-1], labels, settings=settings)
    assert turned.fingerprint == decider.fingerprint


def test_it_knows_the_pairs_that_it_was_trained_on(decider, products, pairs):
    ids = products.catalog.ids
    rows = pairs[0][:3]
    assert decider.trained_on(ids[rows[:, 1]], ids[rows[:, 0]]).all()
    assert not decider.trained_on([ids[0]], [ids[2]]).any()
    assert decider.num_pairs == len(np.unique(pairs[0], axis=0))


def test_gains_are_by_feature_and_the_context_counts(decider):
    gains = decider.gains
    assert tuple(gains) == decider.feature_names
    assert "score_lead_least" in gains
    assert sum(gains.values()) > 0


def test_labelled_pairs_in_different_weight_teach_something_else(
    products, pairs, settings, decider
):
    weights = np.where(pairs[1] == 1, 1.0, 0.1)
    other = Decider.fit(products, *pairs, settings=settings, weights=weights)
    assert other.out_of_fold.mean() > decider.out_of_fold.mean()


def test_too_few_pairs_of_a_kind_are_refused(products, pairs):
    rows, labels = pairs
    kept = np.r_[: LEAST_PAIRS - 1, 60:180]
    with pytest.raises(SimprodError, match="at least 10 similar pairs .* got 9"):
        Decider.fit(products, rows[kept], labels[kept])


def test_pairs_within_a_table_are_refused(products, pairs):
    rows = pairs[0].copy()
    rows[0] = (0, 2)
    with pytest.raises(SimprodError, match="1 labelled pairs are of one table"):
        Decider.fit(products, rows, pairs[1])


def test_rows_and_labels_of_other_shapes_are_refused(products, pairs):
    with pytest.raises(ValueError, match=r"rows must be \[P, 2\]"):
        Decider.fit(products, pairs[0].ravel(), pairs[1])
    with pytest.raises(ValueError, match="labels must be 1"):
        Decider.fit(products, pairs[0], pairs[1] * 2)


def test_embeddings_of_another_encoder_are_refused(decider, products):
    other = dataclasses.replace(products, encoder_fingerprint="e2")
    with pytest.raises(FingerprintError, match="encoder e1, got embeddings of e2"):
        decider.bind(other)


def test_products_without_the_embeddings_are_refused(decider, products):
    with pytest.raises(SimprodError, match="embeddings of both"):
        decider.bind(dataclasses.replace(products, embeddings={}))


def test_tables_are_given_where_it_was_learned_with_some_and_only_there(
    decider, products, pairs, settings
):
    alone = dataclasses.replace(products, tables=None)
    with pytest.raises(SimprodError, match="learned to link tables"):
        decider.bind(alone)
    without = Decider.fit(alone, *pairs, settings=settings)
    with pytest.raises(SimprodError, match="not learned to link tables"):
        without.bind(products)


def test_embeddings_and_tables_must_fit_the_catalogue(products):
    with pytest.raises(ValueError, match=r"'both' must be \[120, D\]"):
        DeciderProducts(products.catalog, {"both": np.zeros((3, 8))})
    with pytest.raises(ValueError, match=r"tables must be \[120\]"):
        DeciderProducts(products.catalog, tables=np.array(["left"]))


def test_settings_that_cannot_be_learned_with_are_refused(settings):
    with pytest.raises(ValueError, match="folds at least 2"):
        dataclasses.replace(settings, folds=1)


def test_what_labels_imply_is_learned_from_unless_it_is_held_out(products, settings):
    # Without tables: p0 = p1 and p1 = p2 say that p0 = p2.
    alone = dataclasses.replace(products, tables=None, embeddings={})
    same = [(2 * one, 2 * one + 1) for one in range(30)]
    chain = [(1, 2), (3, 4), (5, 6), (7, 8)]
    apart = [(2 * one, 2 * one + 11) for one in range(40)]
    rows = np.array([*same, *chain, *apart])
    labels = np.r_[np.ones(34, int), np.zeros(40, int)]
    off = dataclasses.replace(settings, implied_weight=0.0)

    def fingerprint(settings, **options):
        fitted = Decider.fit(alone, rows, labels, settings=settings, **options)
        assert fitted.out_of_fold.shape == (74,)
        return fitted.fingerprint

    implied = np.array([(0, 2), (0, 3), (0, 4)])
    learned = fingerprint(settings, candidates=implied)
    assert learned != fingerprint(off, candidates=implied)
    every = np.stack(np.triu_indices(120, 1), axis=1)
    known = {*map(tuple, rows.tolist())}
    others = np.array([pair for pair in every.tolist() if tuple(pair) not in known])
    assert fingerprint(settings, held_out=others) == fingerprint(off, held_out=others)
