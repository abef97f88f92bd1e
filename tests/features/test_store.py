"""The feature store: computed once, aligned, and whole after whatever happens to it."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simprod_tf.data.picture_file import read_picture
from simprod_tf.errors import InputError, ModelError
from simprod_tf.features import store as store_module
from simprod_tf.features.image import PictureSettings
from simprod_tf.features.inputs import PictureFault
from simprod_tf.features.store import FeatureStore

SETTINGS = PictureSettings(4, 4)
DIM = 5


def colour(number: int) -> tuple[int, int, int]:
    return number % 251, number // 251 % 251, 7


def paint(path, number):
    """A picture whose features are known: one colour for each number."""
    Image.new("RGB", (4, 4), colour(number)).save(path, "PNG", compress_level=0)


class Tower:
    """Features by hand, and a record of what was computed."""

    def __init__(self, scale=1.0):
        self.calls, self.pictures, self.scale = 0, 0, scale

    def __call__(self, pixels):
        self.calls += 1
        self.pictures += len(pixels)
        corner = pixels.numpy()[:, 0, 0].astype(np.float32)
        rest = np.stack([corner.sum(1) / 8, np.ones(len(corner))], 1)
        return np.concatenate([corner, rest], 1) * self.scale


def expected(numbers, scale=1.0):
    corner = np.array([colour(number) for number in numbers], np.float64)
    rest = np.stack([corner.sum(1) / 8, np.ones(len(corner))], 1)
    return np.concatenate([corner, rest], 1) * scale


class PlainPictures:
    """Stands for ReadablePictures, whose graph takes a second to build."""

    def __init__(self, paths, settings, *, batch_size):
        self.paths, self.batch_size, self.faults = paths, batch_size, []

    def __iter__(self):
        good = []
        for row, path in enumerate(self.paths):
            try:
                pixels = np.asarray(Image.open(io.BytesIO(read_picture(path))))
                good.append((row, pixels))
            except InputError as error:
                self.faults.append(PictureFault(row, path, error.reason))
        for start in range(0, len(good), self.batch_size):
            rows, pixels = zip(*good[start : start + self.batch_size])
            yield np.array(rows), tf.constant(np.stack(pixels))


@pytest.fixture
def decoder():
    """For tests that take the real ReadablePictures."""


@pytest.fixture(autouse=True)
def _plain_pictures(request, monkeypatch):
    if "decoder" not in request.fixturenames:
        monkeypatch.setattr(store_module, "ReadablePictures", PlainPictures)


@pytest.fixture
def ids():
    return [f"p{number}" for number in range(30)]


@pytest.fixture
def paths(tmp_path):
    found = []
    for number in range(30):
        paint(tmp_path / f"{number}.png", number)
        found.append(str(tmp_path / f"{number}.png"))
    return found


@pytest.fixture
def open_store(tmp_path):
    def opened(**changes):
        told = {"fingerprint": "f1", "dim": DIM, "dtype": "float32", **changes}
        return FeatureStore(tmp_path / "store", **told)

    return opened


def extract(store, ids, paths, tower=None, **how):
    tower = tower or Tower()
    how = {"batch_size": 4, "shard_rows": 8, **how}
    return store.extract(ids, paths, tower, SETTINGS, **how)


def shards(store):
    """The side files of the shards that hold features."""
    sides = sorted(store.folder.glob("0*.json"))
    return [side for side in sides if json.loads(side.read_text())["rows"]]


def test_features_are_computed_once(open_store, ids, paths, decoder):
    told = []
    made = extract(
        open_store(),
        ids,
        paths,
        progress=lambda done, total: told.append((done, total)),
    )
    assert (made.computed, made.kept, made.remade) == (30, 0, 0)
    assert told[0] == (4, 30)
    assert told[-1] == (30, 30)
    store = open_store()
    tower = Tower()
    made = extract(store, ids, paths, tower)
    assert (made.computed, made.kept, tower.calls) == (0, 30, 0)
    features = store.features(ids)
    assert features.shape == (30, DIM)
    assert features.dtype == np.float32
    assert len(features) == 30
    assert features.present.all()
    assert (features[:] == expected(range(30))).all()
    # Shards of at least 8 rows in whole batches of 4.
    assert [len(json.loads(s.read_text())["rows"]) for s in shards(store)] == [
        8,
        8,
        8,
        6,
    ]


def test_rows_are_gathered_in_any_order_and_form(open_store, ids, paths):
    store = open_store()
    extract(store, ids[::-1], paths[::-1])
    features = store.features(["p7", "p29", "p0", "p7"])
    assert (features[:] == expected([7, 29, 0, 7])).all()
    assert (features[np.array([2, 0, 2])] == expected([0, 7, 0])).all()
    assert (features[1:3] == expected([29, 0])).all()
    assert (features[-1] == expected([7])[0]).all()
    assert (features[np.array([True, False, True, False])] == expected([7, 0])).all()
    assert (np.asarray(features) == expected([7, 29, 0, 7])).all()
    assert np.asarray(features, np.float64).dtype == np.float64
    assert features[[]].shape == (0, DIM)
    with pytest.raises(IndexError):
        features[4]


def test_float16_rounds_and_float32_does_not(open_store, ids, paths):
    exact = expected(range(30), scale=1 / 3)
    for dtype in ("float16", "float32"):
        store = open_store(fingerprint=dtype, dtype=dtype)
        extract(store, ids, paths, Tower(1 / 3))
        found = store.features(ids)[:]
        assert found.dtype == np.float32
        assert (found == exact.astype(dtype).astype(np.float32)).all()
    assert np.load(shards(store)[0].with_suffix(".npy")).dtype == np.float32


def test_unreadable_pictures_leave_the_others_in_their_rows(
    open_store, ids, paths, tmp_path, decoder
):
    for number, content in ((5, b"no picture"), (6, b""), (18, b"\x89PNG")):
        (tmp_path / f"{number}.png").write_bytes(content)
    (tmp_path / "29.png").unlink()
    paths[10] = ""
    store = open_store()
    made = extract(store, ids, paths)
    assert made.computed == 25
    bad = {one.id: one for one in made.unreadable}
    assert sorted(bad) == ["p18", "p29", "p5", "p6"]
    assert bad["p5"].path == paths[5]
    assert "none of JPEG" in bad["p5"].reason
    assert bad["p6"].reason == "the picture is empty (0 bytes)."
    assert "cannot be read: No such file" in bad["p29"].reason
    assert made.without_picture == ("p10",)
    assert str(made) == (
        "25 pictures computed, 0 products known before, 0 damaged shards made again, "
        "4 pictures unreadable, 1 products without one"
    )
    with open(store.folder / "unreadable.csv", encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["id"] for row in listed] == ["p5", "p6", "p18", "p29"]
    assert listed[0]["path"] == paths[5]
    assert listed[0]["reason"] == bad["p5"].reason
    gone = [5, 6, 10, 18, 29]
    features = store.features(ids)
    assert np.flatnonzero(~features.present).tolist() == gone
    want = expected(range(30))
    want[gone] = 0
    assert (features[:] == want).all()


def test_unreadable_pictures_are_tried_again_when_they_change(
    open_store, ids, paths, tmp_path
):
    (tmp_path / "5.png").write_bytes(b"no picture")
    (tmp_path / "6.png").unlink()
    extract(open_store(), ids, paths)
    made = extract(open_store(), ids, paths)
    assert (made.computed, made.kept, len(made.unreadable)) == (0, 30, 2)
    paint(tmp_path / "5.png", 100)
    paint(tmp_path / "6.png", 200)
    store = open_store()
    made = extract(store, ids, paths)
    assert (made.computed, made.kept, made.unreadable) == (2, 28, ())
    assert (store.features(["p5", "p6"])[:] == expected([100, 200])).all()
    assert (store.folder / "unreadable.csv").read_text().splitlines() == [
        "id,path,reason"
    ]


def test_a_changed_picture_is_computed_again_and_an_old_one_is_not(
    open_store, ids, paths, tmp_path
):
    extract(open_store(), ids, paths)
    paint(tmp_path / "3.png", 77)
    store = open_store()
    assert extract(store, ids, paths).computed == 1
    assert (store.features(["p3", "p4"])[:] == expected([77, 4])).all()
    # Back to what it was: its features are still there.
    paint(tmp_path / "3.png", 3)
    store = open_store()
    made = extract(store, ids, paths)
    assert (made.computed, made.kept) == (0, 29)
    assert (open_store().features(["p3"])[:] == expected([3])).all()


def test_a_picture_that_goes_takes_its_features_along(open_store, ids, paths):
    extract(open_store(), ids, paths)
    paths[3] = ""
    extract(open_store(), ids, paths)
    features = open_store().features(["p3", "p4"])
    assert features.present.tolist() == [False, True]
    assert (features[0] == 0).all()


def test_a_moved_or_touched_picture_is_not_computed_again(
    open_store, ids, paths, tmp_path
):
    extract(open_store(), ids, paths)
    os.utime(paths[0])
    os.rename(paths[1], tmp_path / "moved.png")
    paths[1] = str(tmp_path / "moved.png")
    assert extract(open_store(), ids, paths).computed == 0


def test_one_picture_of_many_products_is_computed_once(open_store, ids, paths):
    tower = Tower()
    store = open_store()
    made = extract(store, ids, paths[:2] * 15, tower)
    assert (made.computed, tower.pictures) == (2, 2)
    assert (store.features(ids)[:] == expected([0, 1] * 15)).all()


def test_new_products_are_added_to_those_there_are(open_store, ids, paths):
    extract(open_store(), ids[:10], paths[:10])
    store = open_store()
    made = extract(store, ids, paths)
    assert (made.computed, made.kept) == (20, 10)
    assert (store.features(ids)[:] == expected(range(30))).all()


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "side", "cut side", "list"])
def test_a_damaged_shard_is_found_and_made_again(open_store, ids, paths, harm, caplog):
    store = open_store()
    extract(store, ids, paths)
    side = shards(store)[1]
    victim = side if "side" in harm or harm == "list" else side.with_suffix(".npy")
    content = bytearray(victim.read_bytes())
    if harm in ("flip", "side"):
        at = content.index(b'"rows": ["') + 11 if harm == "side" else -3
        content[at] ^= 1
    if harm == "gone":
        victim.unlink()
    else:
        half = content[: len(content) // 2]
        victim.write_bytes(
            b"[1]" if harm == "list" else half if "cut" in harm else content
        )
    with pytest.raises(ModelError, match="is damaged; extract the features again"):
        open_store().features(ids)
    caplog.clear()
    tower = Tower()
    store = open_store()
    made = extract(store, ids, paths, tower)
    assert f"Feature shard {side} is damaged" in caplog.text
    assert (made.computed, made.remade, tower.pictures) == (8, 1, 8)
    assert (open_store().features(ids)[:] == expected(range(30))).all()
    assert extract(open_store(), ids, paths).computed == 0


def test_an_interruption_loses_one_shard_at_most(open_store, ids, paths):
    class Interrupted(Tower):
        def __call__(self, pixels):
            if self.pictures == 20:
                raise KeyboardInterrupt
            return super().__call__(pixels)

    store = open_store()
    with pytest.raises(KeyboardInterrupt):
        extract(store, ids, paths, Interrupted())
    # A killed process also leaves half a shard and its temporary files.
    (store.folder / "00000009.npy").write_bytes(b"half")
    (store.folder / ".00000010-abc.npy").write_bytes(b"less")
    store = open_store()
    made = extract(store, ids, paths)
    assert made.computed == 30 - 16
    assert (store.features(ids)[:] == expected(range(30))).all()
    left = {path.suffix for path in store.folder.iterdir()}
    assert left == {".json", ".npy", ".csv", ""}
    assert not (store.folder / "00000009.npy").exists()
    assert not list(store.folder.glob(".*"))


def test_a_second_writer_is_refused(open_store, ids, paths):
    store = open_store()
    with open(store.folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is writing this feature"):
            extract(store, ids, paths)
    assert extract(store, ids, paths).computed == 30


def test_an_unknown_product_is_named(open_store, ids, paths):
    store = open_store()
    extract(store, ids[:3], paths[:3])
    with pytest.raises(KeyError, match="product 'p3' is not in the feature store"):
        store.features(ids)


def test_a_shard_that_was_deleted_is_not_taken_for_missing_pictures(
    open_store, ids, paths
):
    store = open_store()
    extract(store, ids, paths)
    for path in store.folder.glob("00000001.*"):
        path.unlink()
    with pytest.raises(KeyError, match="product 'p0' is not in the feature store"):
        open_store().features(ids)
    assert extract(open_store(), ids, paths).computed == 8


def test_nothing_to_extract(open_store):
    store = open_store()
    made = extract(store, [], [])
    assert (made.computed, made.kept) == (0, 0)
    assert store.features([]).shape == (0, DIM)
    assert store.features([])[:].shape == (0, DIM)


def test_a_store_of_other_features_is_refused(open_store):
    open_store(description={"tower": "small"})
    with pytest.raises(ModelError, match="features of dim 5, not 6; give another"):
        open_store(dim=6)
    with pytest.raises(ModelError, match="features of dtype float32, not float16"):
        open_store(dtype="float16")
    store = open_store()
    manifest = json.loads((store.folder / "manifest.json").read_text())
    assert manifest["description"] == {"tower": "small"}
    assert open_store(fingerprint="f2", dim=6).folder != store.folder
    (store.folder / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        open_store()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fingerprint": "../x"}, "fingerprint must be a plain name, got '../x'"),
        ({"dtype": "int8"}, "dtype must be float16 or float32, got 'int8'"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(open_store, changes, message):
    with pytest.raises(ValueError, match=message):
        open_store(**changes)


def test_products_must_be_listed_once_with_a_path_each(open_store, paths):
    with pytest.raises(ValueError, match="ids are not unique"):
        extract(open_store(), ["a", "a"], paths[:2])
    with pytest.raises(ValueError, match="1 ids, but 2 paths"):
        extract(open_store(), ["a"], paths[:2])


def test_features_must_be_finite(open_store, ids, paths):
    with pytest.raises(ModelError, match=r"not finite for .*0\.png; its weights may"):
        extract(open_store(), ids, paths, Tower(np.nan))


def test_features_too_large_for_float16_are_refused(open_store, ids, paths):
    store = open_store(dtype="float16")
    with pytest.raises(
        ModelError, match=r"of 1\.04e\+05 .* keep the features as float32"
    ):
        extract(store, ids[3:4], paths[3:4], Tower(104_000 / 7))
    store = open_store(fingerprint="f2")
    extract(store, ids[3:4], paths[3:4], Tower(104_000 / 7))
    assert np.isclose(store.features(["p3"])[0][2], 104_000)


def test_features_of_another_shape_are_a_mistake_of_the_tower(open_store, ids, paths):
    with pytest.raises(
        ValueError, match=r"must return \[4, 5\] features, got \(4, 3\)"
    ):
        extract(open_store(), ids, paths, lambda pixels: pixels.numpy()[:, 0, 0])


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="the feature store cannot be written: "):
        FeatureStore(tmp_path / "file", fingerprint="f1", dim=2)


def test_a_full_disk_is_told(open_store, ids, paths, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "shard")

    monkeypatch.setattr(store_module, "write_shard", full)
    with pytest.raises(InputError, match="shard: .*cannot be written: No space left"):
        extract(open_store(), ids, paths)


def test_a_picture_that_changes_meanwhile_is_not_blamed(
    open_store, ids, paths, tmp_path
):
    (tmp_path / "5.png").write_bytes(b"no picture")

    class Meddling(Tower):
        def __call__(self, pixels):
            (tmp_path / "5.png").write_bytes(b"other content")
            return super().__call__(pixels)

    with pytest.raises(
        InputError, match="5.png: the picture changed while it was read"
    ):
        extract(open_store(), ids, paths, Meddling())
    made = extract(open_store(), ids, paths)
    assert (made.computed, [one.id for one in made.unreadable]) == (0, ["p5"])


KILLED = """
import sys, time
import numpy as np
from simprod_tf.features.image import PictureSettings
from simprod_tf.features.inputs import PictureFault
from simprod_tf.features.store import FeatureStore

def slowly(pixels):
    time.sleep(0.1)
    corner = pixels.numpy()[:, 0, 0].astype(np.float32)
    rest = np.stack([corner.sum(1) / 8, np.ones(len(corner))], 1)
    return np.concatenate([corner, rest], 1)

folder, *paths = sys.argv[1:]
store = FeatureStore(folder, fingerprint="f1", dim=5, dtype="float32")
store.extract(
    [f"p{i}" for i in range(len(paths))], paths, slowly, PictureSettings(4, 4),
    batch_size=4, shard_rows=8,
)
"""


@pytest.mark.slow
def test_a_killed_process_is_gone_on_from(open_store, ids, paths, tmp_path, decoder):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "store", *paths]
    )
    first = tmp_path / "store" / "f1" / "00000001.json"
    until = time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    store = open_store()
    there = sum(len(json.loads(side.read_text())["rows"]) for side in shards(store))
    assert 8 <= there < 30
    tower = Tower()
    made = extract(store, ids, paths, tower)
    assert made.computed == tower.pictures == 30 - there
    assert (store.features(ids)[:] == expected(range(30))).all()


@pytest.mark.slow
def test_twenty_thousand_pictures(open_store, tmp_path, decoder):
    numbers = np.random.default_rng(0).permutation(20_000)
    paths = [str(tmp_path / f"{number}.png") for number in numbers]
    for path, number in zip(paths, numbers):
        paint(path, number)
    ids = [f"p{number}" for number in numbers]
    store = open_store()
    made = extract(store, ids, paths, batch_size=256, shard_rows=2048)
    assert made.computed == 20_000
    assert len(shards(store)) == 10
    store = open_store()
    assert extract(store, ids, paths).computed == 0
    asked = np.sort(numbers)
    features = store.features([f"p{number}" for number in asked])
    assert (features[:] == expected(asked).astype(np.float32)).all()
