"""Picture bytes -> pixels: one function, in training and inside the exported graph.

Documented behaviour: JPEG (CMYK too), PNG, GIF (its first frame) and BMP are read;
greyscale becomes RGB; transparency is laid on white; EXIF orientation is not applied.
An empty string is a missing picture; other bytes that cannot be decoded are an error
of the op, which names the format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

PNG_START = b"\x89PNG"


@dataclass(frozen=True)
class PictureSettings:
    """How a picture becomes the square that the image tower sees, in pixels.

    It is resized (antialiased, not keeping its aspect) to `resize_to` x `resize_to`,
    of which the middle `image_size` x `image_size` is kept.
    """

    image_size: int = 64
    resize_to: int = 64

    def __post_init__(self) -> None:
        """Checks that the middle fits."""
        if not 1 <= self.image_size <= self.resize_to:
            raise ValueError(
                f"image_size must be between 1 and resize_to ({self.resize_to}), "
                f"got {self.image_size}."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self)


def decode_picture(image_bytes: tf.Tensor, settings: PictureSettings) -> tf.Tensor:
    """Returns [image_size, image_size, 3] uint8 RGB of one picture's bytes."""
    is_png = tf.equal(tf.strings.substr(image_bytes, 0, len(PNG_START)), PNG_START)
    pixels = tf.cond(
        is_png,
        lambda: _on_white(tf.io.decode_png(image_bytes, channels=4)),
        lambda: tf.cast(
            # Without expand_animations=False a GIF has four dimensions.
            tf.io.decode_image(image_bytes, channels=3, expand_animations=False),
            tf.float32,
        ),
    )
    pixels.set_shape([None, None, 3])
    size = settings.resize_to
    pixels = tf.image.resize(pixels, [size, size], antialias=True)
    edge = (size - settings.image_size) // 2
    pixels = tf.image.crop_to_bounding_box(
        pixels, edge, edge, settings.image_size, settings.image_size
    )
    # Whole numbers, so that pixels kept on disk and fresh ones are the same.
    return tf.saturate_cast(tf.round(pixels), tf.uint8)


def decode_pictures(
    image_bytes: tf.Tensor, settings: PictureSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a [B] batch of picture bytes, "" where there is none.

    Returns:
        pixels: [B, image_size, image_size, 3] uint8, zeros where there is no picture.
        has_image: [B] bool.
    """
    shape = [settings.image_size, settings.image_size, 3]
    has_image = tf.strings.length(image_bytes) > 0

    def pixels_or_zeros(one: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            tf.strings.length(one) > 0,
            lambda: decode_picture(one, settings),
            lambda: tf.zeros(shape, tf.uint8),
        )

    pixels = tf.map_fn(
        pixels_or_zeros,
        image_bytes,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
    )
    return pixels, has_image


def read_pictures(paths: Sequence[str]) -> list[bytes]:
    """Returns the bytes of each picture file; b"" for the path ""."""
    contents = []
    for path in paths:
        if not path:
            contents.append(b"")
            continue
        with open(path, "rb") as file:
            contents.append(file.read())
    return contents


def _on_white(rgba: tf.Tensor) -> tf.Tensor:
    """Returns [H, W, 3] float32 in [0, 255] of [H, W, 4] uint8, laid on white."""
    alpha = tf.cast(rgba[..., 3:], tf.float32) / 255.0
    return tf.cast(rgba[..., :3], tf.float32) * alpha + 255.0 * (1.0 - alpha)
