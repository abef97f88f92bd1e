"""Fine-tuning: which layers are trained in which epochs, and how fast."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import SimprodError
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.source import TextSource
from simprod_tf.training.fit import TrainingSide, ValidationSide, fit_encoder
from simprod_tf.training.optimizer import OptimizerSettings
from simprod_tf.training.settings import BatchSettings, FineTuning, TrainingSettings

STILL = AugmentSettings(min_crop=1, flip=False, light=0, colour=0, erasing=0)


class Looks(tf.keras.callbacks.Callback):
    """Keeps the weights at each epoch's end, by the layer's name."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.seen = encoder, [weights_of(encoder)]

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(weights_of(self.encoder))

    def moved(self, first, second):
        """Which variables differ between two epochs' ends."""
        one, other = self.seen[first], self.seen[second]
        return {name for name in one if not np.array_equal(one[name], other[name])}


def weights_of(encoder):
    return {one.name.split(":")[0]: one.numpy() for one in encoder.weights}


def fit(toy, encoder, arrays, *, towers=("tiny",), validation=None, **kw):
    looks = Looks(encoder)
    pairs, catalog = toy.toy_pairs(), toy.toy_catalog()
    rate, further = kw.pop("rate", 0.01), kw.pop("further", [])
    history = fit_encoder(
        encoder,
        arrays,
        catalog,
        TrainingSide(pairs, catalog.ids),
        validation=validation,
        settings=TrainingSettings(
            batch=BatchSettings(size=16), optimizer=OptimizerSettings(rate), **kw
        ),
        towers=towers,
        augment=STILL,
        callbacks=[looks, *further],
    )
    return looks, history


TOWER = {"conv/kernel", "conv/bias", "fc/kernel", "fc/bias"}
HEAD = {"hidden/kernel", "hidden/bias", "projection/kernel", "projection/bias"}


# All products have a picture.
MISSING = "missing_tiny/vector"


def test_in_the_first_epochs_the_tower_stays_as_it_is(toy):
    tuning = FineTuning(head_epochs=2)
    looks, history = fit(
        toy, toy.toy_encoder(), toy.toy_pictures(), epochs=3, fine_tuning=tuning
    )
    assert looks.moved(0, 2) == HEAD
    assert looks.moved(2, 3) == HEAD | TOWER
    assert [(one.epoch, one.epochs) for one in history] == [(1, 3), (2, 3), (3, 3)]


def test_as_many_first_epochs_as_there_are_leave_the_tower_for_good(toy):
    tuning = FineTuning(head_epochs=9)
    looks, history = fit(
        toy, toy.toy_encoder(), toy.toy_pictures(), epochs=2, fine_tuning=tuning
    )
    assert looks.moved(0, 2) == HEAD
    assert len(history) == 2


class Blinds(tf.keras.callbacks.Callback):
    """Makes the tower see nothing from an epoch on."""

    def __init__(self, encoder, epoch):
        super().__init__()
        self.tower, self.epoch = encoder.get_layer("tiny"), epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.epoch:
            zeros = [np.zeros_like(one) for one in self.tower.get_weights()]
            self.tower.set_weights(zeros)


def test_the_best_epoch_may_lie_in_the_first_part(toy):
    encoder = toy.toy_encoder()
    looks, history = fit(
        toy,
        encoder,
        toy.toy_pictures(),
        epochs=4,
        fine_tuning=FineTuning(head_epochs=2),
        validation=ValidationSide(toy.toy_pairs()),
        further=[Blinds(encoder, 2)],
    )
    values = [one.logs["val_pr_auc"] for one in history]
    # All products look the same then, and half of the pairs are similar.
    assert values[2:] == [0.5, 0.5]
    best = int(np.argmax(values))
    kept = weights_of(encoder)
    for name, one in looks.seen[best + 1].items():
        np.testing.assert_array_equal(kept[name], one)


def test_layers_are_chosen_by_tower_and_layer(toy):
    for pattern, expected in (
        ("tiny/fc", {"fc/kernel", "fc/bias"}),
        ("conv", {"conv/kernel", "conv/bias"}),
    ):
        looks, _ = fit(
            toy,
            toy.toy_encoder(),
            toy.toy_pictures(),
            epochs=1,
            fine_tuning=FineTuning(pattern),
        )
        assert looks.moved(0, 1) == HEAD | expected


def test_a_pattern_without_a_layer_is_refused_with_those_there_are(toy):
    with pytest.raises(
        SimprodError, match="fits 'head/hidden'; there are tiny/conv, tiny/fc"
    ):
        fit(
            toy,
            toy.toy_encoder(),
            toy.toy_pictures(),
            fine_tuning=FineTuning("head/hidden"),
        )


@pytest.mark.slow
def test_the_tower_goes_at_its_own_rate(toy):
    def steps(tower_rate):
        tuning = FineTuning(tower_rate=tower_rate)
        kw = {"epochs": 1, "rate": 1e-4, "fine_tuning": tuning}
        looks, _ = fit(toy, toy.toy_encoder(), toy.toy_pictures(), **kw)
        first, last = looks.seen
        return {name: np.abs(last[name] - first[name]).mean() for name in first}

    whole, tenth = steps(1.0), steps(0.1)
    # So small a rate leaves gradients nearly the same, and Adam's steps follow them.
    for name in TOWER:
        assert tenth[name] == pytest.approx(whole[name] / 10, rel=0.05)
    for name in HEAD:
        assert tenth[name] == pytest.approx(whole[name], rel=0.05)
    none = steps(0.0)
    assert {name for name in none if none[name] == 0} == TOWER | {MISSING}


def test_word_vectors_go_at_their_own_rate(toy):
    rng = np.random.default_rng(0)
    ids = (np.arange(toy.PRODUCTS) % toy.GROUPS + 1).astype(np.int32)[:, np.newaxis]

    def text(train_words):
        tf.keras.utils.set_random_seed(0)
        source = TextSource(
            rng.normal(size=(toy.GROUPS, 5)).astype(np.float32), train_words=train_words
        )
        return build_head([source], EncoderSettings(embedding_dim=4, dropout=0))

    kw = {"towers": (), "epochs": 1, "fine_tuning": FineTuning(word_rate=0.0)}
    looks, _ = fit(toy, text(True), {"word_ids": ids}, **kw)
    moved = looks.moved(0, 1)
    assert "projection/kernel" in moved
    assert "vectors" not in moved
    kw["fine_tuning"] = FineTuning()
    looks, _ = fit(toy, text(True), {"word_ids": ids}, **kw)
    assert "vectors" in looks.moved(0, 1)
    kw["fine_tuning"] = FineTuning(word_rate=0.5)
    with pytest.raises(SimprodError, match="word_rate is of word vectors that are tra"):
        fit(toy, text(False), {"word_ids": ids}, **kw)


@pytest.mark.parametrize(("dtype", "atol"), [(np.float16, 1e-3), (np.float32, 1e-5)])
def test_stored_features_come_to_what_a_frozen_tower_computes(toy, dtype, atol):
    pixels, tuning = toy.toy_pictures(), FineTuning(head_epochs=2)
    whole = toy.toy_encoder()
    fit(toy, whole, pixels, epochs=2, fine_tuning=tuning, rate=1e-3)
    fresh = toy.toy_encoder()
    tower = fresh.get_layer("tiny")
    stored = {
        "tiny_features": tower(pixels["tiny_pixels"]).numpy().astype(dtype),
        "has_image": pixels["has_image"],
    }
    head = fresh.get_layer("head")
    before = head(stored).numpy()
    fit(toy, head, stored, towers=(), epochs=2, rate=1e-3)
    computed, found = whole(pixels).numpy(), head(stored).numpy()
    np.testing.assert_allclose(found, computed, atol=atol)
    assert np.abs(found - before).max() > 30 * atol
