"""A small invented shop with known answers: catalogue, pictures, events, hand pairs.

    catalog.csv      id, title, image, group, category, brand, price
    images/          JPEG files, in subfolders where there are many
    events.parquet   event_id, session, id, event, time
    hand_pairs.csv   anchor_id, other_id, label
    shop.json        the settings, and what is true about the shop

Two offers are similar if they are of one product (`group`). All is drawn by seed: for
trying the whole system out, and for tests that need to know what is true.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_folder, write_json
from simprod_tf.data.shop_customers import (
    EVENT_NAMES,
    Events,
    count_events,
    simulate_customers,
)
from simprod_tf.data.shop_hand_pairs import count_pairs, label_pairs
from simprod_tf.data.shop_pictures import write_picture
from simprod_tf.data.shop_products import Offer, make_offers, stream
from simprod_tf.data.shop_titles import write_title
from simprod_tf.errors import InputError

Progress = Callable[[int, int, str], None]

_KIND = "simprod_tf synthetic shop"
_CATALOG, _EVENTS, _PAIRS = "catalog.csv", "events.parquet", "hand_pairs.csv"
_IMAGES, _SHOP = "images", "shop.json"
# More files than this in one folder make it slow to list.
_IMAGES_PER_FOLDER = 1000
_FLAT_UP_TO = 2000


@dataclass(frozen=True)
class ShopSettings:
    """How large the shop is, and how noisy what is known about it.

    `products` counts the catalogue's rows: sellers' offers, about three of each
    product. `num_hand_pairs` None stands for 1.6 pairs a row. `behaviour_noise` is
    the share of purchases whose last view of another id is of another product. Right
    pairs repeat and wrong ones scatter: of the different pairs that the last views
    give, the default leaves about a quarter wrong. Purchases of products with a single
    offer, about 4 %, are the least that it can be.
    """

    products: int = 1500
    seed: int = 7
    image_size: int = 128
    missing_image_share: float = 0.06
    missing_title_share: float = 0.06
    sessions_per_product: float = 12.0
    behaviour_noise: float = 0.1
    num_hand_pairs: int | None = None
    labelling_error: float = 0.02

    def __post_init__(self) -> None:
        """Checks every field."""
        _require("products", self.products, 50, 1_000_000)
        _require("seed", self.seed, 0, 2**32 - 1)
        _require("image_size", self.image_size, 16, 1024)
        _require("missing_image_share", self.missing_image_share, 0, 0.5)
        _require("missing_title_share", self.missing_title_share, 0, 0.5)
        _require("sessions_per_product", self.sessions_per_product, 0.1, 1000)
        _require("behaviour_noise", self.behaviour_noise, 0, 1)
        if self.num_hand_pairs is not None:
            _require("num_hand_pairs", self.num_hand_pairs, 1, 4 * self.products)
        _require("labelling_error", self.labelling_error, 0, 0.5)


@dataclass(frozen=True)
class _Row:
    """One offer and what its seller wrote: an empty `title` or `image` is missing."""

    offer: Offer
    title: str
    image: str
    price: float


def make_shop(
    folder: str | os.PathLike[str],
    settings: ShopSettings,
    *,
    progress: Progress | None = None,
) -> Path:
    """Writes the shop into `folder`, whole or not at all, and returns its path.

    Args:
        folder: replaced if it is empty or holds a shop written by this function.
        settings: same settings, same shop.
        progress: called as `progress(done, total, what)` while pictures are drawn.

    Raises:
        InputError: `folder` holds something else, which is left alone.
    """
    final = Path(folder)
    _require_replaceable(final)
    rows = _make_rows(settings)
    offers = [row.offer for row in rows]
    with whole_folder(final) as temporary:
        _write_pictures(temporary, rows, settings, progress)
        _write_catalog(temporary / _CATALOG, rows)
        truths = {
            **_count_rows(rows),
            **_write_pairs(temporary / _PAIRS, offers, settings),
            **_write_events(temporary / _EVENTS, offers, settings),
        }
        content = {
            "kind": _KIND,
            "settings": dataclasses.asdict(settings),
            "truths": truths,
        }
        write_json(temporary / _SHOP, content)
    return final


def _require(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ValueError(f"{name} must be between {least} and {most}, got {value}.")


def _require_replaceable(folder: Path) -> None:
    """Refuses a place that holds anything but a shop of ours."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError("is a file; name a folder for the shop.", path=folder)
    found = {entry.name for entry in folder.iterdir()}
    if found and not _is_shop(folder / _SHOP):
        raise InputError(
            "holds files that are no synthetic shop and would be lost; "
            "name a new or empty folder.",
            path=folder,
        )
    strangers = found - {_CATALOG, _EVENTS, _PAIRS, _IMAGES, _SHOP}
    if strangers:
        raise InputError(
            f"holds {min(strangers)}, which is no part of the shop and would be lost; "
            "move it away, or name another folder.",
            path=folder,
        )


def _is_shop(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == _KIND


def _make_rows(settings: ShopSettings) -> list[_Row]:
    offers = make_offers(settings.products, seed=settings.seed)
    return [_make_row(offer, settings) for offer in offers]


def _make_row(offer: Offer, settings: ShopSettings) -> _Row:
    rng = stream(settings.seed, "row", offer.number)
    price = offer.product.price * float(np.exp(rng.normal(0, 0.04)))
    title = write_title(offer.product, rng=rng)
    image = f"{_IMAGES}/{offer.id}.jpg"
    if settings.products > _FLAT_UP_TO:
        image = f"{_IMAGES}/{offer.number // _IMAGES_PER_FOLDER:03d}/{offer.id}.jpg"
    # One draw for both: no offer is without picture and title.
    luck = rng.random()
    if luck < settings.missing_image_share:
        image = ""
    elif luck >= 1 - settings.missing_title_share:
        title = ""
    return _Row(offer, title, image, price)


def _write_pictures(
    folder: Path,
    rows: Sequence[_Row],
    settings: ShopSettings,
    progress: Progress | None,
) -> None:
    pictured = [row for row in rows if row.image]
    for parent in sorted({(folder / row.image).parent for row in pictured}):
        parent.mkdir(parents=True)
    for done, row in enumerate(pictured, start=1):
        write_picture(
            folder / row.image,
            row.offer.product,
            image_size=settings.image_size,
            rng=stream(settings.seed, "picture", row.offer.number),
        )
        if progress is not None:
            progress(done, len(pictured), "pictures")


def _write_catalog(path: Path, rows: Iterable[_Row]) -> None:
    header = ("id", "title", "image", "group", "category", "brand", "price")
    lines = (
        (
            row.offer.id,
            row.title,
            row.image,
            row.offer.product.group,
            row.offer.product.family,
            row.offer.product.brand,
            f"{row.price:.2f}",
        )
        for row in rows
    )
    _write_csv(path, header, lines)


def _write_pairs(
    path: Path, offers: Sequence[Offer], settings: ShopSettings
) -> dict[str, float]:
    num_pairs = settings.num_hand_pairs
    pairs = label_pairs(
        offers,
        num_pairs=round(1.6 * len(offers)) if num_pairs is None else num_pairs,
        labelling_error=settings.labelling_error,
        seed=settings.seed,
    )
    lines = ((pair.anchor_id, pair.other_id, pair.label) for pair in pairs)
    _write_csv(path, ("anchor_id", "other_id", "label"), lines)
    return count_pairs(pairs)


def _write_csv(
    path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]
) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def _write_events(
    path: Path, offers: Sequence[Offer], settings: ShopSettings
) -> dict[str, float]:
    events = simulate_customers(
        offers,
        num_sessions=round(settings.products * settings.sessions_per_product),
        behaviour_noise=settings.behaviour_noise,
        seed=settings.seed,
    )
    pq.write_table(_event_table(events, offers), path)
    return count_events(events, offers)


def _event_table(events: Events, offers: Sequence[Offer]) -> pa.Table:
    numbers, session = np.unique(events.session, return_inverse=True)
    sessions = pa.array([f"s{number:08d}" for number in numbers])
    ids = pa.array([offer.id for offer in offers])
    return pa.table(
        {
            "event_id": pa.array(np.arange(len(events.kind))),
            "session": sessions.take(pa.array(session)),
            "id": ids.take(pa.array(events.offer)),
            "event": pa.array(EVENT_NAMES).take(pa.array(events.kind)),
            "time": pa.array(events.time_us).cast(pa.timestamp("us", tz="UTC")),
        }
    )


def _count_rows(rows: Sequence[_Row]) -> dict[str, float]:
    return {
        "num_offers": len(rows),
        "num_groups": len({row.offer.product.group for row in rows}),
        "num_lines": len({row.offer.product.line for row in rows}),
        "num_without_image": sum(not row.image for row in rows),
        "num_without_title": sum(not row.title for row in rows),
    }
