"""Keras' HDF5 weights of a model of ours -> arrays by layer.

Two forms: `.weights.h5` of Keras 2.15, which names layers by class and count
(`layers/conv2d_1/vars/0`), and the older `.h5`, which names them by name.
"""

from __future__ import annotations

import os
import re

import h5py
import numpy as np

from simprod_tf.errors import ModelError
from simprod_tf.model.architecture import FIRE_FILTERS

# `vars` holds a layer's weights in the order of their making.
_COUNTED = re.compile(
    r"(?:.*/)?(?P<kind>grouped_conv2d|conv2d|dense)(?:_(?P<count>\d+))?"
    r"/vars/(?P<part>[01])"
)
_NAMED = re.compile(r"(?:.*/)?(?P<layer>[^/]+)/(?P<part>kernel|bias)(?::0)?")
PARTS = ("kernel", "bias")

Order = dict[str, tuple[str, ...]]

# The layers' names by class, in the order of counting.
_GROUPED: Order = {
    "conv2d": ("conv1", "conv3"),
    "grouped_conv2d": ("conv2", "conv4", "conv5"),
}
_ONE_GROUP: Order = {"conv2d": ("conv1", "conv2", "conv3", "conv4", "conv5")}
_FIRE = ("squeeze1x1", "expand1x1", "expand3x3")
_SQUEEZENET: Order = {
    "conv2d": (
        "conv1",
        *(f"{fire}_{part}" for fire in FIRE_FILTERS for part in _FIRE),
        "conv10",
    )
}
_DENSE: Order = {"dense": ("fc6", "fc7")}


def read_h5(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns `<layer>/kernel` and `<layer>/bias` of an HDF5 file of Keras.

    Raises:
        ModelError: the file is damaged, or not of a model of ours.
    """
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, np.ndarray] = {}
            file.visititems(lambda name, item: _keep(found, name, item))
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelError(f"{path} is damaged or cut short: {error}.") from error
    matches = ((_COUNTED.fullmatch(name), array) for name, array in found.items())
    counted = [(match, array) for match, array in matches if match]
    arrays = _by_count(counted, path) if counted else _by_name(found)
    if not arrays:
        raise ModelError(f"{path} holds no weights of a Keras model.")
    return arrays


def _keep(found: dict[str, np.ndarray], name: str, item: h5py.HLObject) -> None:
    if isinstance(item, h5py.Dataset):
        found[name] = item[()]


def _by_name(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    matches = ((_NAMED.fullmatch(name), array) for name, array in found.items())
    return {
        f"{match['layer']}/{match['part']}": array for match, array in matches if match
    }


def _by_count(
    found: list[tuple[re.Match[str], np.ndarray]], path: str | os.PathLike[str]
) -> dict[str, np.ndarray]:
    order = _order_of([match["kind"] for match, _ in found])
    arrays: dict[str, np.ndarray] = {}
    for match, array in found:
        names, count = order.get(match["kind"], ()), int(match["count"] or 0)
        if count >= len(names):
            raise ModelError(
                f"{path}: layer {count + 1} of class {match['kind']} is none of ours."
            )
        arrays[f"{names[count]}/{PARTS[int(match['part'])]}"] = array
    return arrays


def _order_of(kinds: list[str]) -> Order:
    if "grouped_conv2d" in kinds:
        return _GROUPED | _DENSE
    # A kernel and a bias each.
    if kinds.count("conv2d") > 2 * len(_ONE_GROUP["conv2d"]):
        return _SQUEEZENET
    return _ONE_GROUP | _DENSE
