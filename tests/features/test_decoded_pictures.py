"""A batch of pictures is decoded row by row: a bad one costs its own row alone."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.features.decoded_pictures import decode_pictures
from simprod_tf.features.image import PictureSettings, decode_picture

SETTINGS = PictureSettings(image_size=28, resize_to=32)


@pytest.fixture(scope="module")
def decode():
    return tf.function(
        lambda contents: decode_pictures(contents, SETTINGS),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )


@pytest.fixture
def encoded(make_picture):
    def one(kind, *, mode="RGB"):
        buffer = io.BytesIO()
        make_picture(3).convert(mode).save(buffer, kind)
        return buffer.getvalue()

    return one


def too_large(jpeg):
    """Its header says 50,000 x 40,000 pixels."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", 40_000, 50_000) + jpeg[at + 4 :]


def test_each_bad_picture_is_named_and_the_good_ones_are_decoded(decode, encoded):
    send = "send JPEG, PNG, GIF or BMP"
    jpeg, png = encoded("JPEG"), encoded("PNG", mode="RGBA")
    rows = [
        (jpeg, ""),
        (jpeg[:300], "the JPEG is damaged or cut"),
        (b"\xff\xd8\xff", "the JPEG is damaged or cut"),
        (b"", ""),
        (png, ""),
        (png[:200], "the PNG is damaged or cut"),
        (b"no picture", f"the picture is of an unknown format: {send}"),
        (encoded("WEBP"), f"WebP is not read here: {send}"),
        (b"\0\0\0\x1cftypavif", f"AVIF or HEIC is not read here: {send}"),
        (
            too_large(jpeg),
            "the picture has 50000 x 40000 pixels, the limit is 64,000,000 pixels",
        ),
        (encoded("GIF"), ""),
        (encoded("GIF")[:100], "the GIF is damaged or cut"),
        (encoded("BMP"), ""),
        (encoded("BMP")[:-9], "the BMP is damaged or cut"),
    ]
    found = decode(tf.constant([content for content, _ in rows]))
    assert [text.decode() for text in found.fault.numpy()] == [text for _, text in rows]
    good = [bool(content) and not text for content, text in rows]
    assert found.has_image.numpy().tolist() == good
    assert found.pixels.dtype == tf.uint8
    for pixels, (content, _), is_good in zip(found.pixels.numpy(), rows, good):
        expected = decode_picture(tf.constant(content), SETTINGS) if is_good else 0
        assert (pixels == np.asarray(expected)).all()


@pytest.mark.parametrize("bad", [[], [b"no"], [b"\xff\xd8\xff"] * 3, [b""]])
def test_a_batch_without_a_good_picture_has_zeros(decode, bad):
    found = decode(tf.constant(bad, tf.string, [len(bad)]))
    assert found.pixels.shape == (len(bad), 28, 28, 3)
    assert not found.pixels.numpy().any()
    assert not found.has_image.numpy().any()
    assert [text != b"" for text in found.fault.numpy()] == [one != b"" for one in bad]


def test_it_works_inside_a_pipeline_and_without_a_graph(decode, encoded):
    contents = tf.constant([encoded("JPEG"), b"no"])
    expected = decode(contents)
    dataset = tf.data.Dataset.from_tensors(contents)
    for found in [*dataset.map(decode), decode_pictures(contents, SETTINGS)]:
        assert (found[0].numpy() == expected.pixels.numpy()).all()
        assert found[1].numpy().tolist() == [True, False]
