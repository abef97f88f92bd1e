"""Which layers are trained."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from simprod_tf.training.layer_path import layer_paths, matches


def set_trainable(
    model: tf.keras.Model, pattern: str, *, within: Sequence[str] = ()
) -> tuple[str, ...]:
    """Lets the layers that fit `pattern` be trained, freezes all others.

    Before `compile`, and before the optimizer is built. Frozen batch normalisation
    uses and keeps the statistics it has, in training steps too.

    Args:
        model: Nested models are looked into.
        pattern: A regular expression of whole parts of the layers' paths (see
            `layer_path.matches`): "small/conv[45]", "head", ".*" for all.
        within: Names of models among `model`'s layers, outside of which all stays as
            it is; none for everywhere.

    Returns:
        The paths of the layers that are trained now.

    Raises:
        ValueError: no layer with weights fits; the message names those there are.
    """
    layers = {
        path: layer
        for path, layer in layer_paths(model).items()
        if not within or path.split("/")[0] in within
    }
    chosen = [path for path in layers if matches(pattern, path)]
    if not chosen:
        raise ValueError(
            f"no layer with weights fits {pattern!r}; there are {', '.join(layers)}."
        )
    # A model passes its own flag down to all it holds: models first, then layers.
    for one in [model.get_layer(name) for name in within] or [model]:
        one.trainable = True
    wanted = {id(layers[path]) for path in chosen}
    for layer in layers.values():
        layer.trainable = id(layer) in wanted
    return tuple(chosen)
