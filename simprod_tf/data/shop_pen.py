"""A pen that draws outlines as a camera sees them, for the synthetic shop.

Shapes live in a square from -1 to 1, x to the right and y downwards. A `Pen` maps
them with a homography, so that another camera angle costs no resampling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from simprod_tf.data.shop_products import COLOURS, RGB, Product


class Pen:
    """Draws shapes of [-1, 1] x [-1, 1] on a canvas as a camera sees them."""

    def __init__(self, canvas: Image.Image, camera: np.ndarray) -> None:
        """Keeps `canvas` to draw on, and `camera`: [3, 3] homography to pixels."""
        self.canvas = canvas
        self.camera = camera
        self._draw = ImageDraw.Draw(canvas)
        self._unit = float(np.sqrt(abs(np.linalg.det(camera[:2, :2]))))

    def moved(self, x: float, y: float, scale: float) -> Pen:
        """Returns a pen for the same canvas whose shapes land shifted and scaled."""
        step = np.array([[scale, 0, x], [0, scale, y], [0, 0, 1]])
        return Pen(self.canvas, self.camera @ step)

    def fill(self, shape: np.ndarray, colour: RGB) -> None:
        """Fills one outline, [K, 2]."""
        self._draw.polygon(self._pixels(shape), fill=colour)

    def line(self, shape: np.ndarray, colour: RGB, *, thick: float) -> None:
        """Draws an open line through [K, 2] points, `thick` in units of the square."""
        width = max(1, round(thick * self._unit))
        self._draw.line(self._pixels(shape), fill=colour, width=width, joint="curve")

    def body(self, shapes: Sequence[np.ndarray], product: Product) -> None:
        """Fills outlines with the product's colour and pattern, edged a bit darker."""
        colour = COLOURS[product.colour]
        cloth = Image.new("RGB", self.canvas.size, colour)
        mask = Image.new("L", self.canvas.size)
        on_cloth, on_mask = ImageDraw.Draw(cloth), ImageDraw.Draw(mask)
        accent = COLOURS[product.accent]
        patches = _pattern(product.pattern, product.pattern_step)
        corners = self._seen(patches).reshape(len(patches), 2 * patches.shape[1])
        for patch in corners.tolist():
            on_cloth.polygon(patch, fill=accent)
        for shape in shapes:
            on_mask.polygon(self._pixels(shape), fill=255)
        self.canvas.paste(cloth, (0, 0), mask)
        for shape in shapes:
            self.line(np.vstack([shape, shape[:1]]), darker(colour), thick=0.025)

    def emblem(self, product: Product, *, x: float, y: float, size: float) -> None:
        """Draws the brand's emblem on a plate, so that no pattern swallows it."""
        colour = COLOURS[product.emblem_colour]
        light = sum(colour) > 380
        plate = (30, 30, 34) if light else (250, 250, 246)
        self.fill(ellipse(x, y, size * 1.25, size * 1.25), plate)
        # 3 to 8 points, each pointed, blunt or (inner radius 1) a plain polygon.
        points, inner = 3 + product.emblem % 6, (0.35, 0.6, 1.0)[product.emblem // 6]
        self.fill(star(x, y, size, points=points, inner=inner), colour)

    def _pixels(self, shape: np.ndarray) -> list[float]:
        pixels: list[float] = self._seen(shape).ravel().tolist()
        return pixels

    def _seen(self, points: np.ndarray) -> np.ndarray:
        """Returns where the camera sees points, both [..., 2]."""
        seen = points @ self.camera[:, :2].T + self.camera[:, 2]
        return np.asarray(seen[..., :2] / seen[..., 2:])


def darker(colour: RGB, by: float = 0.62) -> RGB:
    """Returns the colour in the shade."""
    red, green, blue = colour
    return int(red * by), int(green * by), int(blue * by)


@functools.lru_cache(maxsize=4096)
def ellipse(
    x: float, y: float, wide: float, tall: float, start: float = 0, stop: float = 360
) -> np.ndarray:
    """Returns [25, 2] points of an arc, degrees clockwise from the right."""
    angle = np.radians(np.linspace(start, stop, 25))
    return np.stack([x + wide * np.cos(angle), y + tall * np.sin(angle)], 1)


def star(x: float, y: float, size: float, *, points: int, inner: float) -> np.ndarray:
    """Returns [2 * points, 2] corners, one tip upwards."""
    angle = np.arange(2 * points) * np.pi / points - np.pi / 2
    radius = size * np.where(np.arange(2 * points) % 2, inner, 1.0)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Returns the [4, 2] corners of an upright rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def turned(profile: Sequence[tuple[float, float]], wide: float) -> np.ndarray:
    """Returns the [48, 2] outline of a lathe's work on (y, half width) points."""
    y, half = np.array(profile).T
    steps = np.linspace(0, len(y) - 1, 24)
    lower = np.minimum(steps.astype(int), len(y) - 2)
    part = (1 - np.cos(np.pi * (steps - lower))) / 2
    height = y[lower] + (steps - lower) * (y[lower + 1] - y[lower])
    width = wide * (half[lower] + part * (half[lower + 1] - half[lower]))
    right = np.stack([width, height], 1)
    return np.vstack([right, right[::-1] * (-1, 1)])


@functools.lru_cache(maxsize=64)
def _pattern(name: str, step: float) -> np.ndarray:
    """Returns the accent-coloured patches of a pattern, [patches, K, 2]."""
    grid = np.arange(-1.2, 1.2, 2 * step)
    if name == "plain":
        return np.empty((0, 3, 2))
    if name == "band":
        return box(-1.4, 0.32 - step, 1.4, 0.32 + step)[None]
    if name in _STRIPES:
        patch, (across, down) = _STRIPES[name](step)
        return patch + np.stack([across * grid, down * grid], 1)[:, None]
    corners = np.array([(x, y) for y in grid for x in grid])
    if name == "dots":
        odd_row = np.arange(len(corners)) // len(grid) % 2
        corners[:, 0] += odd_row * step
    if name == "checks":
        corners = np.vstack([corners, corners + step])
    return _TILES[name](step) + corners[:, None]


def _zigzag(step: float) -> np.ndarray:
    x = np.arange(-1.4, 1.4, step)
    top = np.stack([x, np.where(np.arange(len(x)) % 2, step, 0.0)], 1)
    return np.vstack([top, top[::-1] + (0, 0.8 * step)])


# One stripe of each kind, and the way in which it is repeated.
_STRIPES: dict[str, Callable[[float], tuple[np.ndarray, tuple[float, float]]]] = {
    "stripes": lambda step: (box(-1.4, 0, 1.4, step), (0, 1)),
    "columns": lambda step: (box(0, -1.4, step, 1.4), (1, 0)),
    "diagonal": lambda step: (
        box(0, -1.4, step, 1.4) + np.array([[1.3, 0], [1.3, 0], [-1.3, 0], [-1.3, 0]]),
        (1.6, 0),
    ),
    "zigzag": lambda step: (_zigzag(step), (0, 1)),
}
_TILES: dict[str, Callable[[float], np.ndarray]] = {
    "dots": lambda step: ellipse(0, 0, step * 0.6, step * 0.6)[::3],
    "checks": lambda step: box(0, 0, step, step),
    "triangles": lambda step: step * np.array([[0, 0], [1.4, 0], [0.7, 1.3]]),
}
