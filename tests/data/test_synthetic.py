"""The invented shop: what it promises about itself, counted again from its files."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from simprod_tf.data import synthetic
from simprod_tf.data.synthetic import ShopSettings, make_shop
from simprod_tf.errors import InputError

SMALL = ShopSettings(products=400, image_size=32)
TINY = ShopSettings(products=60, image_size=16, sessions_per_product=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shops") / "small", SMALL)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def truths_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "shop.json").read_text())["truths"]


def groups_of(folder: Path) -> dict[str, str]:
    return {row["id"]: row["group"] for row in rows_of(folder / "catalog.csv")}


def last_views(folder: Path) -> list[tuple[str, str]]:
    """Returns (last viewed id, purchased id) of each purchase where they differ."""
    log = pq.read_table(folder / "events.parquet").sort_by("time")
    seen: dict[str, str] = {}
    found = []
    for row in log.select(["session", "id", "event"]).to_pylist():
        if row["event"] == "view":
            seen[row["session"]] = row["id"]
        elif row["event"] == "purchase" and seen[row["session"]] != row["id"]:
            found.append((seen[row["session"]], row["id"]))
    return found


def test_same_settings_give_the_same_shop(tmp_path):
    first = make_shop(tmp_path / "first", TINY)
    second = make_shop(tmp_path / "second", TINY)
    names = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert names == sorted(path.relative_to(second) for path in second.rglob("*.*"))
    assert len(names) > 50
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_another_seed_gives_another_shop(tmp_path):
    first = make_shop(tmp_path / "first", TINY)
    second = make_shop(tmp_path / "second", dataclasses.replace(TINY, seed=8))
    for name in ("catalog.csv", "hand_pairs.csv", "events.parquet"):
        assert (first / name).read_bytes() != (second / name).read_bytes(), name


def test_ids_are_unique_and_every_row_is_filled(shop):
    rows = rows_of(shop / "catalog.csv")
    assert list(rows[0]) == [
        "id",
        "title",
        "image",
        "group",
        "category",
        "brand",
        "price",
    ]
    assert len(rows) == len({row["id"] for row in rows}) == 400
    assert all(row["group"] and row["category"] and row["brand"] for row in rows)
    assert all(float(row["price"]) > 0 for row in rows)
    assert len({row["category"] for row in rows}) >= 8


def test_ids_do_not_reveal_the_group(shop):
    groups = [row["group"] for row in rows_of(shop / "catalog.csv")]
    alike = sum(first == second for first, second in zip(groups, groups[1:]))
    # By chance 1 in 130; in the order of making, 2 in 3.
    assert alike < 20


def test_every_picture_opens(shop):
    images = [row["image"] for row in rows_of(shop / "catalog.csv") if row["image"]]
    assert len(images) == len(set(images)) == len(list((shop / "images").iterdir()))
    for image in images:
        with Image.open(shop / image) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert picture.size == (32, 32)
            picture.load()


def test_missing_pictures_and_titles_are_about_as_set_and_never_both(tmp_path):
    settings = ShopSettings(
        products=400,
        image_size=16,
        sessions_per_product=1,
        missing_image_share=0.2,
        missing_title_share=0.1,
    )
    folder = make_shop(tmp_path / "shop", settings)
    rows = rows_of(folder / "catalog.csv")
    no_image = sum(not row["image"] for row in rows)
    no_title = sum(not row["title"] for row in rows)
    # Three standard deviations of a binomial: 24 and 18.
    assert abs(no_image - 80) < 25
    assert abs(no_title - 40) < 19
    assert not any(not row["image"] and not row["title"] for row in rows)
    assert truths_of(folder)["num_without_image"] == no_image
    assert truths_of(folder)["num_without_title"] == no_title


def test_offers_of_a_product_agree_on_what_it_is_and_nearly_on_its_price(shop):
    by_group = defaultdict(list)
    for row in rows_of(shop / "catalog.csv"):
        by_group[row["group"]].append(row)
    assert 2.5 < 400 / len(by_group) < 3.6
    assert max(len(rows) for rows in by_group.values()) <= 6
    for rows in by_group.values():
        assert len({(row["category"], row["brand"]) for row in rows}) == 1
        prices = [float(row["price"]) for row in rows]
        assert max(prices) < 1.4 * min(prices)


def test_many_pictures_are_spread_over_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "_FLAT_UP_TO", 59)
    monkeypatch.setattr(synthetic, "_IMAGES_PER_FOLDER", 25)
    folder = make_shop(tmp_path / "shop", TINY)
    parts = sorted(path.name for path in (folder / "images").iterdir())
    assert parts == ["000", "001", "002"]
    images = [row["image"] for row in rows_of(folder / "catalog.csv") if row["image"]]
    assert all((folder / image).is_file() for image in images)


def test_hand_labels_are_wrong_as_often_as_stated(tmp_path):
    settings = ShopSettings(
        products=500,
        image_size=16,
        missing_image_share=0.5,
        num_hand_pairs=500,
        labelling_error=0.1,
        sessions_per_product=0.1,
    )
    folder = make_shop(tmp_path / "shop", settings)
    groups = groups_of(folder)
    pairs = rows_of(folder / "hand_pairs.csv")
    unordered = {frozenset((pair["anchor_id"], pair["other_id"])) for pair in pairs}
    assert len(pairs) == len(unordered) == 500
    truths = [groups[pair["anchor_id"]] == groups[pair["other_id"]] for pair in pairs]
    num_wrong = sum(
        truth != (pair["label"] == "1") for truth, pair in zip(truths, pairs)
    )
    assert truths_of(folder)["num_hand_pairs_mistaken"] == num_wrong
    # Three standard deviations of a binomial: 20.
    assert abs(num_wrong - 50) < 21
    assert sum(truths) == round(0.45 * 500)


def test_log_is_ordered_and_names_only_the_catalog(shop):
    log = pq.read_table(shop / "events.parquet")
    assert log.schema.equals(
        pa.schema(
            {
                "event_id": pa.int64(),
                "session": pa.string(),
                "id": pa.string(),
                "event": pa.string(),
                "time": pa.timestamp("us", tz="UTC"),
            }
        )
    )
    times = log["time"].cast(pa.int64()).to_pylist()
    assert times == sorted(times)
    assert log["event_id"].to_pylist() == list(range(len(times)))
    assert set(log["id"].to_pylist()) <= set(groups_of(shop))
    assert set(log["event"].to_pylist()) == {"view", "cart", "purchase"}
    assert len(times) == truths_of(shop)["num_events"]


def test_last_views_are_useful_but_wrong_as_stated(shop):
    groups, truths = groups_of(shop), truths_of(shop)
    votes = last_views(shop)
    wrong = sum(groups[viewed] != groups[bought] for viewed, bought in votes)
    assert len(votes) == truths["num_last_views_of_another_id"]
    assert wrong / len(votes) == pytest.approx(truths["wrong_share_of_last_views"])
    assert wrong / len(votes) == pytest.approx(SMALL.behaviour_noise, abs=0.04)

    pairs = {frozenset(vote) for vote in votes}
    wrong = sum(len({groups[id] for id in pair}) == 2 for pair in pairs)
    share = truths["wrong_share_of_last_view_pairs"]
    assert wrong / len(pairs) == pytest.approx(share)
    assert 0.15 < share < 0.30


def test_views_five_slots_before_a_purchase_are_mostly_other_products(shop):
    groups = groups_of(shop)
    views = defaultdict(list)
    slots, num_purchases = [], 0
    log = pq.read_table(shop / "events.parquet").sort_by("time")
    for row in log.select(["session", "id", "event"]).to_pylist():
        if row["event"] == "view":
            views[row["session"]].append(row["id"])
        elif row["event"] == "purchase":
            num_purchases += 1
            slots += [(id, row["id"]) for id in views[row["session"]][-5:-4]]
            assert views[row["session"]]
    wrong = sum(groups[viewed] == groups[bought] for viewed, bought in slots)
    assert 0 < wrong / len(slots) < 0.08
    # Most purchases follow a long enough session.
    assert len(slots) > 0.8 * num_purchases


def test_interruption_leaves_nothing(tmp_path):
    def interrupt(done: int, total: int, what: str) -> None:
        assert (total, what) == (total, "pictures") and done <= total
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shop(tmp_path / "shop", TINY, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_picture(tmp_path):
    calls = []
    folder = make_shop(
        tmp_path / "shop", TINY, progress=lambda *call: calls.append(call)
    )
    total = 60 - truths_of(folder)["num_without_image"]
    assert calls == [(done, total, "pictures") for done in range(1, total + 1)]


def test_own_shop_and_empty_folder_are_replaced(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    make_shop(folder, TINY)
    before = (folder / "catalog.csv").read_bytes()
    make_shop(folder, dataclasses.replace(TINY, seed=8))
    assert (folder / "catalog.csv").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize("shop_json", [None, "{}", "[1]", "not JSON"])
def test_foreign_folder_is_refused_and_left_alone(tmp_path, shop_json):
    (tmp_path / "thesis.txt").write_text("three years of work")
    if shop_json is not None:
        (tmp_path / "shop.json").write_text(shop_json)
    with pytest.raises(InputError, match="no synthetic shop and would be lost"):
        make_shop(tmp_path, TINY)
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"


def test_own_shop_with_somebody_elses_file_is_refused(tmp_path):
    folder = make_shop(tmp_path / "shop", TINY)
    (folder / "thesis.txt").write_text("three years of work")
    with pytest.raises(InputError, match=r"holds thesis\.txt, which is no part"):
        make_shop(folder, TINY)
    assert (folder / "thesis.txt").exists()


def test_file_in_the_place_is_refused(tmp_path):
    (tmp_path / "shop").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        make_shop(tmp_path / "shop", TINY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("products", 10),
        ("seed", -1),
        ("image_size", 4),
        ("missing_image_share", 0.6),
        ("missing_title_share", -0.1),
        ("sessions_per_product", 0),
        ("behaviour_noise", 1.5),
        ("num_hand_pairs", 6001),
        ("labelling_error", 0.7),
    ],
)
def test_settings_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be between .* got {value}"):
        ShopSettings(**{field: value})
