"""The published sizes, as the shapes of arrays."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.model.architecture import (
    PRESETS,
    preset_named,
    required_arrays,
    usual_preprocessing,
    weight_shapes,
)


def count(shapes):
    return sum(int(np.prod(shape)) for shape in shapes.values())


def test_torchvisions_parameters_are_as_published():
    # 61,100,840 with the 1,000 classes' layer, which is not kept.
    classes = 4096 * 1000 + 1000
    assert count(weight_shapes("torchvision")) + classes == 61_100_840


def test_the_originals_groups_halve_three_kernels():
    shapes = weight_shapes("krizhevsky2012")
    depths = [shapes[f"conv{number}/kernel"][2] for number in range(1, 6)]
    assert depths == [3, 48, 256, 192, 192]
    assert shapes["fc6/kernel"] == (6 * 6 * 256, 4096)


def test_squeezenets_parameters_are_as_published():
    # Iandola et al. 2016 state 1,248,424.
    assert count(weight_shapes("squeezenet")) == 1_248_424


def test_small_ends_in_three_by_three():
    assert PRESETS["small"].pool5_shape == (3, 3, 64)


def test_features_need_the_convolutions_alone():
    needed = {name.partition("/")[0] for name in required_arrays("torchvision")}
    assert needed == {"conv1", "conv2", "conv3", "conv4", "conv5"}
    assert "conv10/kernel" not in required_arrays("squeezenet")
    assert "fire9_expand3x3/bias" in required_arrays("squeezenet")


def test_squeezenet_takes_bgr():
    assert usual_preprocessing("squeezenet").channels == "BGR"
    assert usual_preprocessing("torchvision").channels == "RGB"


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="krizhevsky2012, torchvision, small.*'big'"):
        preset_named("big")
    with pytest.raises(ValueError, match="small, squeezenet, got 'big'"):
        weight_shapes("big")
