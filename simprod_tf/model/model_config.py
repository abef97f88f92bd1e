"""What a Keras model computes, weights aside: equal for equal models."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf

# Where a config speaks of layers by name.
NAMES = ("name", "inbound_nodes", "input_layers", "output_layers")
# What may differ between models that compute the same.
PASSING = ("trainable", "build_config", "compile_config", "shared_object_id")


def layer_configs(model: tf.keras.Model) -> dict[str, Any]:
    """Returns the layers, their settings and their wiring, as JSON's plain values.

    A layer's name is replaced by its position: names that Keras makes itself count the
    layers made before it in the same process.
    """
    config = json.loads(model.to_json())["config"]
    return _nameless(config, {})


def _nameless(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_nameless(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    layers = value.get("layers")
    if isinstance(layers, list):
        own = {one["config"]["name"]: f"#{row}" for row, one in enumerate(layers)}
        # A model's own name stands for its position in the model around it.
        value = {**value, "name": names.get(value.get("name", ""), "")}
    found = {}
    for key, one in value.items():
        if key in PASSING:
            continue
        inside = own if isinstance(layers, list) else names
        found[key] = _renamed(one, inside) if key in NAMES else _nameless(one, inside)
    return found


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(one, names) for one in value]
    if isinstance(value, dict):
        return {key: _renamed(one, names) for key, one in value.items()}
    return names.get(value, value) if isinstance(value, str) else value
