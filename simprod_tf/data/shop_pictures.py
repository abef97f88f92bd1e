"""Sellers' pictures of the synthetic shop's products, drawn with Pillow.

What identifies a product (shape, colours, pattern, emblem) is the same in every
picture of it; camera, crop, light, background, clutter, noise and JPEG quality
belong to the offer and are strong enough to mislead a comparison of raw pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from simprod_tf.data.shop_pen import Pen, box, darker, ellipse
from simprod_tf.data.shop_products import COLOURS, RGB, Product
from simprod_tf.data.shop_shapes import draw_product

# Drawn at twice the size and averaged: Pillow's polygons have no smooth edges.
_OVERSAMPLING = 2
# Where the pieces of a pack stand: x, y, scale.
_PACK_PLACES = {
    1: ((0.0, 0.0, 1.0),),
    2: ((-0.36, -0.1, 0.72), (0.36, 0.12, 0.72)),
    3: ((0.0, -0.32, 0.58), (-0.46, 0.22, 0.58), (0.46, 0.26, 0.58)),
}


def write_picture(
    path: Path, product: Product, *, image_size: int, rng: np.random.Generator
) -> None:
    """Writes one seller's picture of `product` as a JPEG of that seller's quality."""
    picture = draw_picture(product, image_size=image_size, rng=rng)
    picture.save(path, "JPEG", quality=int(rng.integers(40, 93)))


def draw_picture(
    product: Product, *, image_size: int, rng: np.random.Generator
) -> Image.Image:
    """Returns one seller's picture of `product`, `image_size` pixels square, RGB."""
    canvas = _background(image_size * _OVERSAMPLING, rng)
    scene = Pen(canvas, _camera(canvas.width, rng))
    if rng.random() < 0.12:
        _draw_clutter(scene, rng)
    if rng.random() < 0.5:
        _draw_shadow(scene)
    # Some sellers of a pack show a single piece: only the title tells.
    shown = min(product.pack, 3) if rng.random() < 0.75 else 1
    for x, y, scale in _PACK_PLACES[shown]:
        draw_product(scene.moved(x, y, scale), product)
    if rng.random() < 0.08:
        _draw_sticker(canvas, rng)
    return _lit(canvas.reduce(_OVERSAMPLING), rng)


def _camera(width: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the [3, 3] homography from the product's square to the canvas."""
    angle = rng.normal(0, 0.16)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shear = np.array(
        [[1, rng.normal(0, 0.08), 0], [rng.normal(0, 0.05), 1, 0], [0, 0, 1]]
    )
    # Seen from the side, a thing looks narrower; 30 % of sellers mirror their pictures.
    flip = -1.0 if rng.random() < 0.3 else 1.0
    squeeze = np.diag([flip * rng.uniform(0.78, 1.0), rng.uniform(0.9, 1.0), 1])
    tilt = np.eye(3)
    tilt[2, :2] = rng.normal(0, 0.09, 2)
    # Beyond 0.5 the product is cropped by the frame.
    scale = width * rng.uniform(0.31, 0.53)
    x, y = width * (0.5 + rng.normal(0, 0.06, 2))
    place = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]])
    return np.asarray(place @ tilt @ turn @ shear @ squeeze)


def _background(width: int, rng: np.random.Generator) -> Image.Image:
    """Returns a background: mostly white, as shops ask for, else graded or textured."""
    kind = rng.random()
    if kind < 0.65:
        return Image.new("RGB", (width, width), (int(rng.integers(225, 256)),) * 3)
    if kind < 0.80:
        tiles = rng.uniform(120, 245, 3) + rng.normal(0, 25, (2, 2, 3))
    elif kind < 0.90:
        mottle = rng.normal(0, 24, (24, 24, 1)) + rng.normal(0, 9, (24, 24, 3))
        tiles = rng.uniform(90, 230, 3) + mottle
    else:
        tone = np.array([170, 120, 75]) * rng.uniform(0.5, 1.3)
        grain = rng.normal(0, 0.14, (28, 2, 1)) + rng.normal(0, 0.03, (28, 2, 1))
        tiles = tone * (1 + grain)
        if rng.random() < 0.5:
            tiles = tiles.transpose(1, 0, 2)
    small = Image.fromarray(np.clip(tiles, 0, 255).astype(np.uint8))
    return small.resize((width, width), Image.Resampling.BILINEAR)


def _draw_shadow(scene: Pen) -> None:
    """Draws a shadow in a darker shade of the floor that it falls on."""
    width = scene.canvas.width
    floor = np.asarray(scene.canvas.crop((0, width - 4, width, width))).mean((0, 1))
    red, green, blue = floor.astype(int).tolist()
    scene.fill(ellipse(0.08, 0.92, 0.85, 0.14), darker((red, green, blue), 0.75))


def _draw_clutter(scene: Pen, rng: np.random.Generator) -> None:
    """Draws one to three things that are not for sale around the product."""
    for _ in range(int(rng.integers(1, 4))):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.3)
        x, y = far * np.cos(angle), far * np.sin(angle)
        wide, tall = rng.uniform(0.15, 0.45, 2)
        thing = ellipse(x, y, wide, tall)
        if rng.random() < 0.5:
            thing = box(x - wide, y - tall, x + wide, y + tall)
        scene.fill(thing, _any_colour(rng))


def _draw_sticker(canvas: Image.Image, rng: np.random.Generator) -> None:
    """Draws a seller's round sticker into a corner."""
    half = canvas.width / 2
    pen = Pen(canvas, np.array([[half, 0, half], [0, half, half], [0, 0, 1]]))
    x, y = rng.choice([-0.72, 0.72], 2)
    pen.fill(ellipse(0, 0, 0.22, 0.22) + (x, y), _any_colour(rng))
    pen.fill(box(x - 0.13, y - 0.04, x + 0.13, y + 0.04), (255, 255, 255))


def _lit(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Returns the picture under one seller's lamp, through one seller's camera."""
    size = picture.width
    # Brightness, colour cast, and light that falls in from one side.
    cast = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3)).astype(np.float32)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    slope = rng.normal(0, 0.14, 2).astype(np.float32)
    light = 1 + slope[0] * ramp[:, None] + slope[1] * ramp[None, :]
    grain = rng.uniform(0, 12) * rng.standard_normal((size, size), dtype=np.float32)
    pixels = np.asarray(picture) * (light[:, :, None] * cast)
    pixels += grain[:, :, None]
    np.clip(pixels, 0, 255, out=pixels)
    return Image.fromarray(pixels.astype(np.uint8))


def _any_colour(rng: np.random.Generator) -> RGB:
    return list(COLOURS.values())[int(rng.integers(len(COLOURS)))]
