"""SqueezeNet v1.0 as a Keras functional model, with the weights of a file.

Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
<0.5MB model size", https://arxiv.org/abs/1602.07360
"""

from __future__ import annotations

import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.architecture import (
    FIRE_FILTERS,
    SQUEEZENET,
    SQUEEZENET_CLASSES,
    usual_preprocessing,
)
from simprod_tf.model.picture_layers import standardize_layer
from simprod_tf.model.preprocessing import Preprocessing
from simprod_tf.model.regularisation import EpochDropout
from simprod_tf.model.weights import Weights, set_layer_weights

OUTPUT_LAYERS = ("fire9", "classes")
POOLED_AFTER = ("fire4", "fire8")


def build_squeezenet(
    *,
    output_layer: str = "fire9",
    dropout: float = 0.0,
    preprocessing: Preprocessing | None = None,
) -> tf.keras.Model:
    """Returns SqueezeNet up to `output_layer`: [B, H, W, 3] RGB in [0, 255] -> [B, F].

    Args:
        output_layer: "fire9": its mean over the picture, F = 512; "classes": the
            scores of ImageNet's 1,000 classes before the softmax.
        dropout: After fire9 while training (0.5 in the paper).
        preprocessing: Of the weights that will be set. If None, Caffe's: pictures
            resized to 256 x 256, of which the middle 227 x 227 is kept, BGR.
    """
    _require_output_layer(output_layer)
    preprocessing = preprocessing or usual_preprocessing(SQUEEZENET)
    side = preprocessing.image_size
    layers = tf.keras.layers
    image = tf.keras.Input([side, side, 3], name="image")
    x = standardize_layer(preprocessing)(image)
    x = _conv(x, 96, 7, "conv1", stride=2, padding="valid")
    x = _ceil_pool(x, "max1")
    for fire, filters in FIRE_FILTERS.items():
        x = _fire(x, filters, fire)
        if fire in POOLED_AFTER:
            x = _ceil_pool(x, f"max_{fire}")
    x = EpochDropout(dropout, name="drop_fire9")(x)
    if output_layer == "classes":
        x = _conv(x, SQUEEZENET_CLASSES, 1, "conv10")
    x = layers.GlobalAveragePooling2D(name=f"mean_{output_layer}")(x)
    return tf.keras.Model(image, x, name=f"squeezenet_{output_layer}")


def squeezenet_from(
    weights: Weights, *, output_layer: str | None = None, dropout: float = 0.0
) -> tf.keras.Model:
    """Returns SqueezeNet with these weights and their preprocessing.

    Args:
        weights: Of SqueezeNet.
        output_layer: As of `build_squeezenet`; "fire9" if None.
        dropout: As of `build_squeezenet`.

    Raises:
        ModelError: they are another network's, or do not reach `output_layer`.
    """
    if weights.architecture != SQUEEZENET:
        raise ModelError(
            f"{weights.origin} holds weights of {weights.architecture}, "
            "expected those of squeezenet."
        )
    output_layer = output_layer or "fire9"
    _require_output_layer(output_layer)
    if output_layer == "classes" and "conv10/kernel" not in weights.arrays:
        raise ModelError(
            f"{weights.origin} has no conv10/kernel. Choose output layer fire9."
        )
    model = build_squeezenet(
        output_layer=output_layer,
        dropout=dropout,
        preprocessing=weights.preprocessing,
    )
    set_layer_weights(model, weights)
    return model


def _require_output_layer(name: str) -> None:
    if name not in OUTPUT_LAYERS:
        raise ValueError(
            f"output_layer must be one of {', '.join(OUTPUT_LAYERS)}, got {name!r}."
        )


def _conv(
    x: tf.Tensor,
    filters: int,
    kernel: int,
    name: str,
    *,
    stride: int = 1,
    padding: str = "same",
) -> tf.Tensor:
    return tf.keras.layers.Conv2D(
        filters, kernel, stride, padding, activation="relu",
        kernel_initializer="he_normal", name=name,
    )(x)  # fmt: skip


def _fire(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    """A squeeze to few channels, then 1x1 and 3x3 convolutions side by side."""
    x = _conv(x, filters, 1, f"{name}_squeeze1x1")
    sides = [
        _conv(x, 4 * filters, kernel, f"{name}_expand{kernel}x{kernel}")
        for kernel in (1, 3)
    ]
    return tf.keras.layers.Concatenate(name=name)(sides)


def _ceil_pool(x: tf.Tensor, name: str) -> tf.Tensor:
    """Max-pools 3x3 by 2, with a last window that may hang over, as Caffe does."""
    # "same" pads an even side at its end alone, and would pad an odd one at both.
    padding = "valid" if x.shape[1] % 2 else "same"
    return tf.keras.layers.MaxPooling2D(3, 2, padding, name=name)(x)
