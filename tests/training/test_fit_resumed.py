"""A training that was interrupted ends where one does that was not."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.training.fit import TrainingSide, ValidationSide, fit_encoder
from simprod_tf.training.optimizer import OptimizerSettings
from simprod_tf.training.settings import (
    BatchSettings,
    FineTuning,
    LossSettings,
    NegativeSettings,
    TrainingSettings,
)

EPOCHS = 5


class Interruption(tf.keras.callbacks.Callback):
    """Ctrl-C in the middle of an epoch, or after it."""

    def __init__(self, epoch, moment):
        super().__init__()
        self.at, self.moment, self.epoch = epoch, moment, -1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, self.moment, batch) == (self.at, "middle", 1):
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, self.moment) == (self.at, "end"):
            raise KeyboardInterrupt


def settings(**kw):
    return TrainingSettings(
        epochs=EPOCHS,
        batch=kw.pop("batch", BatchSettings(size=16)),
        optimizer=OptimizerSettings(0.02, schedule="cosine", warmup_epochs=1),
        **kw,
    )


def fit(toy, settings, backup, *interruption, pictures=False):
    """Returns the weights and the reports of a training of a new encoder."""
    encoder = toy.toy_encoder(0.3) if pictures else toy.toy_head(0.3)
    catalog, pairs = toy.toy_catalog(), toy.toy_pairs()
    history = fit_encoder(
        encoder,
        toy.toy_pictures() if pictures else toy.toy_arrays(),
        catalog,
        TrainingSide(pairs, catalog.ids, classes=np.arange(toy.PRODUCTS) % toy.GROUPS),
        validation=ValidationSide(pairs, catalog.groups),
        settings=settings,
        towers=("tiny",) if pictures else (),
        backup=backup,
        callbacks=[Interruption(*interruption)] if interruption else [],
    )
    return encoder.get_weights(), history


def interrupted(toy, settings, backup, *interruptions, **kw):
    for one in interruptions:
        with pytest.raises(KeyboardInterrupt):
            fit(toy, settings, backup, *one, **kw)
        assert backup.is_dir()
    found = fit(toy, settings, backup, **kw)
    assert not backup.exists()
    return found


def assert_equal(found, expected):
    assert [one.epoch for one in found[1]] == [one.epoch for one in expected[1]]
    for one, other in zip(found[1], expected[1]):
        assert one.logs == pytest.approx(other.logs, abs=1e-5)
    for one, other in zip(found[0], expected[0]):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("moment", "kw"),
    [
        pytest.param("middle", {}, marks=pytest.mark.slow),
        ("end", {"negatives": NegativeSettings(hard=2, random=1, refresh_epochs=2)}),
        pytest.param(
            "middle",
            {"loss": LossSettings("arcface", ramp_epochs=4), "monitor": "map_at_r"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["labels alone", "negatives", "arcface"],
)
def test_interrupted_it_ends_as_if_it_had_not_been(toy, tmp_path, moment, kw):
    chosen = settings(**kw)
    whole = fit(toy, chosen, tmp_path / "whole")
    assert [one.epoch for one in whole[1]] == list(range(1, EPOCHS + 1))
    assert len({one.loss for one in whole[1]}) == EPOCHS
    # In the epoch after a draw of negatives: those must come out of the file.
    found = interrupted(toy, chosen, tmp_path / "parts", (3, moment))
    assert_equal(found, whole)


@pytest.mark.slow
def test_interrupted_in_each_of_two_parts_it_ends_as_if_it_had_not_been(toy, tmp_path):
    chosen = settings(fine_tuning=FineTuning(head_epochs=2, tower_rate=0.5))
    kw = {"pictures": True}
    whole = fit(toy, chosen, tmp_path / "whole", **kw)
    breaks = (1, "end"), (3, "middle")
    assert_equal(interrupted(toy, chosen, tmp_path / "parts", *breaks, **kw), whole)


@pytest.mark.slow
def test_without_a_folder_it_begins_anew(toy):
    chosen = settings()
    whole = fit(toy, chosen, None)
    with pytest.raises(KeyboardInterrupt):
        fit(toy, chosen, None, 3, "end")
    assert_equal(fit(toy, chosen, None), whole)
