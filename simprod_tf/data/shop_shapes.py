"""Outlines of the synthetic shop's products, drawn through a camera.

Shapes live in a square from -1 to 1, x to the right and y downwards. A `Pen` maps
them with a homography, so that another camera angle costs no resampling.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from simprod_tf.data.shop_products import COLOURS, FAMILIES, RGB, Product


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
        for patch in _pattern(product.pattern, product.pattern_step):
            on_cloth.polygon(self._pixels(patch), fill=COLOURS[product.accent])
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
        seen = shape @ self.camera[:, :2].T + self.camera[:, 2]
        pixels: list[float] = (seen[:, :2] / seen[:, 2:]).ravel().tolist()
        return pixels


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
    """Returns [48, 2]: the outline of what a lathe makes from (y, half width) points."""
    y, half = np.array(profile).T
    steps = np.linspace(0, len(y) - 1, 24)
    lower = np.minimum(steps.astype(int), len(y) - 2)
    part = (1 - np.cos(np.pi * (steps - lower))) / 2
    height = y[lower] + (steps - lower) * (y[lower + 1] - y[lower])
    width = wide * (half[lower] + part * (half[lower + 1] - half[lower]))
    right = np.stack([width, height], 1)
    return np.vstack([right, right[::-1] * (-1, 1)])


@functools.lru_cache(maxsize=64)
def _pattern(name: str, step: float) -> tuple[np.ndarray, ...]:
    """Returns the accent-coloured patches of a pattern, each [K, 2]."""
    grid = np.arange(-1.2, 1.2, 2 * step)
    cells = [(x, y) for y in grid for x in grid]
    if name == "stripes":
        return tuple(box(-1.4, y, 1.4, y + step) for y in grid)
    if name == "columns":
        return tuple(box(x, -1.4, x + step, 1.4) for x in grid)
    if name == "diagonal":
        slant = np.array(
            [[1.3, -1.4], [1.3 + step, -1.4], [step - 1.3, 1.4], [-1.3, 1.4]]
        )
        return tuple(slant + (1.6 * x, 0) for x in grid)
    if name == "dots":
        return tuple(
            ellipse(x + (row % 2) * step, y, step * 0.6, step * 0.6)[::3]
            for row, y in enumerate(grid)
            for x in grid
        )
    if name == "checks":
        squares = [box(x, y, x + step, y + step) for x, y in cells]
        return tuple(squares + [square + step for square in squares])
    if name == "zigzag":
        x = np.arange(-1.4, 1.4, step)
        teeth = np.where(np.arange(len(x)) % 2, step, 0.0)
        top = np.stack([x, teeth], 1)
        wave = np.vstack([top, top[::-1] + (0, 0.8 * step)])
        return tuple(wave + (0, y) for y in grid)
    if name == "band":
        return (box(-1.4, 0.32 - step, 1.4, 0.32 + step),)
    if name == "triangles":
        return tuple(
            np.array([[x, y], [x + 1.4 * step, y], [x + 0.7 * step, y + 1.3 * step]])
            for x, y in cells
        )
    return ()


def draw_product(pen: Pen, product: Product) -> None:
    """Draws one piece of the product: family, shape, colours, pattern, emblem."""
    # A larger size looks a little stouter: visible, but less than a change of angle.
    rank = product.size_rank / len(FAMILIES[product.family].sizes)
    _DRAWINGS[product.family](pen, product, product.wide * (0.9 + 0.2 * rank))


def _mug(pen: Pen, product: Product, wide: float) -> None:
    profile = (
        ((-0.7, 0.55), (0.7, 0.55)),
        ((-0.7, 0.68), (0.7, 0.42)),
        ((-0.7, 0.48), (0.0, 0.66), (0.7, 0.48)),
        ((-0.7, 0.66), (-0.2, 0.46), (0.7, 0.56)),
    )[product.shape]
    colour = darker(COLOURS[product.colour], 0.85)
    edge = wide * 0.5
    handle = ellipse(edge, 0.0, 0.4, 0.4, -90, 90)
    if product.shape % 2:
        handle = np.array(
            [[edge, -0.4], [edge + 0.36, -0.4], [edge + 0.3, 0.4], [edge, 0.4]]
        )
    pen.line(handle, colour, thick=0.15)
    pen.body([turned(profile, wide)], product)
    rim = profile[0][1] * wide
    pen.fill(ellipse(0, -0.7, rim, 0.12), darker(COLOURS[product.colour], 0.5))
    pen.emblem(product, x=0, y=0.05, size=0.2)


def _bottle(pen: Pen, product: Product, wide: float) -> None:
    body, neck = 0.34 * wide, (0.13, 0.2, 0.3, 0.1)[product.shape]
    shoulder = (-0.35, -0.5, -0.55, -0.1)[product.shape]
    profile = ((-0.72, neck), (shoulder, body), (0.9, body), (0.95, body * 0.9))
    pen.fill(box(-neck - 0.03, -0.95, neck + 0.03, -0.7), COLOURS[product.accent])
    pen.body([turned(profile, 1.0)], product)
    if product.shape == 2:
        pen.line(ellipse(0, -0.95, 0.2, 0.14, 180, 360), (60, 60, 64), thick=0.06)
    pen.emblem(product, x=0, y=0.2, size=0.17)


def _vase(pen: Pen, product: Product, wide: float) -> None:
    profile = (
        ((-0.9, 0.3), (-0.55, 0.18), (0.2, 0.6), (0.9, 0.28)),
        ((-0.9, 0.5), (-0.3, 0.22), (0.5, 0.3), (0.9, 0.5)),
        ((-0.7, 0.2), (-0.4, 0.22), (0.1, 0.68), (0.7, 0.4)),
        ((-0.9, 0.42), (0.9, 0.2)),
    )[product.shape]
    pen.body([turned(profile, wide)], product)
    mouth = profile[0][1] * wide
    pen.fill(
        ellipse(0, profile[0][0], mouth, 0.07), darker(COLOURS[product.accent], 0.5)
    )
    pen.emblem(product, x=0, y=0.3, size=0.14)


def _lamp(pen: Pen, product: Product, wide: float) -> None:
    metal = darker(COLOURS[product.accent], 0.8)
    pen.line(np.array([[0, 0.0], [0, 0.85]]), metal, thick=0.09)
    if product.shape == 1:
        pen.fill(ellipse(0, 0.55, 0.28, 0.32), metal)
    foot = (
        box(-0.38, 0.82, 0.38, 0.93)
        if product.shape % 2
        else ellipse(0, 0.87, 0.42, 0.1)
    )
    pen.fill(foot, metal)
    profile = (
        ((-0.9, 0.36), (0.1, 0.72)),
        ((-0.85, 0.55), (0.05, 0.55)),
        ((-0.8, 0.05), (-0.62, 0.42), (0.05, 0.75)),
        ((-0.9, 0.12), (0.1, 0.66)),
    )[product.shape]
    pen.body([turned(profile, wide)], product)
    pen.emblem(product, x=0, y=-0.2, size=0.14)


def _bag(pen: Pen, product: Product, wide: float) -> None:
    strap = darker(COLOURS[product.accent], 0.75)
    half = 0.66 * wide
    reach = (0.36, 0.3, 0.52, 0.2)[product.shape]
    pen.line(ellipse(0, -0.42, reach, 0.5, 180, 360), strap, thick=0.09)
    outline = (
        turned(((-0.45, 0.5), (-0.3, 0.66), (0.7, 0.66), (0.82, 0.55)), wide),
        turned(((-0.5, 0.3), (-0.2, 0.52), (0.85, 0.6)), wide),
        box(-half, -0.35, half, 0.65),
        turned(((-0.45, 0.42), (0.8, 0.75)), wide),
    )[product.shape]
    pen.body([outline], product)
    if product.shape in (0, 1):
        pen.fill(box(-half * 0.6, 0.25, half * 0.6, 0.68), strap)
    else:
        pen.fill(np.array([[-half, -0.35], [half, -0.35], [0, 0.1]]), strap)
    pen.emblem(product, x=0, y=-0.05 if product.shape < 2 else 0.38, size=0.15)


def _shirt(pen: Pen, product: Product, wide: float) -> None:
    long_sleeves = product.shape % 2
    cuff, drop = (0.95, 0.55) if long_sleeves else (0.92, 0.0)
    half = 0.5 * wide
    right = [
        (0.2, -0.75),
        (half, -0.66),
        (cuff, drop - 0.08),
        (cuff - 0.24, drop + 0.06),
        (half, -0.22),
        (half * (1.1 if product.shape > 1 else 0.95), 0.85),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    pen.body([np.array(right + left)], product)
    collar = COLOURS[product.accent]
    if product.shape < 2:
        pen.fill(ellipse(0, -0.75, 0.2, 0.17, 0, 180), darker(collar))
    else:
        pen.fill(np.array([[-0.24, -0.77], [0.24, -0.77], [0, -0.35]]), darker(collar))
        pen.line(np.array([[0, -0.35], [0, 0.1]]), darker(collar), thick=0.05)
    pen.emblem(product, x=0.24 * wide, y=-0.2, size=0.12)


def _shoe(pen: Pen, product: Product, wide: float) -> None:
    top = (-0.15, -0.55, -0.3, -0.05)[product.shape]
    toe = (0.95, 0.9, 1.0, 0.92)[product.shape]
    outline = np.array(
        [
            (-0.85, top),
            (-0.35, top),
            (-0.1, 0.02),
            (0.45, 0.12),
            (0.8, 0.2),
            (toe, 0.42),
        ]
        + [(-0.85, 0.42)]
    )
    heel = 0.3 if product.shape == 3 else 0.0
    sole = box(-0.9, 0.4, toe + 0.02, 0.54 + 0.03 * product.shape)
    if heel:
        sole = np.vstack(
            [sole[:3], [(-0.3, 0.62), (-0.35, 0.62 + heel), (-0.9, 0.62 + heel)]]
        )
    stretch = np.array([1.0, 0.75 + 0.35 * wide])
    pen.body([outline * stretch], product)
    pen.fill(sole * stretch, COLOURS[product.accent])
    for step in range(3):
        x, y = -0.28 + 0.17 * step, top * 0.4 - 0.02 + 0.07 * step
        pen.line(
            np.array([[x, y], [x + 0.14, y - 0.1]]) * stretch,
            (240, 240, 236),
            thick=0.05,
        )
    pen.emblem(product, x=-0.58, y=0.15, size=0.13)


def _chair(pen: Pen, product: Product, wide: float) -> None:
    wood, half = darker(COLOURS[product.accent], 0.8), 0.46 * wide
    spread = (0.05, 0.18, -0.05, 0.12)[product.shape]
    for side in (-1, 1):
        legs = np.array(
            [[side * (half - 0.06), 0.2], [side * (half - 0.06 + spread), 0.95]]
        )
        pen.line(legs, wood, thick=0.09)
        pen.line(legs * (0.6, 0.88), darker(wood), thick=0.07)
    back = (
        box(-half, -0.9, half, -0.05),
        ellipse(0, -0.45, half, 0.48),
        turned(((-0.9, 0.26), (-0.05, 0.46)), wide),
        box(-half, -0.9, half, -0.45),
    )[product.shape]
    for side in (-1, 1):
        pen.line(
            np.array([[side * half * 0.8, -0.5], [side * half * 0.8, 0.2]]),
            wood,
            thick=0.08,
        )
    seat = np.array(
        [[-half, 0.02], [half, 0.02], [half + 0.12, 0.26], [-half - 0.12, 0.26]]
    )
    pen.body([back, seat], product)
    pen.emblem(product, x=0, y=-0.62, size=0.13)


def _watch(pen: Pen, product: Product, wide: float) -> None:
    strap = 0.2 + 0.06 * (product.shape % 2)
    pen.body([box(-strap, -0.97, strap, -0.3), box(-strap, 0.3, strap, 0.97)], product)
    metal, size = darker(COLOURS[product.accent], 0.9), 0.5 * wide
    case = ellipse(0, 0, size, size)
    face = ellipse(0, 0, size * 0.82, size * 0.82)
    if product.shape > 1:
        case = box(-size * 0.9, -size, size * 0.9, size)
        face = case * 0.82
    pen.fill(box(size * 0.8, -0.06, size + 0.1, 0.06), darker(metal))
    pen.fill(case, metal)
    pen.fill(face, (246, 245, 240) if product.emblem % 2 else (28, 30, 40))
    hands = np.array([[0.16, -0.2], [0.0, 0.0], [-0.2, -0.06]]) * wide
    pen.line(hands, (200, 60, 50), thick=0.05)
    pen.emblem(product, x=0, y=0.2, size=0.1)


def _cushion(pen: Pen, product: Product, wide: float) -> None:
    half = 0.8 * wide
    outline = (
        np.array([[-half, -0.8], [0, -0.68], [half, -0.8], [half * 0.88, 0]])
        if product.shape == 0
        else np.empty((0, 2))
    )
    if product.shape == 0:
        outline = np.vstack([outline, -outline])
    elif product.shape == 1:
        outline = ellipse(0, 0, half, 0.8)
    elif product.shape == 2:
        outline = box(-half, -0.52, half, 0.52)
    else:
        outline = star(0, 0, 0.95 * wide, points=8, inner=0.86)
    pen.body([outline], product)
    pen.line(np.vstack([outline, outline[:1]]), COLOURS[product.accent], thick=0.06)
    pen.emblem(product, x=0, y=0, size=0.2)


_DRAWINGS: dict[str, Callable[[Pen, Product, float], None]] = {
    "mug": _mug,
    "bottle": _bottle,
    "vase": _vase,
    "lamp": _lamp,
    "bag": _bag,
    "shirt": _shirt,
    "shoe": _shoe,
    "chair": _chair,
    "watch": _watch,
    "cushion": _cushion,
}
