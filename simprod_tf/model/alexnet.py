"""AlexNet as a Keras functional model, by preset or with the weights of a file.

Krizhevsky, Sutskever, Hinton 2012:
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks
"""

from __future__ import annotations

import logging

import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.architecture import PRESETS, AlexNetPreset, preset_named
from simprod_tf.model.picture_layers import (
    GroupedConv2D,
    LocalResponseNorm,
    standardize_layer,
)
from simprod_tf.model.preprocessing import Preprocessing, ResponseNorm
from simprod_tf.model.regularisation import EpochDropout
from simprod_tf.model.weights import Weights, set_layer_weights

log = logging.getLogger(__name__)

OUTPUT_LAYERS = ("pool5", "fc6", "fc7")


def require_output_layer(name: str) -> None:
    """Refuses a name that is not in `OUTPUT_LAYERS`."""
    if name not in OUTPUT_LAYERS:
        raise ValueError(
            f"output_layer must be one of {', '.join(OUTPUT_LAYERS)}, got {name!r}."
        )


def build_alexnet(
    preset: str = "small",
    *,
    output_layer: str = "pool5",
    dropout: float = 0.0,
    preprocessing: Preprocessing | None = None,
    response_norm: ResponseNorm | None = None,
) -> tf.keras.Model:
    """Returns AlexNet up to `output_layer`: [B, H, W, 3] RGB in [0, 255] -> [B, F].

    Presets (sizes and sources: `simprod_tf.model.architecture.PRESETS`):
        krizhevsky2012: Krizhevsky, Sutskever, Hinton 2012: 227 pixels, two groups in
            conv2, conv4, conv5, local response normalisation, 96-256-384-384-256.
        torchvision: Krizhevsky 2014 (https://arxiv.org/abs/1404.5997), as torchvision
            has it: 224 pixels, one group, no normalisation, 64-192-384-256-256.
        small: the same plan for 64 pixels, ours: 24-48-64-64-64, fc 256.

    Args:
        preset: A name of them.
        output_layer: "pool5" (flattened over height, width, channel), "fc6" or "fc7".
        dropout: Before fc6 and fc7 while training (0.5 in the paper).
        preprocessing: Of the weights that will be set; the preset's own if None.
        response_norm: Likewise; of no use to a preset without normalisation.
    """
    sizes = preset_named(preset)
    require_output_layer(output_layer)
    preprocessing = preprocessing or sizes.preprocessing
    side = preprocessing.image_size
    image = tf.keras.Input([side, side, 3], name="image")
    norm = response_norm or sizes.response_norm
    x = _convolutions(
        standardize_layer(preprocessing)(image),
        sizes,
        norm if sizes.response_norm else None,
    )
    x = tf.keras.layers.Flatten(name="pool5")(x)
    dense = OUTPUT_LAYERS[1 : OUTPUT_LAYERS.index(output_layer) + 1]
    for seed, name in enumerate(dense):
        x = EpochDropout(dropout, seed, name=f"drop_{name}")(x)
        x = tf.keras.layers.Dense(
            sizes.fc_units, "relu", kernel_initializer="he_normal", name=name
        )(x)
    return tf.keras.Model(image, x, name=f"alexnet_{preset}_{output_layer}")


def alexnet_from(
    weights: Weights, *, output_layer: str | None = None, dropout: float = 0.0
) -> tf.keras.Model:
    """Returns AlexNet with these weights, their preprocessing and their constants.

    Args:
        weights: Of one of the presets.
        output_layer: The last that the weights reach, of pool5, fc6, fc7, if None;
            where that is not fc7, the log says so.
        dropout: As of `build_alexnet`.

    Raises:
        ModelError: they are another network's, or do not reach `output_layer`.
    """
    if weights.architecture not in PRESETS:
        raise ModelError(
            f"{weights.origin} holds weights of {weights.architecture}, which is no "
            f"AlexNet; expected one of {', '.join(PRESETS)}."
        )
    reached = _last_layer(weights)
    if output_layer is None:
        output_layer = reached
        if reached != "fc7":
            log.warning("%s has no weights of fc7: %s is used", weights.origin, reached)
    require_output_layer(output_layer)
    if OUTPUT_LAYERS.index(output_layer) > OUTPUT_LAYERS.index(reached):
        raise ModelError(
            f"{weights.origin} has no {output_layer}/kernel: its weights reach "
            f"{reached}. Choose output layer {reached}."
        )
    model = build_alexnet(
        weights.architecture,
        output_layer=output_layer,
        dropout=dropout,
        preprocessing=weights.preprocessing,
        response_norm=weights.response_norm,
    )
    set_layer_weights(model, weights)
    return model


def _last_layer(weights: Weights) -> str:
    reached = "pool5"
    for name in OUTPUT_LAYERS[1:]:
        if f"{name}/kernel" not in weights.arrays:
            break
        reached = name
    return reached


def _convolutions(
    x: tf.Tensor, sizes: AlexNetPreset, norm: ResponseNorm | None
) -> tf.Tensor:
    kernel, stride, padding = sizes.first
    layers = tf.keras.layers
    if padding:
        x = layers.ZeroPadding2D(padding, name="pad1")(x)
    x = layers.Conv2D(
        sizes.filters[0], kernel, stride, activation="relu",
        kernel_initializer="he_normal", name="conv1",
    )(x)  # fmt: skip
    x = _norm_and_pool(x, norm, 1)
    x = _norm_and_pool(_same_conv(x, sizes, 2), norm, 2)
    for number in (3, 4, 5):
        x = _same_conv(x, sizes, number)
    return layers.MaxPooling2D(3, 2, name="max5")(x)


def _same_conv(x: tf.Tensor, sizes: AlexNetPreset, number: int) -> tf.Tensor:
    filters, kernel = sizes.filters[number - 1], sizes.kernel_of(number)
    groups, name = sizes.groups_of(number), f"conv{number}"
    if groups > 1:
        return GroupedConv2D(filters, kernel, groups, name=name)(x)
    return tf.keras.layers.Conv2D(
        filters, kernel, padding="same", activation="relu",
        kernel_initializer="he_normal", name=name,
    )(x)  # fmt: skip


def _norm_and_pool(x: tf.Tensor, norm: ResponseNorm | None, number: int) -> tf.Tensor:
    if norm:
        x = LocalResponseNorm(norm.bias, norm.alpha, name=f"norm{number}")(x)
    return tf.keras.layers.MaxPooling2D(3, 2, name=f"max{number}")(x)
