"""Early stopping that keeps the best weights, in one process and over several."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import InputError
from simprod_tf.training.stopping import ResumableStopping

START = 3


class Values(tf.keras.callbacks.Callback):
    """Plays the validation: gives each epoch a value, and the model that epoch's
    number as its weight."""

    def __init__(self, values):
        super().__init__()
        self.values, self.epochs = values, []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.model.set_weights([np.array([[float(epoch)]], np.float32)])
        if self.values[epoch] is not None:
            logs["val_pr_auc"] = self.values[epoch]


def model_of_one():
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))]
    )
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    return model


def run(values, stopping, *, epochs=None, initial_epoch=0):
    """Returns the epochs that were run and the weight that the model ends with."""
    model, played = model_of_one(), Values(values)
    model.fit(
        np.ones((1, 1)),
        np.ones((1, 1)),
        epochs=epochs or len(values),
        initial_epoch=initial_epoch,
        callbacks=[played, stopping],
        verbose=0,
    )
    return played.epochs, float(model.get_weights()[0][0, 0])


def test_it_stops_and_gives_the_best_weights(tmp_path):
    stopping = ResumableStopping(tmp_path / "best", patience=2)
    epochs, weight = run([0.5, 0.9, 0.8, 0.9, 0.95], stopping)
    assert (epochs, weight) == ([0, 1, 2, 3], 1.0)
    assert (stopping.best_epoch, stopping.waited) == (1, 2)
    assert [row["val_pr_auc"] for row in stopping.rows] == [0.5, 0.9, 0.8, 0.9]
    assert [row["epoch"] for row in stopping.rows] == [0, 1, 2, 3]
    assert not (tmp_path / "best").exists()


def test_the_best_weights_come_back_where_it_did_not_stop_too(tmp_path):
    assert run([0.5, 0.9, 0.8], ResumableStopping(tmp_path / "a"))[1] == 1.0
    less = ResumableStopping(tmp_path / "b", mode="min")
    assert run([0.5, 0.4, 0.8], less)[1] == 1.0
    much = ResumableStopping(tmp_path / "c", min_delta=0.2)
    assert run([0.5, 0.6, 0.75, 0.8], much)[1] == 2.0
    assert (less.best_value, much.best_value) == (0.4, 0.75)


def test_epochs_without_a_value_are_never_the_best(tmp_path):
    stopping = ResumableStopping(tmp_path / "best", patience=2)
    epochs, weight = run([None, 0.3, float("nan"), None, 0.9], stopping)
    assert (epochs, weight) == ([0, 1, 2, 3], 1.0)
    never = ResumableStopping(tmp_path / "best", patience=3)
    assert run([None] * 5, never) == ([0, 1, 2], 2.0)
    assert (never.best_epoch, never.best_value) == (None, None)


@pytest.mark.parametrize(
    ("recorded", "backed_up"), [(1, 1), (2, 1), (2, 2), (3, 2), (4, 3), (4, 4)]
)
def test_started_again_it_goes_on_as_if_never_ended(tmp_path, recorded, backed_up):
    """The backup may be an epoch behind the record: that epoch is done again."""
    values = [0.5, 0.9, 0.8, 0.7, 0.6, 0.95]
    first = ResumableStopping(tmp_path / "best", patience=3, keep=True)
    run(values, first, epochs=recorded)
    again = ResumableStopping(tmp_path / "best", patience=3)
    epochs, weight = run(values, again, initial_epoch=backed_up)
    assert (epochs, weight) == (list(range(backed_up, 5)), 1.0)
    assert [row["epoch"] for row in again.rows] == [0, 1, 2, 3, 4]


def test_killed_after_the_last_epoch_it_still_gives_the_best_weights(tmp_path):
    values = [0.5, 0.9, 0.8]
    run(values, ResumableStopping(tmp_path / "best", keep=True))
    assert run(values, ResumableStopping(tmp_path / "best"), initial_epoch=3) == (
        [],
        1.0,
    )


def test_killed_when_it_had_decided_to_stop_it_records_no_further_epoch(tmp_path):
    values = [0.9, 0.5, 0.6, 0.99]
    run(values, ResumableStopping(tmp_path / "best", patience=2, keep=True))
    again = ResumableStopping(tmp_path / "best", patience=2)
    epochs, weight = run(values, again, initial_epoch=3)
    assert (epochs, weight) == ([3], 0.0)
    assert [row["epoch"] for row in again.rows] == [0, 1, 2]


def test_only_weights_that_may_be_needed_are_kept(tmp_path):
    stopping = ResumableStopping(tmp_path / "best", keep=True)
    run([0.1, 0.2, 0.3, 0.4], stopping)
    assert sorted(path.name for path in (tmp_path / "best").glob("*.npz")) == [
        "best-2.npz",
        "best-3.npz",
    ]


def test_damaged_files_are_named(tmp_path):
    folder = tmp_path / "best"
    run([0.1, 0.2], ResumableStopping(folder, keep=True))
    (folder / "best-1.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"best-1\.npz.*delete its folder"):
        run([0.1] * 3, ResumableStopping(folder), initial_epoch=2)
    (folder / "epochs.json").write_text("{")
    with pytest.raises(InputError, match=r"epochs\.json.*delete its folder"):
        run([0.1] * 3, ResumableStopping(folder))


def test_wrong_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mode must be min or max, got 'auto'"):
        ResumableStopping(tmp_path, mode="auto")
    with pytest.raises(ValueError, match="patience must be at least 1, got 0"):
        ResumableStopping(tmp_path, patience=0)


@pytest.mark.slow
def test_killed_at_three_moments_it_ends_where_an_uninterrupted_run_does(
    tmp_path, start
):
    def child(folder, *arguments):
        process = start("resumed_fit.py", folder, *arguments)
        _, errors = process.communicate(timeout=300)
        return process.returncode, errors

    for at, moment in ((2, "batch"), (3, "backup"), (5, "end")):
        assert child(tmp_path / "parts", at, moment)[0] == 9
        recorded = json.loads((tmp_path / "parts/best/epochs.json").read_text())
        assert len(recorded["epochs"]) == (at if moment == "batch" else at + 1)
    for folder in ("whole", "parts"):
        code, errors = child(tmp_path / folder, -1, "")
        assert code == 0, errors
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == [
            "backup",
            "final.npz",
        ]
    with np.load(tmp_path / "whole/final.npz") as one:
        with np.load(tmp_path / "parts/final.npz") as other:
            assert list(one["epoch"]) == list(range(8))
            assert len(set(one["val_pr_auc"])) > 2
            for name in one.files:
                np.testing.assert_allclose(other[name], one[name], atol=1e-6)
