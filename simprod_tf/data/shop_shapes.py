"""The drawings of the synthetic shop's products, one function a family.

Each family comes in four shapes; `Product.wide` stretches them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simprod_tf.data.shop_pen import Pen, box, darker, ellipse, star, turned
from simprod_tf.data.shop_products import COLOURS, FAMILIES, Product


def draw_product(pen: Pen, product: Product) -> None:
    """Draws one piece of the product: family, shape, colours, pattern, emblem."""
    # A larger size looks a little stouter: visible, but less than a change of angle.
    rank = product.size_rank / len(FAMILIES[product.family].sizes)
    _DRAWINGS[product.family](pen, product, product.wide * (0.85 + 0.3 * rank))


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
    top = np.array([[-half, -0.8], [0, -0.68], [half, -0.8], [half * 0.88, 0]])
    outline = (
        np.vstack([top, -top]),
        ellipse(0, 0, half, 0.8),
        box(-half, -0.52, half, 0.52),
        star(0, 0, 0.95 * wide, points=8, inner=0.86),
    )[product.shape]
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
