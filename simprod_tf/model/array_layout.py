"""Arrays as other frameworks name and lay them out -> ours, told by their shapes.

Ours: `<layer>/kernel`, `<layer>/bias`; convolutions [height, width, in, out]; fully
connected [in, out], fc6's `in` running over height, width, channel of pool5. Caffe and
PyTorch: (out, in, height, width); (out, in), fc6's over channel, height, width.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from simprod_tf.errors import ModelError
from simprod_tf.model.architecture import (
    ARCHITECTURES,
    PRESETS,
    SQUEEZENET,
    weight_shapes,
)

KINDS = {
    "w": "kernel", "kernel": "kernel", "weight": "kernel", "weights": "kernel",
    "b": "bias", "bias": "bias", "biases": "bias",
}  # fmt: skip
# Layers that turn features into classes of one training set.
CLASSIFIERS = ("fc8", "prob")


def our_name(name: str) -> str:
    """Returns `conv1/kernel` of `conv1/w`, `conv1/weights` or `Conv_0/kernel`.

    A name without a known ending is returned as it is.
    """
    layer, _, kind = name.rpartition("/")
    if kind not in KINDS:
        return name
    if layer.startswith("Conv_") and layer[5:].isdigit():
        layer = f"conv{int(layer[5:]) + 1}"
    # fire2/squeeze1x1: our layers' names have no slash.
    return f"{layer.replace('/', '_')}/{KINDS[kind]}"


def guess_architecture(
    arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str]
) -> str:
    """Returns the architecture whose conv1 and conv2, or fire2, these are.

    Raises:
        ModelError: there is none.
    """
    found = {our_name(name): array.shape for name, array in arrays.items()}
    for architecture in ARCHITECTURES:
        shapes = weight_shapes(architecture)
        second = "fire2_squeeze1x1" if architecture == SQUEEZENET else "conv2"
        if all(
            _fits(found.get(f"{layer}/kernel"), shapes[f"{layer}/kernel"])
            for layer in ("conv1", second)
        ):
            return architecture
    held = ", ".join(f"{name} {shape}" for name, shape in sorted(found.items())[:6])
    raise ModelError(
        f"{path} holds weights of none of {', '.join(ARCHITECTURES)}: their conv1 and "
        f"the layer after it are not there; it holds {held or 'nothing'}."
    )


def as_ours(
    arrays: Mapping[str, np.ndarray],
    architecture: str,
    path: str | os.PathLike[str],
) -> dict[str, np.ndarray]:
    """Returns the arrays of an architecture under our names and in our layout.

    Arrays that fit in no layout keep theirs, for `Weights` to refuse by name.
    """
    shapes = weight_shapes(architecture)
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        own = our_name(name)
        if own in found:
            raise ModelError(f"{path}: {own} is there twice, as {name} too.")
        if own.partition("/")[0] not in CLASSIFIERS:
            found[own] = array
    for name, shape in shapes.items():
        if name in found and len(shape) == 4:
            found[name] = _convolution(found[name], shape)
    if architecture in PRESETS:
        _turn_dense(found, PRESETS[architecture].pool5_shape, shapes)
    return found


def _fits(found: tuple[int, ...] | None, shape: tuple[int, ...]) -> bool:
    return found in (shape, _outer_first(shape))


def _outer_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    height, width, depth, filters = shape
    return filters, depth, height, width


def _convolution(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape == _outer_first(shape):
        return array.transpose(2, 3, 1, 0)
    return array


def _turn_dense(
    found: dict[str, np.ndarray],
    pool5_shape: tuple[int, int, int],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Turns fc6 and fc7, where fc6 is (out, in).

    fc7 is square: only fc6 tells which way it lies.
    """
    inputs, units = shapes["fc6/kernel"]
    fc6 = found.get("fc6/kernel")
    if fc6 is None or fc6.shape != (units, inputs):
        return
    height, width, depth = pool5_shape
    planes = fc6.reshape(units, depth, height, width)
    found["fc6/kernel"] = planes.transpose(2, 3, 1, 0).reshape(inputs, units)
    if "fc7/kernel" in found and found["fc7/kernel"].ndim == 2:
        found["fc7/kernel"] = found["fc7/kernel"].T
