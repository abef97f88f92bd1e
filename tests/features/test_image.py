"""Pictures of every kind come out as pixels, or as an error that says why."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simprod_tf.features.image import (
    PictureSettings,
    decode_picture,
    decode_pictures,
    read_pictures,
)

SETTINGS = PictureSettings(image_size=32, resize_to=32)


def encoded(picture: Image.Image, kind: str, **how) -> tf.Tensor:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return tf.constant(buffer.getvalue())


def decoded(picture: Image.Image, kind: str, **how) -> np.ndarray:
    return decode_picture(encoded(picture, kind, **how), SETTINGS).numpy()


@pytest.fixture
def rgb(make_picture):
    return make_picture(3)


def test_pixels_are_those_of_pillow(rgb):
    """Pillow's bilinear resize is antialiased as TensorFlow's is."""
    expected = np.asarray(rgb.resize((32, 32), Image.Resampling.BILINEAR), int)
    assert np.abs(decoded(rgb, "PNG").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_formats_agree(rgb, kind):
    lossless = decoded(rgb, "PNG").astype(int)
    assert np.abs(decoded(rgb, kind).astype(int) - lossless).mean() < 6


def test_grey_pictures_have_three_equal_channels(rgb):
    for kind in ("JPEG", "PNG"):
        pixels = decoded(rgb.convert("L"), kind)
        assert pixels.shape == (32, 32, 3)
        assert (pixels == pixels[..., :1]).all()


def test_cmyk_comes_near_the_rgb_picture(rgb):
    near = decoded(rgb.convert("CMYK"), "JPEG", quality=95).astype(int)
    assert np.abs(near - decoded(rgb, "PNG").astype(int)).mean() < 6


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 51))
    assert (decoded(clear, "PNG") == 255).all()
    # A fifth of red over four fifths of white.
    assert (decoded(half, "PNG") == [255, 204, 204]).all()


def test_sixteen_bits_are_scaled_to_eight():
    deep = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert (decoded(deep, "PNG") == 128).all()


def test_one_pixel_fills_the_square():
    assert (decoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG") == [9, 8, 7]).all()


def test_exif_orientation_is_not_applied(rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = decoded(rgb, "JPEG", quality=95)
    assert (decoded(rgb, "JPEG", quality=95, exif=exif) == plain).all()


def test_the_middle_is_kept():
    picture = Image.new("RGB", (40, 40), (0, 0, 0))
    picture.paste((255, 255, 255), (10, 10, 30, 30))
    settings = PictureSettings(image_size=20, resize_to=40)
    pixels = decode_picture(encoded(picture, "PNG"), settings).numpy()
    assert pixels.shape == (20, 20, 3)
    assert (pixels == 255).all()


def test_an_empty_string_is_a_missing_picture(rgb):
    both = tf.stack([encoded(rgb, "PNG"), tf.constant(b"")])
    pixels, has_image = decode_pictures(both, SETTINGS)
    assert pixels.dtype == tf.uint8
    assert has_image.numpy().tolist() == [True, False]
    assert (pixels[0].numpy() == decoded(rgb, "PNG")).all()
    assert (pixels[1].numpy() == 0).all()


@pytest.mark.parametrize("kind", ["WEBP", "cut", "text"])
def test_what_cannot_be_decoded_is_an_error(rgb, kind):
    if kind == "WEBP":
        content = encoded(rgb, "WEBP")
    elif kind == "cut":
        content = tf.strings.substr(encoded(rgb, "PNG"), 0, 500)
    else:
        content = tf.constant(b"no picture")
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_picture(content, SETTINGS)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"between 1 and resize_to \(64\), got 65"):
        PictureSettings(image_size=65, resize_to=64)


def test_files_are_read_and_missing_ones_are_empty(picture):
    assert read_pictures([str(picture), ""]) == [picture.read_bytes(), b""]
