"""Fitting: every loss learns, the best epoch is kept, the seed repeats it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from sklearn.metrics import average_precision_score

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.errors import SimprodError
from simprod_tf.features.group_batches import product_classes
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.source import VectorSource
from simprod_tf.training.fit import TrainingSide, ValidationSide, fit_encoder
from simprod_tf.training.optimizer import OptimizerSettings
from simprod_tf.training.settings import (
    FORMS,
    BatchSettings,
    LossSettings,
    TrainingSettings,
)

PRODUCTS, GROUPS, DIM = 120, 30, 12
LEARNED = 20


@pytest.fixture(scope="module")
def shop():
    """Features in which the group is told by the few of twelve that vary least.

    The first twenty groups are to learn from, the other ten are new.
    """
    rng = np.random.default_rng(0)
    group = np.arange(PRODUCTS) % GROUPS
    signal = rng.normal(size=(GROUPS, 4))[group]
    noise = rng.normal(size=(PRODUCTS, DIM - 4)) * 2
    features = np.concatenate([signal, noise], axis=1).astype(np.float32)
    ids = [f"p{i:03}" for i in range(PRODUCTS)]
    groups = text_array([f"g{one}" for one in group])
    empty = text_array([""] * PRODUCTS)
    catalog = Catalog(text_array(ids), empty, empty, groups, pa.table({}))
    arrays = {
        "tower_features": features,
        "has_image": np.ones((PRODUCTS, 1), np.float32),
    }

    def pairs(groups):
        rows = [i for i in range(PRODUCTS) if group[i] in groups]
        both = [(a, b) for a in rows for b in rows if a < b]
        similar = [pair for pair in both if group[pair[0]] == group[pair[1]]]
        other = [pair for pair in both if group[pair[0]] != group[pair[1]]]
        other = [other[i] for i in rng.permutation(len(other))[: 2 * len(similar)]]
        chosen = similar + other
        labels = [1] * len(similar) + [0] * len(other)
        return canonical_pairs(
            [ids[a] for a, _ in chosen], [ids[b] for _, b in chosen], labels
        )

    own = catalog.ids[group < LEARNED]
    train = TrainingSide(
        pairs(range(LEARNED)), own, classes=product_classes(catalog, ids=own)
    )
    new = np.where(group < LEARNED, "", groups)
    validation = ValidationSide(pairs(range(LEARNED, GROUPS)), new)
    return catalog, arrays, train, validation


def head(**settings):
    tf.keras.utils.set_random_seed(0)
    source = VectorSource("tower", DIM, "image")
    kw = {"embedding_dim": 8, "hidden_units": 32, **settings}
    return build_head([source], EncoderSettings(**kw))


def pr_auc(model, shop):
    catalog, arrays, _, validation = shop
    pairs = validation.pairs
    embeddings = model(arrays).numpy()
    first = embeddings[catalog.rows_of(pairs.anchor_ids)]
    second = embeddings[catalog.rows_of(pairs.other_ids)]
    return average_precision_score(
        pairs.labels, -np.linalg.norm(first - second, axis=1)
    )


def fitted(model, shop, settings, *, judged=True, **kw):
    catalog, arrays, train, validation = shop
    return fit_encoder(
        model,
        arrays,
        catalog,
        kw.pop("train", train),
        validation=kw.pop("validation", validation if judged else None),
        settings=settings,
        **kw,
    )


def quick(**kw):
    """Settings of a few small steps."""
    kw = {"batch": BatchSettings(size=32), "optimizer": OptimizerSettings(3e-3), **kw}
    return TrainingSettings(**kw)


@pytest.mark.parametrize(
    ("loss", "form"), [(loss, form) for loss, forms in FORMS.items() for form in forms]
)
def test_every_loss_learns_what_new_groups_have_in_common(shop, loss, form):
    model = head()
    before = pr_auc(model, shop)
    history = fitted(
        model,
        shop,
        quick(
            # Its vectors of classes have everything to learn yet.
            epochs=14 if loss == "arcface" else 8,
            patience=14,
            loss=LossSettings(loss, ramp_epochs=3),
            batch=BatchSettings(form, size=32),
            optimizer=OptimizerSettings(1e-2),
        ),
    )
    after = pr_auc(model, shop)
    assert after > before + 0.1
    # The best epoch's weights are back, not the last one's.
    assert after == pytest.approx(max(one.logs["val_pr_auc"] for one in history))
    logs = {"loss", "val_pr_auc", "val_recall_at_1", "val_map_at_r"}
    on_pairs = loss in ("contrastive", "double_margin", "npairs")
    assert set(history[0].logs) == logs | ({"val_loss"} if on_pairs else set())
    if loss != "arcface":
        # Its margin grows, and the loss with it.
        assert history[-1].loss < history[0].loss


def test_the_same_seed_gives_the_same_encoder_and_another_one_does_not(shop):
    found = {}
    for name, seed in (("one", 5), ("same", 5), ("other", 6)):
        model = head(dropout=0.3)
        fitted(model, shop, quick(epochs=2, seed=seed), judged=False)
        found[name] = model.get_weights()
    for one, same in zip(found["one"], found["same"]):
        np.testing.assert_array_equal(one, same)
    assert not all(map(np.allclose, found["one"], found["other"]))


def test_further_callbacks_see_the_measures(shop):
    seen = []
    look = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["val_pr_auc"]))
    )
    history = fitted(head(), shop, quick(epochs=2), callbacks=[look])
    assert [(one.epoch, one.epochs) for one in history] == [(1, 2), (2, 2)]
    assert all(one.logs["val_loss"] > 0 for one in history)
    assert seen == [(one.epoch - 1, one.logs["val_pr_auc"]) for one in history]


def test_it_stops_when_what_is_watched_gets_no_better(shop):
    model = head()
    # So large a rate spoils the encoder in a step: it soon gets no better.
    history = fitted(
        model,
        shop,
        quick(epochs=9, patience=2, optimizer=OptimizerSettings(30.0)),
    )
    values = [one.logs["val_pr_auc"] for one in history]
    assert len(history) == 3 + int(np.argmax(values))
    assert len(history) < 9
    assert pr_auc(model, shop) == pytest.approx(max(values))


def test_without_a_validation_side_all_epochs_run_and_the_last_stays(shop):
    history = fitted(head(), shop, quick(epochs=3, patience=1), judged=False)
    assert [set(one.logs) for one in history] == [{"loss"}] * 3


@pytest.mark.parametrize("monitor", ["map_at_r", "recall_at_1"])
def test_groups_alone_may_decide(shop, monitor):
    catalog, arrays, _, validation = shop
    model = head()
    side = ValidationSide(groups=validation.groups)
    history = fitted(model, shop, quick(epochs=4, monitor=monitor), validation=side)
    assert set(history[0].logs) == {"loss", "val_recall_at_1", "val_map_at_r"}
    # The nearest product is of the own group, by hand.
    rows = np.flatnonzero(validation.groups != "")
    found = model({name: array[rows] for name, array in arrays.items()}).numpy()
    apart = np.linalg.norm(found[:, np.newaxis] - found, axis=2)
    np.fill_diagonal(apart, 9)
    right = catalog.groups[rows][apart.argmin(axis=1)] == catalog.groups[rows]
    values = [one.logs[f"val_{monitor}"] for one in history]
    # Products of no group are candidates too: more is found among groups alone.
    assert right.mean() >= history[int(np.argmax(values))].logs["val_recall_at_1"]


def test_only_the_given_rows_are_searched(shop):
    catalog, arrays, _, validation = shop
    rows = np.flatnonzero(validation.groups != "")
    model = head()
    side = ValidationSide(groups=validation.groups, rows=rows)
    history = fitted(model, shop, quick(epochs=1), validation=side)
    found = model({name: array[rows] for name, array in arrays.items()}).numpy()
    apart = np.linalg.norm(found[:, np.newaxis] - found, axis=2)
    np.fill_diagonal(apart, 9)
    right = catalog.groups[rows][apart.argmin(axis=1)] == catalog.groups[rows]
    assert history[0].logs["val_recall_at_1"] == pytest.approx(right.mean())


def test_what_cannot_be_watched_is_refused(shop):
    catalog, _, _, validation = shop
    pairs = validation.pairs
    for monitor, side, message in (
        ("pr_auc", ValidationSide(groups=validation.groups), "labelled pairs of both"),
        (
            "pr_auc",
            ValidationSide(pairs.where(pairs.labels == 1)),
            "labelled pairs of both",
        ),
        ("map_at_r", ValidationSide(pairs), "two products of one group"),
        (
            "recall_at_1",
            # Searched are the first twenty, of as many groups.
            ValidationSide(pairs, catalog.groups, rows=np.arange(20)),
            "two products of one group",
        ),
    ):
        expected = f"{monitor} cannot be watched.*no {message}"
        with pytest.raises(SimprodError, match=expected):
            fitted(head(), shop, quick(monitor=monitor), validation=side)


def test_similar_pairs_alone_are_no_measure_but_have_a_loss(shop):
    pairs = shop[3].pairs
    side = ValidationSide(pairs.where(pairs.labels == 1))
    history = fitted(head(), shop, quick(epochs=2, patience=1), validation=side)
    assert [set(one.logs) for one in history] == [{"loss", "val_loss"}] * 2


def test_groups_need_classes(shop):
    train = TrainingSide(shop[2].pairs, shop[2].ids)
    with pytest.raises(ValueError, match="batches of groups need classes of products"):
        fitted(head(), shop, quick(batch=BatchSettings("groups")), train=train)
