"""Picture files of every kind are read, converted without loss, or refused by name."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from simprod_tf.data.picture_file import picture_fault, read_picture
from simprod_tf.errors import InputError


def opened(path) -> Image.Image:
    return Image.open(io.BytesIO(read_picture(path)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_the_four_formats_stay_as_they_are_whatever_their_name(tmp_path, picture, kind):
    path = tmp_path / "picture.webp"
    Image.open(picture).save(path, kind)
    assert read_picture(path) == path.read_bytes()
    assert picture_fault(path) is None


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_other_formats_become_the_same_pixels_as_png(tmp_path, make_picture, kind):
    path = tmp_path / "picture.jpg"
    if kind not in Image.SAVE and not Image.init() and kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    make_picture().save(path, kind)
    converted = opened(path)
    assert converted.format == "PNG"
    assert (np.asarray(converted) == np.asarray(Image.open(path).convert("RGB"))).all()
    assert picture_fault(path) is None


def test_transparency_is_kept(tmp_path, make_picture):
    picture = make_picture().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    path = tmp_path / "clear.webp"
    picture.save(path, lossless=True, exact=True)
    assert (np.asarray(opened(path)) == np.asarray(picture)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, make_picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.webp"
    make_picture().save(path, lossless=True, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    converted = opened(path)
    assert (np.asarray(converted) == expected).all()
    # Nobody turns it a second time.
    assert 0x0112 not in converted.getexif()


def test_the_first_frame_of_an_animation_is_taken(tmp_path, make_picture):
    frames = [make_picture(seed) for seed in range(3)]
    path = tmp_path / "moving.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    assert (np.asarray(opened(path)) == np.asarray(frames[0])).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_stay_sixteen(tmp_path, order):
    """A TIFF of 2 x 1 grey pixels by hand, in both byte orders."""
    tags = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (278, 1)]
    tags += [(277, 1), (279, 4)]
    start = b"II" if order == "<" else b"MM"
    content = start + struct.pack(order + "HI", 42, 12)
    content += struct.pack(order + "HH", 0x1234, 0xFEDC)
    content += struct.pack(order + "H", len(tags))
    for tag, value in sorted(tags):
        content += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    path = tmp_path / "deep.tiff"
    path.write_bytes(content + bytes(4))
    assert np.asarray(opened(path)).tolist() == [[0x1234, 0xFEDC]]


def test_cmyk_of_another_format_becomes_rgb(tmp_path, make_picture):
    path = tmp_path / "print.tiff"
    make_picture().convert("CMYK").save(path)
    expected = np.asarray(Image.open(path).convert("RGB"))
    assert (np.asarray(opened(path)) == expected).all()


@pytest.mark.parametrize("mode", ["P", "1", "L"])
def test_a_bmp_with_a_palette_is_converted(tmp_path, make_picture, mode):
    path = tmp_path / "palette.bmp"
    picture = make_picture().convert(mode)
    picture.save(path)
    converted = opened(path)
    assert converted.format == "PNG"
    expected = np.asarray(picture.convert("RGB"))
    assert (np.asarray(converted.convert("RGB")) == expected).all()


def test_pixels_of_32_bits_are_refused(tmp_path):
    path = tmp_path / "float.tiff"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(path)
    with pytest.raises(InputError, match="float.tiff: .*pixels have 32 bits; convert"):
        read_picture(path)
    assert "32 bits" in picture_fault(path)


def test_an_empty_file_has_its_own_reason(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(
        InputError, match=r"empty.jpg: the picture is empty \(0 bytes\)"
    ):
        read_picture(path)
    assert picture_fault(path) == f"picture {path} is empty (0 bytes)"


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.jpg"
    with pytest.raises(
        InputError, match="none.jpg: the picture cannot be read: No such"
    ):
        read_picture(path)
    assert picture_fault(path) == f"picture {path} does not exist"


def test_what_is_no_picture_is_told_the_formats(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("no picture")
    with pytest.raises(InputError, match="none of JPEG, PNG, GIF, BMP, WEBP, TIFF"):
        read_picture(path)
    # Postscript would be run by Ghostscript.
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    assert "none of JPEG" in picture_fault(path)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF"])
def test_a_cut_file_is_refused(tmp_path, make_picture, kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    path = tmp_path / "cut"
    make_picture().save(path, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cut: the picture cannot be decoded: "):
        read_picture(path)
    assert "cannot be decoded" in picture_fault(path)


@pytest.mark.parametrize(
    ("side", "says"), [(9_000, "has 9000 x 9000 pixels, the limit"), (60_000, "limit")]
)
def test_too_many_pixels_are_refused_before_decoding(tmp_path, side, says):
    """At 60,000 it is Pillow that refuses."""
    path = tmp_path / "bomb.ppm"
    path.write_bytes(b"P6 %d %d 255\n" % (side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(InputError, match=f"bomb.ppm: .*{says} .*64,000,000"):
            read_picture(path)
        assert "64,000,000" in picture_fault(path)


def test_the_check_refuses_a_large_picture_of_the_four_formats(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (8_001, 8_000)).save(path)
    assert "has 8001 x 8000 pixels, the limit is 64,000,000" in picture_fault(path)
