"""Picture hashes: what survives re-encoding, and what ties products."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.formats import grocery_store
from simprod_tf.data.picture_hash import (
    hash_picture,
    near_duplicates,
    pairs_within,
)
from simprod_tf.data.synthetic import ShopSettings, make_shop
from simprod_tf.data.tables import read_table
from simprod_tf.errors import InputError


def catalog_of(images, groups=None, titles=None):
    size = len(images)
    return Catalog(
        text_array([f"p{i}" for i in range(size)]),
        text_array(titles or [f"title {i}" for i in range(size)]),
        text_array([str(image) if image else "" for image in images]),
        text_array(groups or [""] * size),
        pa.table({}),
    )


def detailed(seed, size=(120, 90)):
    """Returns a picture with detail at every frequency that is hashed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def distance(first, second):
    bits = [np.unpackbits(np.frombuffer(one.bits, np.uint8)) for one in (first, second)]
    return int((bits[0] != bits[1]).sum())


def test_bits_are_signs_of_a_plain_numpy_dct(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    wave = np.cos(np.pi * np.outer(np.arange(32), 2 * np.arange(32) + 1) / 64)
    low = (wave @ values @ wave.T)[1:17, 1:17].ravel()
    expected = np.packbits(low > np.median(low)).tobytes()
    assert hash_picture(tmp_path / "a.png").bits == expected


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.gif"])
def test_the_format_changes_little(tmp_path, name):
    detailed(1).save(tmp_path / "a.jpg", quality=95)
    detailed(1).save(tmp_path / name)
    assert distance(*map(hash_picture, (tmp_path / "a.jpg", tmp_path / name))) <= 8


def test_large_photos_are_read_by_a_fraction_and_hash_alike(tmp_path):
    detailed(2, (1200, 900)).save(tmp_path / "a.jpg", quality=95)
    detailed(2, (1200, 900)).save(tmp_path / "a.png")
    assert distance(*map(hash_picture, (tmp_path / "a.jpg", tmp_path / "a.png"))) <= 8


def test_orientation_transparency_and_depth_are_seen_through(tmp_path):
    upright = detailed(3)
    upright.save(tmp_path / "a.png")
    expected = hash_picture(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    assert hash_picture(tmp_path / "turned.png").bits == expected.bits
    deep = np.asarray(ImageOps.grayscale(upright)).astype(np.uint16) << 8
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert hash_picture(tmp_path / "deep.png").bits == expected.bits
    framed = Image.new("RGB", (240, 180), "white")
    framed.paste(upright, (60, 45))
    framed.save(tmp_path / "framed.png")
    # What is clear may have any colour.
    clear = Image.new("RGBA", (240, 180), (0, 0, 0, 0))
    clear.paste(upright, (60, 45))
    clear.save(tmp_path / "clear.png")
    seen = hash_picture(tmp_path / "clear.png").bits
    assert seen == hash_picture(tmp_path / "framed.png").bits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"\xff\xd8\xff broken", "cannot be decoded"),
    ],
)
def test_pictures_that_cannot_be_hashed_are_named(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.jpg: the picture {message}"):
        hash_picture(path)


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr("simprod_tf.data.picture_hash.MAX_PIXELS", 119 * 90)
    detailed(0).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="it has more than 10,710 pixels"):
        hash_picture(tmp_path / "a.png")


@pytest.mark.parametrize("max_bits", [0, 1, 3, 20])
def test_the_search_finds_what_comparing_all_pairs_finds(max_bits):
    rng = np.random.default_rng(max_bits)
    bits = rng.integers(0, 2, (40, 256), dtype=np.uint8)
    near = np.repeat(bits, 5, axis=0)
    for row in near:
        row[rng.choice(256, rng.integers(0, 2 * max_bits + 2), replace=False)] ^= 1
    near = np.unique(near, axis=0)
    apart = (near[:, np.newaxis] != near[np.newaxis]).sum(axis=2)
    expected = np.argwhere(np.triu(apart <= max_bits, 1))
    found = pairs_within(np.packbits(near, axis=1), max_bits)
    np.testing.assert_array_equal(found, expected)
    assert len(expected) > 20 or max_bits == 0


def test_near_and_identical_pictures_are_told_apart(tmp_path):
    for seed in (1, 2):
        detailed(seed).save(tmp_path / f"{seed}.png")
    detailed(1).resize((84, 63)).save(tmp_path / "small.jpg", quality=60)
    (tmp_path / "copy.png").write_bytes((tmp_path / "1.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    names = ["1.png", "2.png", "small.jpg", "copy.png", "broken.png", "gone.png"]
    told = []
    found = near_duplicates(
        catalog_of([*(tmp_path / name for name in names), ""]),
        progress=lambda done, total: told.append((done, total)),
    )
    first, other, small, copy, *rest = found.component.tolist()
    assert first == small == copy != other
    assert min(first, other) >= 0
    assert rest == [-1, -1, -1]
    first, other, small, copy, *rest = found.content.tolist()
    assert first == copy
    assert len({first, other, small}) == 3
    assert rest == [-1, -1, -1]
    assert (found.unreadable, found.placeholders) == (2, 0)
    assert told == [(n, 6) for n in range(1, 7)]


def test_fewer_bits_tie_less(tmp_path):
    detailed(1).save(tmp_path / "a.png")
    ImageEnhance.Brightness(detailed(1)).enhance(1.3).save(tmp_path / "b.jpg")
    images = [tmp_path / "a.png", tmp_path / "b.jpg"]
    assert len(set(near_duplicates(catalog_of(images)).component)) == 1
    assert len(set(near_duplicates(catalog_of(images), max_bits=0).component)) == 2


def test_plain_pictures_are_tied_by_their_bytes_alone(tmp_path):
    """Their hash would be rounding noise: of slopes and blanks all bits are equal."""
    slope = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    plain = {
        "white.png": Image.new("RGB", (64, 64), "white"),
        "cream.png": Image.new("RGB", (64, 64), (250, 248, 240)),
        "right.png": Image.fromarray(slope),
        "steep.png": Image.fromarray(slope // 2 + 100),
        "dot.png": Image.new("L", (1, 1), 7),
    }
    for name, picture in plain.items():
        picture.save(tmp_path / name)
        assert hash_picture(tmp_path / name).bits == b""
    (tmp_path / "copy.png").write_bytes((tmp_path / "white.png").read_bytes())
    images = [tmp_path / name for name in [*plain, "copy.png"]]
    component = near_duplicates(catalog_of(images)).component
    assert component[0] == component[-1]
    assert len(set(component)) == len(plain)


@pytest.mark.parametrize("blank", [True, False])
def test_a_placeholder_ties_nothing_and_is_counted(tmp_path, blank):
    picture = Image.new("RGB", (90, 90), "white") if blank else detailed(5)
    picture.save(tmp_path / "none.png")
    detailed(6).save(tmp_path / "own.png")
    images = [tmp_path / "none.png"] * 4 + [tmp_path / "own.png"] * 2
    found = near_duplicates(catalog_of(images), max_sharing=3)
    assert found.placeholders == 4
    for numbers in (found.component, found.content):
        assert len(set(numbers[:4])) == 4
        assert numbers[4] == numbers[5]
        assert numbers[4] not in numbers[:4]
    found = near_duplicates(catalog_of(images), max_sharing=4)
    assert found.placeholders == 0
    assert len(set(found.component[:4])) == 1


def test_offers_of_few_groups_share_no_placeholder(tmp_path):
    detailed(5).save(tmp_path / "a.png")
    images = [tmp_path / "a.png"] * 6
    one_group = catalog_of(images, groups=["g", "g", "g", "g", "h", "h"])
    assert near_duplicates(one_group, max_sharing=2).placeholders == 0
    same_title = catalog_of(images, titles=["mug"] * 6)
    assert near_duplicates(same_title, max_sharing=2).placeholders == 0
    nameless = catalog_of(images, titles=[""] * 6)
    assert near_duplicates(nameless, max_sharing=2).placeholders == 0


def test_a_placeholder_encoded_anew_is_one_too(tmp_path):
    images = []
    for quality in (60, 70, 80, 90):
        images.append(tmp_path / f"{quality}.jpg")
        detailed(5).save(images[-1], quality=quality)
    found = near_duplicates(catalog_of(images), max_sharing=3)
    assert found.placeholders == 4
    assert len(set(found.component)) == 4


def test_no_pictures_give_no_numbers():
    found = near_duplicates(catalog_of(["", ""]))
    assert found.component.tolist() == found.content.tolist() == [-1, -1]


@pytest.mark.parametrize("max_bits", [-1, 65])
def test_bits_out_of_range_are_refused(max_bits):
    with pytest.raises(ValueError, match=f"between 0 and 64, got {max_bits}"):
        near_duplicates(catalog_of([""]), max_bits=max_bits)


def test_different_products_of_the_shop_are_not_tied(tmp_path):
    """Its drawings are simple: what ties two of them would tie the catalogue."""
    make_shop(tmp_path, ShopSettings(products=300))
    read = read_table(tmp_path / "catalog.csv")
    images = [tmp_path / i if i else "" for i in read.strings("image")]
    component = near_duplicates(
        catalog_of(images, groups=read.strings("group"))
    ).component
    sizes = np.bincount(component[component >= 0])
    assert sizes.max() <= 2
    assert (sizes > 1).sum() <= 2


def test_grocery_photos_are_tied_to_themselves_encoded_anew_alone(real_data, tmp_path):
    grocery_store.convert(real_data / "grocery_store", tmp_path)
    read = read_table(tmp_path / "train.csv")
    photos = read.strings("image")[::20]
    classes = read.strings("group")[::20]
    changed = []
    for number, path in enumerate(photos):
        with Image.open(path) as photo:
            small = photo.resize((int(photo.width * 0.7), int(photo.height * 0.7)))
        changed.append(os.fspath(tmp_path / f"{number}.jpg"))
        ImageEnhance.Brightness(small).enhance(1.1).save(changed[-1], quality=60)
    found = near_duplicates(catalog_of(photos + changed, groups=classes * 2)).component
    size = len(photos)
    assert (found[:size] == found[size:]).mean() > 0.98
    for number in set(found.tolist()):
        rows = np.flatnonzero(found[:size] == number)
        assert len({classes[row] for row in rows}) == 1


def test_drawings_of_different_things_differ(tmp_path):
    for number, shape in enumerate(("ellipse", "rectangle")):
        picture = Image.new("RGB", (96, 96), "white")
        getattr(ImageDraw.Draw(picture), shape)((20, 20, 76, 70), fill="navy")
        picture.save(tmp_path / f"{number}.png")
    images = [tmp_path / "0.png", tmp_path / "1.png"]
    assert len(set(near_duplicates(catalog_of(images)).component)) == 2
