"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) as a Keras functional model.

https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks
"""

from __future__ import annotations

import logging
import os
import zipfile
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from simprod_tf.errors import ModelError

log = logging.getLogger(__name__)

OUTPUT_LAYERS = ("pool5", "fc6", "fc7")


@dataclass(frozen=True)
class AlexNetPreset:
    """The sizes of one AlexNet, and the preprocessing that its weights expect.

    Attributes:
        image_size: side of the square input, in pixels.
        resize_to: side that pictures are resized to before the centre crop.
        filters: of the five convolutions.
        first: kernel, stride and zero padding of the first one, in pixels.
        second_kernel: of the second one.
        groups: two in conv2, conv4 and conv5 of the original, for its two GPUs.
        response_norm: local response normalisation after conv1 and conv2.
        fc_units: of fc6 and fc7.
        mean, std: of each RGB channel in [0, 255]: (pixel - mean) / std.
    """

    image_size: int
    resize_to: int
    filters: tuple[int, int, int, int, int]
    first: tuple[int, int, int]
    second_kernel: int
    groups: int
    response_norm: bool
    fc_units: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_IMAGENET_MEAN = (123.675, 116.28, 103.53)

PRESETS = {
    # The paper's network; 227 pixels, since 224 does not give its 55 x 55.
    "krizhevsky2012": AlexNetPreset(
        227, 256, (96, 256, 384, 384, 256), (11, 4, 0), 5, 2, True, 4096,
        _IMAGENET_MEAN, (1.0, 1.0, 1.0),
    ),
    # One GPU, no response normalisation: Krizhevsky 2014, arXiv 1404.5997.
    "torchvision": AlexNetPreset(
        224, 256, (64, 192, 384, 256, 256), (11, 4, 2), 5, 1, False, 4096,
        _IMAGENET_MEAN, (58.395, 57.12, 57.375),
    ),
    # The same plan, narrower, for 64 pixels on a CPU; trained from nothing.
    "small": AlexNetPreset(
        64, 64, (24, 48, 64, 64, 64), (5, 2, 2), 3, 1, False, 256,
        (127.5, 127.5, 127.5), (63.75, 63.75, 63.75),
    ),
}  # fmt: skip


def require_output_layer(name: str) -> None:
    """Refuses a name that is not in `OUTPUT_LAYERS`."""
    if name not in OUTPUT_LAYERS:
        raise ValueError(
            f"output_layer must be one of {', '.join(OUTPUT_LAYERS)}, got {name!r}."
        )


def preset_named(name: str) -> AlexNetPreset:
    """Returns a preset; ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}.")
    return PRESETS[name]


@tf.keras.saving.register_keras_serializable(package="simprod")
class Standardize(tf.keras.layers.Layer):
    """(pixels - mean) / std, channel by channel, in float32."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], **kw: object):
        super().__init__(**kw)
        self.mean, self.std = tuple(mean), tuple(std)

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Maps [B, H, W, 3] in [0, 255] to the range that the weights expect."""
        return (tf.cast(pixels, tf.float32) - self.mean) / self.std

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}


@tf.keras.saving.register_keras_serializable(package="simprod")
class LocalResponseNorm(tf.keras.layers.Layer):
    """Local response normalisation, with the constants of the paper's section 3.3."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Divides each activation by those of its five neighbouring channels."""
        return tf.nn.local_response_normalization(
            x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75
        )


@tf.keras.saving.register_keras_serializable(package="simprod")
class GroupedConv2D(tf.keras.layers.Layer):
    """A 3x3 or 5x5 convolution in groups of channels, stride 1, same size out.

    Keras' own `groups` has no gradient on a CPU.
    """

    def __init__(self, filters: int, kernel_size: int, groups: int, **kw: object):
        super().__init__(**kw)
        self.filters, self.kernel_size, self.groups = filters, kernel_size, groups

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the kernel [k, k, in / groups, filters] and the bias [filters]."""
        size, depth = self.kernel_size, int(input_shape[-1]) // self.groups
        self.kernel = self.add_weight(
            name="kernel",
            shape=(size, size, depth, self.filters),
            initializer="he_normal",
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.filters,), initializer="zeros"
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Convolves each group of channels with its share of the filters."""
        parts = zip(
            tf.split(x, self.groups, axis=-1),
            tf.split(self.kernel, self.groups, axis=-1),
        )
        out = [tf.nn.conv2d(part, kernel, 1, "SAME") for part, kernel in parts]
        return tf.nn.relu(tf.concat(out, axis=-1) + self.bias)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = ("filters", "kernel_size", "groups")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def build_alexnet(
    preset: str = "small", *, output_layer: str = "pool5", dropout: float = 0.0
) -> tf.keras.Model:
    """Returns AlexNet up to `output_layer`: [B, H, W, 3] in [0, 255] -> [B, F].

    Args:
        preset: A name in `PRESETS`.
        output_layer: "pool5" (flattened), "fc6" or "fc7".
        dropout: Before fc6 and fc7 while training (0.5 in the paper).
    """
    sizes = preset_named(preset)
    require_output_layer(output_layer)
    side = sizes.image_size
    image = tf.keras.Input([side, side, 3], name="image")
    x = _convolutions(
        Standardize(sizes.mean, sizes.std, name="standardize")(image), sizes
    )
    x = tf.keras.layers.Flatten(name="pool5")(x)
    for name in OUTPUT_LAYERS[1 : OUTPUT_LAYERS.index(output_layer) + 1]:
        x = tf.keras.layers.Dropout(dropout, name=f"drop_{name}")(x)
        x = tf.keras.layers.Dense(
            sizes.fc_units, "relu", kernel_initializer="he_normal", name=name
        )(x)
    return tf.keras.Model(image, x, name=f"alexnet_{preset}_{output_layer}")


def _convolutions(x: tf.Tensor, sizes: AlexNetPreset) -> tf.Tensor:
    kernel, stride, padding = sizes.first
    layers = tf.keras.layers
    if padding:
        x = layers.ZeroPadding2D(padding, name="pad1")(x)
    x = layers.Conv2D(
        sizes.filters[0], kernel, stride, activation="relu",
        kernel_initializer="he_normal", name="conv1",
    )(x)  # fmt: skip
    x = _norm_and_pool(x, sizes, 1)
    x = _same_conv(x, 2, sizes.filters[1], sizes.second_kernel, sizes.groups)
    x = _norm_and_pool(x, sizes, 2)
    # conv3 alone sees both groups (the paper's figure 2).
    x = _same_conv(x, 3, sizes.filters[2], 3, 1)
    x = _same_conv(x, 4, sizes.filters[3], 3, sizes.groups)
    x = _same_conv(x, 5, sizes.filters[4], 3, sizes.groups)
    return layers.MaxPooling2D(3, 2, name="max5")(x)


def _same_conv(
    x: tf.Tensor, number: int, filters: int, kernel: int, groups: int
) -> tf.Tensor:
    name = f"conv{number}"
    if groups > 1:
        return GroupedConv2D(filters, kernel, groups, name=name)(x)
    return tf.keras.layers.Conv2D(
        filters, kernel, padding="same", activation="relu",
        kernel_initializer="he_normal", name=name,
    )(x)  # fmt: skip


def _norm_and_pool(x: tf.Tensor, sizes: AlexNetPreset, number: int) -> tf.Tensor:
    if sizes.response_norm:
        x = LocalResponseNorm(name=f"norm{number}")(x)
    return tf.keras.layers.MaxPooling2D(3, 2, name=f"max{number}")(x)


def load_alexnet_weights(model: tf.keras.Model, path: str | os.PathLike[str]) -> None:
    """Sets the weights of `model`'s layers from an `.npz` of kernels and biases.

    Keys: `conv1/kernel` ([kh, kw, in, out]), `conv1/bias`, ..., `fc7/bias`; or, for the
    convolutions, `Conv_0/kernel` and so on. Layers past the output are ignored.

    Raises:
        ModelError: no such file, a layer without weights in it, or another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {_our_key(key): file[key] for key in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read as weights: {error}.") from error
    wanted = [layer for layer in model.layers if layer.weights]
    for layer in wanted:
        keys = [f"{layer.name}/kernel", f"{layer.name}/bias"]
        missing = [key for key in keys if key not in arrays]
        if missing:
            found = ", ".join(sorted(arrays))
            raise ModelError(
                f"{path} has no {missing[0]}; it holds {found}. Choose an output layer "
                "whose weights are there (pool5 needs the convolutions alone)."
            )
        _set_weights(layer, [arrays[key] for key in keys], path)
    log.info("%s: weights of %d layers loaded", path, len(wanted))


def _our_key(key: str) -> str:
    """Turns `Conv_0/kernel` into `conv1/kernel`."""
    layer, _, kind = key.partition("/")
    if layer.startswith("Conv_") and layer[5:].isdigit():
        return f"conv{int(layer[5:]) + 1}/{kind}"
    return key


def _set_weights(
    layer: tf.keras.layers.Layer,
    arrays: list[np.ndarray],
    path: str | os.PathLike[str],
) -> None:
    expected = [tuple(weight.shape) for weight in layer.weights]
    found = [array.shape for array in arrays]
    if expected != found:
        raise ModelError(
            f"{path}: {layer.name} needs shapes {expected}, got {found}; "
            "is it another preset's?"
        )
    layer.set_weights(arrays)
