"""Random changes to pictures."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.features import augment
from simprod_tf.features.augment import augment_pictures


@pytest.fixture
def ramp():
    """Sixteen pictures, brighter from left to right: red is the column."""
    column = np.arange(40, dtype=np.uint8)
    picture = np.stack([np.tile(column, (40, 1)), np.tile(column, (40, 1)).T], -1)
    return np.repeat(
        np.concatenate([picture, picture[..., :1] * 0 + 7], -1)[None], 16, 0
    )


def changed(pictures, seed):
    return augment_pictures(tf.constant(pictures), tf.constant([1, seed])).numpy()


def test_the_same_seed_gives_the_same_changes_and_another_others(ramp):
    assert (changed(ramp, 1) == changed(ramp, 1)).all()
    assert not (changed(ramp, 1) == changed(ramp, 2)).all()


def test_each_picture_is_changed_on_its_own(ramp):
    assert len(np.unique(changed(ramp, 1).reshape(16, -1), axis=0)) == 16


def test_crops_stay_inside_and_some_are_mirrored(ramp, monkeypatch):
    monkeypatch.setattr(augment, "MAX_LIGHT", 0.0)
    found = changed(ramp, 3)
    assert found.shape == ramp.shape
    across = found[:, 20, :, 0]
    steps = np.diff(across, axis=1)
    rising, falling = (steps > 0).all(1), (steps < 0).all(1)
    assert (rising | falling).all()
    assert 2 < falling.sum() < 14
    # A crop of the whole width's share between 0.8 and 1, never upside down.
    spans = np.abs(across[:, -1] - across[:, 0])
    assert (spans >= 0.8 * 39 - 0.01).all()
    assert (spans <= 39.01).all()
    assert (np.diff(found[:, :, 20, 1], axis=1) > 0).all()
    assert np.allclose(found[..., 2], 7)


def test_light_changes_within_its_share(ramp):
    grey = np.full_like(ramp, 128)
    means = changed(grey, 5).mean((1, 2, 3))
    assert means.std() > 1
    assert np.abs(means - 128).max() <= 0.16 * 128
