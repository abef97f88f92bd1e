"""Mixed precision: half-precision arithmetic on float32 weights.

Micikevicius et al. 2018, "Mixed Precision Training". What is saved and exported is
float32: see `as_float32`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

log = logging.getLogger(__name__)

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "mixed_float16", "mixed_bfloat16")


def policy_of(name: str) -> tf.keras.mixed_precision.Policy:
    """Returns Keras' policy of one of `PRECISIONS`.

    Raises:
        ValueError: it is none of them.
    """
    if name not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}."
        )
    return tf.keras.mixed_precision.Policy(name)


@contextlib.contextmanager
def precision(name: str) -> Iterator[tf.keras.mixed_precision.Policy]:
    """Makes the layers that are built inside the block compute in this precision.

    Keras keeps the policy for the whole process; here the earlier one comes back.
    """
    policy = policy_of(name)
    if name != FLOAT32 and not tf.config.list_physical_devices("GPU"):
        log.warning(
            "%s gains speed on GPUs, and there is none: float32 is faster here.", name
        )
    earlier = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield policy
    finally:
        tf.keras.mixed_precision.set_global_policy(earlier)


def as_float32(model: tf.keras.Model) -> tf.keras.Model:
    """Returns a functional model that computes the same in float32; weights copied.

    Weights are float32 under mixed precision too: nothing of them is lost.
    """
    config = _float32_config(model.get_config())
    with precision(FLOAT32):
        found = type(model).from_config(config)
    found.set_weights(model.get_weights())
    return found


def _float32_config(value: Any) -> Any:
    """Returns a config, its nested ones too, with float32 for each dtype policy."""
    if isinstance(value, (list, tuple)):
        return type(value)(_float32_config(one) for one in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "Policy":
        return FLOAT32
    found = {key: _float32_config(one) for key, one in value.items()}
    if found.get("dtype") in PRECISIONS:
        found["dtype"] = FLOAT32
    return found
