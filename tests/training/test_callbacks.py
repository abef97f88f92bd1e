"""Measures at an epoch's end, the clock's hand, and progress."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import average_precision_score

from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.features.batches import pair_batches
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.model.losses import contrastive_loss
from simprod_tf.model.siamese import build_siamese
from simprod_tf.training.callbacks import (
    ClockHand,
    PairMetrics,
    RetrievalMetrics,
    epoch_report,
)
from simprod_tf.training.embedder import Embedder


def identity():
    """An encoder that gives what it takes."""
    x = tf.keras.Input((2,), name="x")
    return tf.keras.Model({"x": x}, tf.keras.layers.Activation("linear")(x))


def on_circle(*degrees):
    angles = np.radians(degrees)
    return {"x": np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)}


def logs_of(callback, epoch=0):
    logs = {}
    callback.on_epoch_end(epoch, logs)
    return logs


def test_retrieval_is_measured_over_products_with_a_fellow():
    # a at 0 and 10 find each other; b at 30 meets a stranger at 40 first, b at 70 the
    # stranger, too; the two strangers without a group are nobody's fellows.
    arrays = on_circle(0, 10, 30, 70, 40, 45)
    groups = np.array(["a", "a", "b", "b", "", ""])
    logs = logs_of(RetrievalMetrics(identity(), arrays, groups, batch_size=4))
    assert logs == {"val_recall_at_1": 0.5, "val_map_at_r": 0.5}


def test_retrieval_may_be_among_some_rows_and_under_another_name():
    arrays = on_circle(0, 10, 30, 70, 40, 45)
    groups = np.array(["a", "a", "b", "b", "", ""])
    rows = np.array([2, 3, 0])
    callback = RetrievalMetrics(identity(), arrays, groups, rows=rows, name="new")
    # b at 30 is nearer to a at 0 than to b at 70; b at 70 finds b at 30.
    assert logs_of(callback) == {"new_recall_at_1": 0.5, "new_map_at_r": 0.5}


def test_it_measures_every_few_epochs_if_told():
    callback = RetrievalMetrics(
        identity(), on_circle(0, 1), np.array(["a", "a"]), every=3
    )
    found = [bool(logs_of(callback, epoch)) for epoch in range(6)]
    assert found == [False, False, True, False, False, True]


def test_pairs_are_ranked_by_distance(toy):
    head, pairs, catalog = toy.toy_head(), toy.toy_pairs(), toy.toy_catalog()
    arrays = toy.toy_arrays()
    embeddings = head(arrays).numpy()
    apart = (
        embeddings[catalog.rows_of(pairs.anchor_ids)]
        - embeddings[catalog.rows_of(pairs.other_ids)]
    )
    expected = average_precision_score(pairs.labels, -np.linalg.norm(apart, axis=1))
    logs = logs_of(PairMetrics(head, arrays, catalog, pairs, batch_size=7))
    assert logs == {"val_pr_auc": pytest.approx(expected, abs=1e-6)}


def test_callbacks_after_them_see_the_measures(toy, tmp_path):
    head, pairs, catalog = toy.toy_head(), toy.toy_pairs(), toy.toy_catalog()
    arrays = toy.toy_arrays()
    model = build_siamese(head)
    model.compile("adam", contrastive_loss(1.0))
    retrieval = RetrievalMetrics(head, arrays, catalog.groups, batch_size=10)
    history = model.fit(
        pair_batches(arrays, catalog, pairs, batch_size=32),
        epochs=4,
        verbose=0,
        callbacks=[
            retrieval,
            PairMetrics(head, arrays, catalog, pairs),
            tf.keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            # Nothing can be better than infinitely much: it stops after 2 epochs.
            tf.keras.callbacks.EarlyStopping(
                "val_recall_at_1", mode="max", patience=1, min_delta=9
            ),
        ],
    ).history
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for name in ("val_recall_at_1", "val_map_at_r", "val_pr_auc"):
        assert [float(row[name]) for row in rows] == pytest.approx(history[name])
        assert 0 < history[name][0] <= 1
    # 48 products in batches of 10 and a last one of 8, twice: one graph.
    assert retrieval._embedder.forward.experimental_get_tracing_count() == 1


def test_stored_half_precision_features_are_embedded():
    x = tf.keras.Input((2,), name="x")
    encoder = tf.keras.Model({"x": x}, tf.keras.layers.Dense(2)(x))
    half = on_circle(0, 50)["x"].astype(np.float16)
    found = Embedder(encoder, {"x": half, "unused": half}).embed(np.array([1]))
    expected = encoder(half[1:].astype(np.float32)).numpy()
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)
    assert found.dtype == np.float32


def test_distances_of_pairs_are_those_of_the_circle():
    embedder = Embedder(identity(), on_circle(0, 60, 180))
    found = embedder.distances(np.array([0, 2, 1, 0]), np.array([1, 0, 1, 2]))
    # A chord of 60 degrees is as long as the radius, one of 180 twice that.
    np.testing.assert_allclose(found, [1, 2, 0, 2], atol=1e-6)


def test_what_cannot_be_measured_is_refused(toy):
    encoder, arrays = identity(), on_circle(0, 10)
    with pytest.raises(ValueError, match="no two products to search among"):
        RetrievalMetrics(encoder, arrays, np.array(["a", ""]))
    with pytest.raises(ValueError, match="there are 3 groups for 2 products"):
        RetrievalMetrics(encoder, arrays, np.array(["a", "a", "b"]))
    with pytest.raises(ValueError, match="the encoder takes x, and the arrays are y"):
        Embedder(encoder, {"y": arrays["x"]})
    alike = canonical_pairs(["p00", "p01"], ["p12", "p13"], [1, 1])
    with pytest.raises(ValueError, match="of 2 pairs 2 are similar"):
        PairMetrics(toy.toy_head(), toy.toy_arrays(), toy.toy_catalog(), alike)


def test_the_hand_sets_the_clock_before_each_pass_and_repeats_the_draws(toy):
    clock, seen = EpochClock(seed=3), []
    arrays = toy.toy_arrays()

    def numbers():
        seen.append(clock.epoch)
        yield from np.arange(4.0, dtype=np.float32).reshape(2, 2)

    spec = tf.TensorSpec([2], tf.float32)
    data = tf.data.Dataset.from_generator(numbers, output_signature=spec)
    data = data.map(lambda x: (x[tf.newaxis], x[tf.newaxis]))
    model = tf.keras.Sequential([tf.keras.layers.Dense(2, input_shape=(2,))])
    model.compile("sgd", "mse")
    head = toy.toy_head(dropout=0.5)
    draws = []
    look = tf.keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: draws.append(head(arrays, training=True).numpy())
    )
    kw = {"verbose": 0, "callbacks": [ClockHand(clock, head), look]}
    model.fit(data, epochs=2, **kw)
    model.fit(data, epochs=2, initial_epoch=1, **kw)
    assert seen == [0, 1, 1]
    assert np.array_equal(draws[1], draws[2])
    assert not np.array_equal(draws[0], draws[1])


def test_logs_are_told_as_a_report():
    told = epoch_report(1, 5, {"epoch": 1, "loss": 0.5, "val_pr_auc": 0.9})
    assert (told.epoch, told.epochs, told.loss) == (2, 5, 0.5)
    assert told.logs == {"loss": 0.5, "val_pr_auc": 0.9}
