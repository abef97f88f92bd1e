"""The layers that AlexNet and SqueezeNet need beyond Keras' own."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from simprod_tf.model.preprocessing import (
    CHANNEL_ORDERS,
    PAPER_NORM,
    Preprocessing,
    ResponseNorm,
)

# Channels on each side of one that its response is normalised by (the paper's n = 5).
NORM_RADIUS = 2
# Channels normalised together; 8 was the fastest of 8, 16, 32 with oneDNN on AVX-512.
NORM_BLOCK = 8


@tf.keras.saving.register_keras_serializable(package="simprod")
class Standardize(tf.keras.layers.Layer):
    """(pixels - mean) / std, channel by channel, in float32.

    Takes RGB always: with `channels` "BGR" it reverses them first, and `mean` and
    `std` are in that order.
    """

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        channels: str = "RGB",
        **kw: object,
    ):
        super().__init__(**kw)
        if channels not in CHANNEL_ORDERS:
            raise ValueError(f"channels must be RGB or BGR, got {channels!r}.")
        self.mean, self.std, self.channels = tuple(mean), tuple(std), channels

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Maps [B, H, W, 3] RGB in [0, 255] to what the weights expect."""
        pixels = tf.cast(pixels, tf.float32)
        if self.channels == "BGR":
            pixels = tf.reverse(pixels, axis=[-1])
        pixels = pixels - self.mean
        # A pass over the pixels is worth saving.
        return pixels if set(self.std) == {1.0} else pixels / self.std

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = ("mean", "std", "channels")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def standardize_layer(preprocessing: Preprocessing) -> Standardize:
    """Returns the layer that does what `preprocessing` says of pixels' values."""
    return Standardize(
        preprocessing.mean,
        preprocessing.std,
        channels=preprocessing.channels,
        name="standardize",
    )


@tf.keras.saving.register_keras_serializable(package="simprod")
class LocalResponseNorm(tf.keras.layers.Layer):
    """Local response normalisation over five channels (Krizhevsky 2012, section 3.3).

    The values of `tf.nn.local_response_normalization`, two to three times as fast on a
    CPU: that op takes a logarithm and an exponential of each activation.
    """

    def __init__(
        self,
        bias: float = PAPER_NORM.bias,
        alpha: float = PAPER_NORM.alpha,
        **kw: object,
    ):
        super().__init__(**kw)
        norm = ResponseNorm(bias, alpha)
        self.bias, self.alpha = norm.bias, norm.alpha

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Divides [B, H, W, D], of known H and W, by their neighbouring channels."""
        if x.shape[-1] % NORM_BLOCK:
            return tf.nn.local_response_normalization(
                x, NORM_RADIUS, bias=self.bias, alpha=self.alpha, beta=0.75
            )
        # x / d ** (3 / 4), as x * r * sqrt(r) with r = 1 / sqrt(d).
        r = tf.math.rsqrt(self._divisor(tf.square(x)))
        return x * tf.reshape(r * tf.sqrt(r), tf.shape(x))

    def _divisor(self, squares: tf.Tensor) -> tf.Tensor:
        """Returns bias + alpha * (window sums), [B, H * W, D / block, block].

        Blocks of channels lie along a row, and a convolution of three blocks has the
        window's ones: dense arithmetic, linear in the number of channels.
        """
        _, height, width, depth = squares.shape
        blocks = depth // NORM_BLOCK
        rows = tf.reshape(squares, [-1, height * width, blocks, NORM_BLOCK])
        sums = tf.nn.conv2d(rows, self.alpha * _window(), 1, "SAME")
        return tf.nn.bias_add(sums, tf.fill([NORM_BLOCK], self.bias))

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "bias": self.bias, "alpha": self.alpha}


def _window() -> np.ndarray:
    """Returns [1, 3, block, block] float32: 1 where two channels are neighbours."""
    near = np.arange(3 * NORM_BLOCK) - NORM_BLOCK
    apart = np.abs(near[:, np.newaxis] - np.arange(NORM_BLOCK))
    window = (apart <= NORM_RADIUS).astype(np.float32)
    return window.reshape(1, 3, NORM_BLOCK, NORM_BLOCK)


@tf.keras.saving.register_keras_serializable(package="simprod")
class GroupedConv2D(tf.keras.layers.Layer):
    """A 3x3 or 5x5 convolution in groups of channels and ReLU, stride 1, same size out.

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
        # Bias and ReLU before joining: TensorFlow then makes one op of the three.
        parts = zip(
            tf.split(x, self.groups, axis=-1),
            tf.split(self.kernel, self.groups, axis=-1),
            tf.split(self.bias, self.groups),
        )
        out = [
            tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(part, kernel, 1, "SAME"), bias))
            for part, kernel, bias in parts
        ]
        return tf.concat(out, axis=-1)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = ("filters", "kernel_size", "groups")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
