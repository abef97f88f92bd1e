"""What the synthetic shop sells: families, lines of near-misses, products, offers.

A line is one brand's model; its products differ only in colour, size or pack count
and are near-misses of each other. A product (a `group` of the catalogue) is offered
by one to six sellers; each offer is one row of the catalogue, with its own `id`.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RGB = tuple[int, int, int]

COLOURS: dict[str, RGB] = {
    "red": (200, 38, 42),
    "orange": (238, 128, 32),
    "yellow": (240, 205, 60),
    "green": (58, 150, 70),
    "olive": (120, 122, 50),
    "turquoise": (54, 182, 176),
    "light blue": (132, 186, 232),
    "navy": (30, 44, 104),
    "purple": (124, 62, 150),
    "pink": (236, 140, 172),
    "brown": (118, 76, 46),
    "beige": (214, 194, 160),
    "grey": (136, 138, 142),
    "black": (34, 34, 38),
    "white": (244, 243, 238),
}
PATTERNS = (
    "plain",
    "stripes",
    "columns",
    "diagonal",
    "dots",
    "checks",
    "zigzag",
    "band",
    "triangles",
)
NUM_SHAPES = 4
NUM_EMBLEMS = 18
# Share of products with 1, 2, ... 6 offers: about three on average.
_OFFER_SHARES = (0.10, 0.26, 0.29, 0.20, 0.10, 0.05)
# Share of lines with 1, 2, ... 6 products.
_LINE_SHARES = (0.08, 0.20, 0.27, 0.22, 0.13, 0.10)
_OFFERS_PER_LINE = 9
_STARTS = "bra cor del fen gal hal jor kel lum mar nor pel quin ros sil tam vel wen zan"
_MIDDLES = "a e i o u an el in or al"
_ENDS = "da ka lo ma nix ra ro sen ta tek vo via"
_MODELS = (
    "Aster Beacon Breeze Canyon Cedar Comet Coral Dune Ember Fjord Grove Harbor Indigo "
    "Juniper Kestrel Lagoon Maple Meadow Nimbus Onyx Opal Orbit Pebble Pine Quartz "
    "Raven Ridge River Sable Sierra Solstice Sparrow Summit Tempo Tundra Vista Willow "
    "Zephyr"
).split()


@dataclass(frozen=True)
class Family:
    """One kind of product: the sizes, packs and materials that it comes in."""

    sizes: tuple[float, ...]
    unit: str
    packs: tuple[int, ...]
    materials: tuple[str, ...]
    price: float
    complement: str


FAMILIES: dict[str, Family] = {
    "mug": Family(
        (250, 300, 350, 450, 500), "ml", (2, 4, 6), ("ceramic", "enamel"), 9, "lamp"
    ),
    "bottle": Family(
        (350, 500, 750, 1000, 1500), "ml", (2, 3), ("steel", "glass"), 18, "bag"
    ),
    "vase": Family(
        (15, 20, 25, 30, 40), "cm", (2,), ("ceramic", "glass"), 24, "cushion"
    ),
    "lamp": Family((28, 35, 45, 60), "cm", (2,), ("linen", "metal"), 45, "chair"),
    "bag": Family((8, 12, 18, 25, 35), "l", (), ("canvas", "leather"), 52, "bottle"),
    "shirt": Family((0, 1, 2, 3, 4), "letter", (2, 3), ("cotton", "linen"), 21, "shoe"),
    "shoe": Family(
        (37, 38, 39, 40, 41, 42, 43, 44), "eu", (), ("leather", "mesh"), 70, "shirt"
    ),
    "chair": Family((42, 46, 50, 65), "cm", (2, 4), ("oak", "plastic"), 95, "vase"),
    "watch": Family((34, 38, 40, 42, 44), "mm", (), ("steel", "leather"), 130, "shirt"),
    "cushion": Family(
        (35, 40, 45, 50, 60), "cm", (2, 4), ("cotton", "velvet"), 16, "mug"
    ),
}


@dataclass(frozen=True)
class Product:
    """One concrete product: what every offer of it has in common."""

    group: str
    line: int
    family: str
    brand: str
    model: str
    colour: str
    size_rank: int
    pack: int
    material: str
    accent: str
    shape: int
    wide: float
    pattern: str
    pattern_step: float
    emblem: int
    emblem_colour: str
    price: float

    @property
    def size(self) -> float:
        """The size in the unit of its family."""
        return FAMILIES[self.family].sizes[self.size_rank]


@dataclass(frozen=True)
class Offer:
    """One seller's row of the catalogue; `number` seeds its picture and title."""

    id: str
    number: int
    product: Product


def stream(seed: int, name: str, number: int = 0) -> np.random.Generator:
    """Returns the generator of one thing, so that the order of making is free."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), number])


def make_offers(num_offers: int, *, seed: int) -> list[Offer]:
    """Returns `num_offers` offers in the order of their shuffled ids."""
    # Ids are dealt at random: neighbours in the catalogue have nothing in common.
    numbers = stream(seed, "ids").permutation(num_offers)
    width = max(6, len(str(num_offers - 1)))
    offers = [
        Offer(f"p{number:0{width}d}", int(number), product)
        for number, product in zip(numbers, _offered_products(num_offers, seed=seed))
    ]
    return sorted(offers, key=lambda offer: offer.number)


def _offered_products(num_offers: int, *, seed: int) -> Iterator[Product]:
    """Yields each product once for each offer of it, endlessly, line by line."""
    brands = _brands(max(8, round((num_offers / _OFFERS_PER_LINE) ** 0.6)), seed=seed)
    made = 0
    for line in itertools.count():
        rng = stream(seed, "line", line)
        for product in _line_products(line, brands, rng):
            named = dataclasses.replace(product, group=f"g{made:06d}")
            made += 1
            yield from [named] * _draw(rng, _OFFER_SHARES)


def _brands(number: int, *, seed: int) -> list[str]:
    """Returns up to `number` distinct invented names."""
    parts = itertools.product(_STARTS.split(), _MIDDLES.split(), _ENDS.split())
    names = ["".join(part).capitalize() for part in parts]
    order = stream(seed, "brands").permutation(len(names))
    return [names[position] for position in order[:number]]


def _line_products(
    line: int, brands: list[str], rng: np.random.Generator
) -> list[Product]:
    """Returns the products of one line: each differs from another in one respect."""
    products = [_first_product(line, brands, rng)]
    wanted = _draw(rng, _LINE_SHARES)
    seen = {_variation(products[0])}
    while len(products) < wanted:
        base = products[int(rng.integers(len(products)))]
        changed = _near_miss(base, rng)
        if _variation(changed) not in seen:
            seen.add(_variation(changed))
            products.append(changed)
    return products


def _first_product(line: int, brands: list[str], rng: np.random.Generator) -> Product:
    name = list(FAMILIES)[int(rng.integers(len(FAMILIES)))]
    family = FAMILIES[name]
    brand = int(rng.integers(len(brands)))
    colour, accent = rng.permutation(list(COLOURS))[:2].tolist()
    model = _MODELS[int(rng.integers(len(_MODELS)))]
    size_rank = int(rng.integers(len(family.sizes)))
    return Product(
        group="",
        line=line,
        family=name,
        brand=brands[brand],
        model=f"{model} {int(rng.integers(10, 100)) * 10}",
        colour=colour,
        size_rank=size_rank,
        pack=1,
        material=family.materials[int(rng.integers(len(family.materials)))],
        accent=accent,
        shape=int(rng.integers(NUM_SHAPES)),
        wide=round(float(rng.uniform(0.82, 1.12)), 3),
        pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
        pattern_step=(0.13, 0.19, 0.27)[int(rng.integers(3))],
        # A brand keeps its emblem over all its lines.
        emblem=brand % NUM_EMBLEMS,
        emblem_colour=list(COLOURS)[brand * 4 % len(COLOURS)],
        price=family.price * float(np.exp(rng.normal(0, 0.35))) * 1.12**size_rank,
    )


def _near_miss(base: Product, rng: np.random.Generator) -> Product:
    """Returns `base` with another colour (mostly), size or pack count."""
    family = FAMILIES[base.family]
    respect = rng.random()
    if respect < 0.15 and family.packs:
        pack = family.packs[int(rng.integers(len(family.packs)))]
        price = base.price * (pack / base.pack) ** 0.9
        return dataclasses.replace(base, pack=pack, price=price)
    if respect < 0.40:
        rank = int(rng.integers(len(family.sizes)))
        price = base.price * 1.12 ** (rank - base.size_rank)
        return dataclasses.replace(base, size_rank=rank, price=price)
    names = [name for name in COLOURS if name != base.accent]
    return dataclasses.replace(base, colour=names[int(rng.integers(len(names)))])


def _variation(product: Product) -> tuple[str, int, int]:
    return product.colour, product.size_rank, product.pack


def _draw(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    """Returns 1, 2, ... with these shares."""
    return 1 + int(np.searchsorted(np.cumsum(shares), rng.random() * sum(shares)))
