"""Random changes to pictures while training: crop, mirror, turn, light, erase."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

# The share of a picture that is erased, and the flattest box.
ERASED_AREA = (0.02, 0.2)
FLATTEST = 0.3


@dataclass(frozen=True)
class AugmentSettings:
    """How pictures are changed; `min_crop=1` and zeros leave them as they are.

    Attributes:
        min_crop: Share of each side that a crop keeps, at least.
        flip: Whether half of the pictures are mirrored, left to right.
        rotation_deg: A picture is turned by up to that many degrees, either way.
        light: Contrast and brightness change by at most this share.
        colour: Each channel is multiplied by 1 give or take up to this.
        erasing: Share of the pictures of which a box is painted over in one random
            colour, 2 to 20 % of the area (after Zhong et al. 2017, who fill it with
            noise, which takes longer to draw than all the rest together).
    """

    min_crop: float = 0.8
    flip: bool = True
    rotation_deg: float = 0.0
    light: float = 0.15
    colour: float = 0.1
    erasing: float = 0.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0 < self.min_crop <= 1:
            raise ValueError(f"min_crop must be in (0, 1], got {self.min_crop}.")
        for name in ("light", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be in [0, 1), got {getattr(self, name)}."
                )
        if not 0 <= self.erasing <= 1:
            raise ValueError(f"erasing must be in [0, 1], got {self.erasing}.")
        if not 0 <= self.rotation_deg <= 180:
            raise ValueError(
                f"rotation_deg must be in [0, 180], got {self.rotation_deg}."
            )


def augment_pictures(
    pixels: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings | None = None
) -> tf.Tensor:
    """Returns [B, H, W, 3] float32 in [0, 255], each picture changed on its own.

    Args:
        pixels: [B, H, W, 3] uint8, H and W known as the graph is made.
        seed: [2] integers; the same seed gives the same changes.
        settings: See there.
    """
    settings = settings or AugmentSettings()
    batch, height, width = tf.unstack(tf.shape(pixels)[:3])
    random = tf.random.stateless_uniform([17, batch], seed)
    found = _cropped(pixels, random[:4], settings)
    if settings.rotation_deg:
        found = _turned(found, math.radians(settings.rotation_deg), random[4])
    # A row of a picture as one line: TensorFlow broadcasts along short last axes at
    # a quarter of the speed.
    lines = tf.reshape(found, [batch, height, 3 * width])
    lines = _relit(lines, random[5:10], settings)
    if settings.erasing:
        lines = _erased(lines, random[10:], settings.erasing)
    return tf.ensure_shape(tf.reshape(lines, tf.shape(pixels)), pixels.shape)


def _cropped(
    pixels: tf.Tensor, random: tf.Tensor, settings: AugmentSettings
) -> tf.Tensor:
    """Returns [B, H, W, 3] float32: random parts as large as the whole, half mirrored.

    Args:
        pixels: [B, H, W, 3].
        random: [4, B] in [0, 1).
        settings: See there.
    """
    scale = settings.min_crop + (1 - settings.min_crop) * random[0]
    left, top = (1 - scale) * random[1], (1 - scale) * random[2]
    begin, end = left, left + scale
    if settings.flip:
        mirrored = random[3] < 0.5
        begin, end = tf.where(mirrored, end, begin), tf.where(mirrored, begin, end)
    boxes = tf.stack([top, begin, top + scale, end], axis=1)
    # Rounding must not reach past the border: what lies outside is black.
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    own = tf.range(tf.shape(pixels)[0])
    return tf.image.crop_and_resize(pixels, boxes, own, pixels.shape[1:3])


def _turned(found: tf.Tensor, most: float, random: tf.Tensor) -> tf.Tensor:
    """Returns [B, H, W, 3] turned by up to `most` radians; borders go on outwards.

    Args:
        found: [B, H, W, 3].
        most: Radians.
        random: [B] in [0, 1).
    """
    size = tf.shape(found)[1:3]
    middle = tf.cast(size - 1, tf.float32) / 2
    angle = most * (2 * random - 1)
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    left = middle[1] - cos * middle[1] + sin * middle[0]
    top = middle[0] - sin * middle[1] - cos * middle[0]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=found,
        transforms=tf.stack([cos, -sin, left, sin, cos, top, zero, zero], axis=1),
        output_shape=size,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _relit(lines: tf.Tensor, random: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """Returns [B, H, 3 W] with contrast, brightness and channels changed, clipped."""
    change = 2 * random - 1
    contrast, brightness = tf.unstack(1 + settings.light * change[:2])
    gains = 1 + settings.colour * tf.transpose(change[2:])
    factor = contrast[:, tf.newaxis] * gains
    offset = 127.5 * (brightness - contrast)[:, tf.newaxis] * gains
    lines = lines * _along(factor, lines) + _along(offset, lines)
    return tf.clip_by_value(lines, 0.0, 255.0)


def _erased(lines: tf.Tensor, random: tf.Tensor, share: float) -> tf.Tensor:
    """Returns [B, H, 3 W] with a box of some pictures in one colour.

    Args:
        lines: [B, H, 3 W] float32.
        random: [7, B] in [0, 1).
        share: Of the pictures.
    """
    low, high = ERASED_AREA
    side = tf.sqrt(low + (high - low) * random[0])
    stretch = tf.exp(math.log(FLATTEST) * (random[1] - 0.5))
    size = tf.shape(lines)
    rows = _between(side * stretch, random[2], size[1])
    rows = rows & (random[6] < share)[:, tf.newaxis]
    columns = tf.repeat(_between(side / stretch, random[3], size[2] // 3), 3, axis=1)
    box = rows[:, :, tf.newaxis] & columns[:, tf.newaxis]
    colour = _along(255 * tf.transpose(random[3:6]), lines)
    # Broadcast before: `where` itself does so slowly.
    return tf.where(box, tf.broadcast_to(colour, size), lines)


def _between(share: tf.Tensor, place: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Returns [B, length] bool: a stretch of that share; place 0 = first, 1 = last."""
    length = tf.cast(length, tf.float32)
    middles = (tf.range(length) + 0.5)[tf.newaxis] / length
    begin = ((1 - share) * place)[:, tf.newaxis]
    return (middles >= begin) & (middles < begin + share[:, tf.newaxis])


def _along(channels: tf.Tensor, lines: tf.Tensor) -> tf.Tensor:
    """Returns [B, 1, 3 W]: the [B, 3] values of the channels, over and over."""
    return tf.tile(channels, [1, tf.shape(lines)[2] // 3])[:, tf.newaxis]
