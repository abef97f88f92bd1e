"""Random changes to pictures."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.features.augment import AugmentSettings, augment_pictures

NOTHING = {"min_crop": 1.0, "flip": False, "light": 0.0, "colour": 0.0, "erasing": 0.0}


@pytest.fixture
def ramp():
    """Sixteen pictures, brighter from left to right: red is the column."""
    column = np.arange(40, dtype=np.uint8)
    picture = np.stack([np.tile(column, (40, 1)), np.tile(column, (40, 1)).T], -1)
    return np.repeat(
        np.concatenate([picture, picture[..., :1] * 0 + 7], -1)[None], 16, 0
    )


def changed(pictures, seed, **only):
    """Returns pictures changed by the defaults, or only by what is named."""
    settings = AugmentSettings(**{**NOTHING, **only}) if only else AugmentSettings()
    seeds = tf.constant([1, seed])
    return augment_pictures(tf.constant(pictures), seeds, settings).numpy()


def test_the_same_seed_gives_the_same_changes_and_another_others(ramp):
    assert (changed(ramp, 1) == changed(ramp, 1)).all()
    assert not (changed(ramp, 1) == changed(ramp, 2)).all()


def test_each_picture_is_changed_on_its_own(ramp):
    assert len(np.unique(changed(ramp, 1).reshape(16, -1), axis=0)) == 16


def test_all_values_stay_in_range():
    pictures = np.random.default_rng(0).integers(0, 256, (32, 24, 40, 3), np.uint8)
    found = changed(pictures, 1)
    assert found.dtype == np.float32
    assert found.shape == pictures.shape
    assert found.min() >= 0
    assert found.max() <= 255
    assert found.max() > 250


def test_settings_of_nothing_leave_pictures_as_they_are(ramp):
    assert (changed(ramp, 1, **NOTHING) == ramp).all()


def test_crops_stay_inside_and_some_are_mirrored(ramp):
    found = changed(ramp, 3, min_crop=0.8, flip=True)
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


def test_nothing_is_mirrored_without_flip(ramp):
    found = changed(ramp, 3, min_crop=0.8)
    assert (np.diff(found[:, 20, :, 0], axis=1) > 0).all()


def test_mirrored_pictures_are_the_mirror_image(ramp):
    found = changed(ramp, 3, flip=True)
    mirrored = found[:, 0, 0, 0] > 0
    assert 2 < mirrored.sum() < 14
    assert np.allclose(found[mirrored], ramp[mirrored][:, :, ::-1], atol=1e-3)
    assert np.allclose(found[~mirrored], ramp[~mirrored], atol=1e-3)


def test_a_turn_keeps_the_middle_and_lengths(ramp):
    found = changed(ramp, 3, rotation_deg=30)
    # Red rises by 1 a column: its slopes are the cosine and the sine of the turn.
    middle = found[:, 15:26, 15:26, 0]
    right = np.diff(middle, axis=2).mean((1, 2))
    down = np.diff(middle, axis=1).mean((1, 2))
    assert np.allclose(middle.mean((1, 2)), 20, atol=0.6)
    assert np.allclose(right**2 + down**2, 1, atol=1e-3)
    degrees = np.degrees(np.arctan2(down, right))
    assert np.abs(degrees).max() <= 30.1
    assert degrees.min() < -5
    assert degrees.max() > 5


def test_light_changes_within_its_share(ramp):
    grey = np.full_like(ramp, 128)
    found = changed(grey, 5, light=0.15)
    means = found.mean((1, 2, 3))
    assert means.std() > 1
    assert np.abs(means - 128).max() <= 0.16 * 128
    assert np.allclose(found[..., 0], found[..., 2])


def test_colour_multiplies_each_channel_within_its_share(ramp):
    grey = np.full_like(ramp, 100)
    found = changed(grey, 5, colour=0.1)
    assert np.allclose(found, found[:, :1, :1])
    gains = found[:, 0, 0] / 100
    assert gains.min() >= 0.9 - 1e-4
    assert gains.max() <= 1.1 + 1e-4
    assert (gains.std(axis=1) > 0.001).all()


def test_a_share_of_the_pictures_loses_a_box_in_one_colour():
    pictures = np.zeros((400, 50, 60, 3), np.uint8)
    found = changed(pictures, 2, erasing=0.25)
    painted = (found > 0).any(-1)
    hit = painted.any((1, 2))
    # Binomial(400, 1/4): 60 to 140 is more than four deviations.
    assert 60 < hit.sum() < 140
    shares = painted[hit].mean((1, 2))
    assert shares.min() > 0.01
    assert shares.max() < 0.22
    for picture, box in zip(found[hit], painted[hit]):
        rows, columns = box.any(1), box.any(0)
        assert (box == rows[:, None] & columns).all()
        assert len(np.unique(picture[box], axis=0)) == 1


def test_without_erasing_nothing_is_painted_over():
    pictures = np.zeros((100, 10, 10, 3), np.uint8)
    assert (changed(pictures, 2, flip=True) == 0).all()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("min_crop", 0.0, r"min_crop must be in \(0, 1\], got 0.0"),
        ("light", 1.0, r"light must be in \[0, 1\), got 1.0"),
        ("colour", -0.1, r"colour must be in \[0, 1\), got -0.1"),
        ("erasing", 1.5, r"erasing must be in \[0, 1\], got 1.5"),
        ("rotation_deg", 200, r"rotation_deg must be in \[0, 180\], got 200"),
    ],
)
def test_a_setting_out_of_range_is_refused(name, value, says):
    with pytest.raises(ValueError, match=says):
        AugmentSettings(**{name: value})
