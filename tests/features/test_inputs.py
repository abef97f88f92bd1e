"""A catalogue as arrays."""

from __future__ import annotations

import pytest
import tensorflow as tf

from simprod_tf.data.picture_file import read_picture
from simprod_tf.errors import InputError
from simprod_tf.features.image import PictureSettings, decode_picture
from simprod_tf.features.inputs import (
    ReadablePictures,
    decode_catalog,
)

SETTINGS = PictureSettings(16, 16)


@pytest.fixture
def paths(tmp_path, make_picture):
    found = []
    for seed in range(70):
        path = tmp_path / f"{seed}.png"
        make_picture(seed, (20, 20)).save(path)
        found.append(str(path))
    found[3] = ""
    return found


def test_pixels_stand_in_the_order_of_the_paths(paths):
    told = []
    pixels = decode_catalog(
        paths, SETTINGS, progress=lambda done, total: told.append((done, total))
    )
    assert pixels.shape == (70, 16, 16, 3)
    assert (pixels[3] == 0).all()
    for row in (0, 69):
        alone = decode_picture(tf.io.read_file(paths[row]), SETTINGS).numpy()
        assert (pixels[row] == alone).all()
    assert told[-1] == (70, 70)


def test_the_picture_that_cannot_be_decoded_is_named(paths, tmp_path):
    (tmp_path / "66.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="66.png: the picture cannot be decoded"):
        decode_catalog(paths, SETTINGS)


@pytest.fixture
def mixed(paths, tmp_path, make_picture):
    """Damaged pictures among good ones, and a WebP."""
    (tmp_path / "5.png").write_bytes(b"no picture")
    (tmp_path / "40.png").write_bytes((tmp_path / "40.png").read_bytes()[:200])
    (tmp_path / "64.png").write_bytes(b"")
    (tmp_path / "69.png").unlink()
    make_picture(7, (20, 20)).save(tmp_path / "7.png", "WEBP", lossless=True)
    return [path or paths[0] for path in paths]


def test_a_webp_file_is_read_like_its_png(paths, tmp_path, make_picture):
    before = decode_catalog(paths, SETTINGS)
    make_picture(7, (20, 20)).save(tmp_path / "7.png", "WEBP", lossless=True)
    assert (decode_catalog(paths, SETTINGS) == before).all()


def test_batches_go_on_past_undecodable_pictures(mixed, tmp_path):
    pictures = ReadablePictures(mixed, SETTINGS, batch_size=16)
    seen = []
    for rows, pixels in pictures:
        assert pixels.dtype == tf.uint8
        assert len(rows) == len(pixels)
        for row, one in zip(rows, pixels.numpy()):
            alone = decode_picture(tf.constant(read_picture(mixed[row])), SETTINGS)
            assert (one == alone.numpy()).all()
        seen += rows.tolist()
    assert seen == [row for row in range(70) if row not in (5, 40, 64, 69)]
    faults = {fault.row: fault for fault in pictures.faults}
    assert sorted(faults) == [5, 40, 64, 69]
    assert faults[5].path == str(tmp_path / "5.png")
    assert "none of JPEG" in faults[5].reason
    assert "cannot be decoded: Invalid PNG" in faults[40].reason
    assert faults[64].reason == "the picture is empty (0 bytes)."
    assert "cannot be read: No such file" in faults[69].reason


def test_a_second_iteration_tells_the_faults_anew(mixed):
    pictures = ReadablePictures(mixed[:8], SETTINGS)
    for _ in range(2):
        assert sum(len(rows) for rows, _ in pictures) == 7
        assert [fault.row for fault in pictures.faults] == [5]


def test_a_picture_left_out_by_bad_luck_comes_last(paths, tmp_path, make_picture):
    """It is not there when the batches come to it, and is when it is tried again."""
    path = tmp_path / "1.png"
    path.unlink()
    pictures = ReadablePictures([paths[0], str(path), paths[2]], SETTINGS)
    batches = iter(pictures)
    assert next(batches).rows.tolist() == [0, 2]
    make_picture(1, (20, 20)).save(path)
    assert next(batches).rows.tolist() == [1]
    assert next(batches, None) is None
    assert pictures.faults == []


def test_no_pictures_give_no_batches():
    assert list(ReadablePictures([], SETTINGS)) == []


def test_a_missing_file_is_named(paths, tmp_path):
    (tmp_path / "30.png").unlink()
    with pytest.raises(InputError, match="30.png: the picture cannot be read: No such"):
        decode_catalog(paths, SETTINGS)
