"""Sellers' titles of the synthetic shop's products, from a small grammar.

Near-misses share brand, model and the words for their family; what tells them apart
(colour, size, pack count) is spelt differently by every seller, or left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simprod_tf.data.shop_products import FAMILIES, Product

_FAMILY_WORDS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "cup", "coffee mug", "tea cup"),
    "bottle": ("bottle", "water bottle", "drinking bottle", "flask"),
    "vase": ("vase", "flower vase", "decorative vase"),
    "lamp": ("lamp", "table lamp", "bedside light", "desk lamp"),
    "bag": ("bag", "tote", "shoulder bag", "handbag"),
    "shirt": ("shirt", "top", "tee", "jersey"),
    "shoe": ("shoe", "shoes", "trainers", "sneaker"),
    "chair": ("chair", "dining chair", "kitchen chair", "seat"),
    "watch": ("watch", "wristwatch", "quartz watch"),
    "cushion": ("cushion", "pillow", "throw pillow", "sofa cushion"),
}
_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "mustard", "lemon"),
    "green": ("green", "emerald", "grass green"),
    "olive": ("olive", "khaki", "moss green"),
    "turquoise": ("turquoise", "teal", "aqua"),
    "light blue": ("light blue", "sky blue", "azure"),
    "navy": ("navy", "dark blue", "midnight"),
    "purple": ("purple", "violet", "plum"),
    "pink": ("pink", "rose", "blush"),
    "brown": ("brown", "chocolate", "chestnut"),
    "beige": ("beige", "sand", "cream"),
    "grey": ("grey", "gray", "slate"),
    "black": ("black", "jet black", "blk"),
    "white": ("white", "ivory", "snow"),
}
_PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "stripes": ("striped", "with stripes"),
    "columns": ("striped", "pinstripe"),
    "diagonal": ("diagonal stripe", "striped"),
    "dots": ("dotted", "polka dot", "spots"),
    "checks": ("checked", "chequered", "plaid"),
    "zigzag": ("zigzag", "chevron"),
    "triangles": ("geometric", "triangle print"),
}
_MATERIAL_WORDS: dict[str, tuple[str, ...]] = {
    "ceramic": ("ceramic", "stoneware", "porcelain"),
    "steel": ("steel", "stainless steel", "inox"),
    "glass": ("glass", "clear glass"),
    "cotton": ("cotton", "100% cotton"),
    "leather": ("leather", "genuine leather"),
    "oak": ("oak", "solid wood"),
}
_LETTER_SIZES = (
    ("XS", "x-small", "extra small"),
    ("S", "small", "size S"),
    ("M", "medium", "size M"),
    ("L", "large", "size L"),
    ("XL", "x-large", "extra large"),
)
_NOISE = (
    "NEW",
    "free shipping",
    "SALE",
    "best price",
    "original",
    "top quality",
    "gift idea",
    "fast delivery",
    "in stock",
    "hot deal",
    "2024",
    "bargain",
)
_KEYS = "abcdefghijklmnopqrstuvwxyz"


def write_title(product: Product, *, rng: np.random.Generator) -> str:
    """Returns one seller's title of `product`: at least the family or the brand."""
    head = [_said(product.brand, 0.92, rng), _said(_model(product, rng), 0.88, rng)]
    family = _one_of(_FAMILY_WORDS[product.family], rng)
    details = [
        _said(_one_of(_COLOUR_WORDS[product.colour], rng), 0.93, rng),
        _said(_size(product, rng), 0.93, rng),
        _said(_pack(product.pack, rng), 0.95, rng),
        _said(_material(product, rng), 0.4, rng),
        _said(_pattern(product, rng), 0.3, rng),
    ]
    rng.shuffle(details)
    # Sellers differ in where they put the thing itself: before or after its details.
    place = int(rng.integers(len(details) + 1))
    parts = [*head, *details[:place], family, *details[place:]]
    if rng.random() < 0.2:
        parts = [*parts[2:], *head]
    for _ in range(int(rng.choice(3, p=(0.55, 0.3, 0.15)))):
        parts.insert(int(rng.integers(2)) * len(parts), _one_of(_NOISE, rng))
    words = [_typed(word, rng) for word in " ".join(filter(None, parts)).split()]
    return _in_case(" ".join(words), rng)


def _said(words: str, share: float, rng: np.random.Generator) -> str:
    """Returns `words`, or nothing for the sellers who leave them out."""
    return words if rng.random() < share else ""


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """Returns one of `choices`, the first one most often."""
    return choices[int(len(choices) * rng.random() ** 2)]


def _model(product: Product, rng: np.random.Generator) -> str:
    name, number = product.model.split()
    return _one_of(
        (f"{name} {number}", f"{name}-{number}", name, f"{name}{number}"), rng
    )


def _size(product: Product, rng: np.random.Generator) -> str:
    unit = FAMILIES[product.family].unit
    if unit == "letter":
        return _one_of(_LETTER_SIZES[product.size_rank], rng)
    return _one_of(_SPELLINGS[unit](product.size), rng)


def _pack(pack: int, rng: np.random.Generator) -> str:
    if pack == 1:
        return ""
    return _one_of((f"set of {pack}", f"{pack} pack", f"{pack}x", f"{pack} pcs"), rng)


def _material(product: Product, rng: np.random.Generator) -> str:
    return _one_of(_MATERIAL_WORDS.get(product.material, (product.material,)), rng)


def _pattern(product: Product, rng: np.random.Generator) -> str:
    return _one_of(_PATTERN_WORDS.get(product.pattern, ("",)), rng)


def _typed(word: str, rng: np.random.Generator) -> str:
    """Returns `word` as typed: 4 % of longer words have a letter lost or mistaken."""
    if len(word) < 4 or not word.isalpha() or rng.random() > 0.04:
        return word
    place = int(rng.integers(1, len(word) - 1))
    kind = rng.random()
    if kind < 0.4:
        return word[:place] + word[place + 1 :]
    if kind < 0.7:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + _KEYS[int(rng.integers(len(_KEYS)))] + word[place + 1 :]


def _in_case(title: str, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.2:
        return title.lower()
    if kind < 0.3:
        return title.upper()
    return title[:1].upper() + title[1:]


_SPELLINGS: dict[str, Callable[[float], tuple[str, ...]]] = {
    "ml": lambda size: (
        f"{size:g} ml",
        f"{size:g}ml",
        f"{size / 1000:g} l",
        f"{size / 10:g} cl",
    ),
    "cm": lambda size: (
        f"{size:g} cm",
        f"{size:g}cm",
        f"{size * 10:g} mm",
        f"{size / 2.54:.0f} inch",
    ),
    "mm": lambda size: (f"{size:g} mm", f"{size:g}mm", f"{size / 10:g} cm"),
    "l": lambda size: (
        f"{size:g} l",
        f"{size:g}L",
        f"{size:g} litre",
        f"{size:g} liters",
    ),
    "eu": lambda size: (f"EU {size:g}", f"size {size:g}", f"{size:g}", f"EU{size:g}"),
}
