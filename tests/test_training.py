"""Fitting: it learns, keeps the best epoch, repeats by seed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from sklearn.metrics import average_precision_score

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.source import VectorSource
from simprod_tf.training import DistancePrAuc, TrainingSettings, fit_encoder

PRODUCTS, GROUPS, DIM = 120, 30, 12


@pytest.fixture(scope="module")
def shop():
    """Features in which the group is told by the few of twelve that vary least."""
    rng = np.random.default_rng(0)
    group = np.arange(PRODUCTS) % GROUPS
    signal = rng.normal(size=(GROUPS, 4))[group]
    noise = rng.normal(size=(PRODUCTS, DIM - 4)) * 2
    features = np.concatenate([signal, noise], axis=1).astype(np.float32)
    ids = [f"p{i:03}" for i in range(PRODUCTS)]
    empty = text_array([""] * PRODUCTS)
    catalog = Catalog(text_array(ids), empty, empty, empty, pa.table({}))
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

    return catalog, arrays, pairs(range(20)), pairs(range(20, 30))


def head():
    tf.keras.utils.set_random_seed(0)
    source = VectorSource("tower", DIM, "image")
    return build_head([source], EncoderSettings(embedding_dim=8, hidden_units=32))


def pr_auc(model, arrays, catalog, pairs):
    embeddings = model(arrays).numpy()
    first = embeddings[catalog.rows_of(pairs.anchor_ids)]
    second = embeddings[catalog.rows_of(pairs.other_ids)]
    return average_precision_score(
        pairs.labels, -np.linalg.norm(first - second, axis=1)
    )


def test_it_learns_what_new_groups_have_in_common(shop):
    catalog, arrays, train, validation = shop
    model = head()
    before = pr_auc(model, arrays, catalog, validation)
    history = fit_encoder(
        model,
        arrays,
        catalog,
        train,
        validation=validation,
        settings=TrainingSettings(epochs=20, batch_size=32, learning_rate=3e-3),
    )
    after = pr_auc(model, arrays, catalog, validation)
    assert after > before + 0.15
    assert history[-1].loss < history[0].loss
    # The best epoch's weights are back, not the last one's.
    best = max(one.validation_pr_auc for one in history)
    assert after == pytest.approx(best, abs=0.03)


def test_the_same_seed_gives_the_same_encoder(shop):
    catalog, arrays, train, _ = shop
    settings = TrainingSettings(epochs=2, seed=5)
    models = [head(), head()]
    for model in models:
        tf.keras.utils.set_random_seed(5)
        fit_encoder(model, arrays, catalog, train, validation=None, settings=settings)
    first, second = (model.get_weights() for model in models)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(first, second))


def test_each_epoch_is_told(shop):
    catalog, arrays, train, validation = shop
    told = []
    history = fit_encoder(
        head(),
        arrays,
        catalog,
        train,
        validation=validation,
        settings=TrainingSettings(epochs=2),
        on_epoch=told.append,
    )
    assert told == history
    assert [one.epoch for one in told] == [1, 2]
    assert all(one.validation_loss > 0 for one in told)


def test_the_metric_is_the_area_under_the_precision_recall_curve():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 3000)
    distances = np.clip(1.2 - 0.5 * labels + rng.normal(0, 0.3, 3000), 0, 2)
    metric = DistancePrAuc()
    metric.update_state(labels[:, np.newaxis], distances[:, np.newaxis])
    expected = average_precision_score(labels, -distances)
    assert float(metric.result()) == pytest.approx(expected, abs=0.01)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        TrainingSettings(epochs=0)
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        TrainingSettings(learning_rate=0)
