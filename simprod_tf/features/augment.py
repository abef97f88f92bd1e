"""Random changes to pictures while training: crop, mirror, light."""

from __future__ import annotations

import tensorflow as tf

# Share of each side that a crop keeps, at least.
MIN_CROP = 0.8
# Contrast and brightness change by at most this share.
MAX_LIGHT = 0.15


def augment_pictures(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns [B, H, W, 3] float32 in [0, 255], each picture changed on its own.

    A random part of the picture is resized to the whole, half of them mirrored, and
    contrast and brightness changed.

    Args:
        pixels: [B, H, W, 3] uint8.
        seed: [2] integers; the same seed gives the same changes.
    """
    batch, height, width = tf.unstack(tf.shape(pixels)[:3])
    random = tf.random.stateless_uniform([6, batch], seed)
    scale = MIN_CROP + (1 - MIN_CROP) * random[0]
    mirrored = tf.where(random[3] < 0.5, -1.0, 1.0)
    wide, tall = tf.cast(width - 1, tf.float32), tf.cast(height - 1, tf.float32)
    # Output (x, y) shows input (a x + left, scale y + top), inside the picture.
    left = (1 - scale) * random[1] * wide + tf.where(mirrored < 0, scale * wide, 0.0)
    top = (1 - scale) * random[2] * tall
    zero = tf.zeros_like(scale)
    transforms = tf.stack(
        [mirrored * scale, zero, left, zero, scale, top, zero, zero], axis=1
    )
    found = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pixels, tf.float32),
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    change = 1 + MAX_LIGHT * (2 * random[4:, :, tf.newaxis, tf.newaxis, tf.newaxis] - 1)
    found = (found - 127.5) * change[0] + 127.5 * change[1]
    return tf.ensure_shape(tf.clip_by_value(found, 0.0, 255.0), pixels.shape)
