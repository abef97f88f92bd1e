"""Names of layers inside nested models: `encoder/small/conv4`.

Keras names a variable by its own layer alone, so that two towers of one kind have
variables of equal names; the path from the outermost model tells them apart.
"""

from __future__ import annotations

import re

import tensorflow as tf


def layer_paths(model: tf.keras.Model) -> dict[str, tf.keras.layers.Layer]:
    """Returns the layers that are no models and hold weights, by path.

    A path is the names of the models around the layer, without `model`'s own, and the
    layer's name, with "/" between. A layer that is shared has the first of its paths.
    """
    found: dict[str, tf.keras.layers.Layer] = {}
    _collect(model, "", found, set())
    return found


def weight_paths(model: tf.keras.Model) -> list[str]:
    """Returns the path of each of `model.trainable_variables`, in their order.

    It is the layer's path and the variable's own name: `encoder/head/projection/bias`.
    A variable that the model itself holds, outside of layers, has its name alone.
    """
    known = {
        id(variable): f"{path}/{own_name(variable)}"
        for path, layer in reversed(layer_paths(model).items())
        for variable in layer.weights
    }
    return [known.get(id(one), own_name(one)) for one in model.trainable_variables]


def own_name(variable: tf.Variable) -> str:
    """Returns the variable's name without its layer's."""
    return variable.name.split("/")[-1].split(":")[0]


def matches(pattern: str, path: str) -> bool:
    """Returns whether the regular expression fits whole, adjoining parts of the path.

    "small", "conv[45]", "small/conv4" and ".*bias" fit `encoder/small/conv4/bias`;
    "conv" does not.

    Raises:
        ValueError: it is no regular expression.
    """
    try:
        return re.search(f"(?:^|/)(?:{pattern})(?:/|$)", path) is not None
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}.") from error


def _collect(
    layer: tf.keras.layers.Layer,
    around: str,
    found: dict[str, tf.keras.layers.Layer],
    seen: set[int],
) -> None:
    if not isinstance(layer, tf.keras.Model):
        if layer.weights and id(layer) not in seen:
            seen.add(id(layer))
            found[around] = layer
        return
    for one in layer.layers:
        _collect(one, f"{around}/{one.name}" if around else one.name, found, seen)
