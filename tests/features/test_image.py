"""Pictures of every kind come out as pixels, or as an error that says why."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from simprod_tf.features.image import (
    PictureSettings,
    decode_picture,
    decoding_fault,
    prepare_pixels,
    read_pictures,
)

SETTINGS = PictureSettings(image_size=32, resize_to=32)


def encoded(picture: Image.Image, kind: str, **how) -> tf.Tensor:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return tf.constant(buffer.getvalue())


@functools.cache
def compiled(settings: PictureSettings) -> tf.types.experimental.GenericFunction:
    return tf.function(
        lambda content: decode_picture(content, settings),
        input_signature=[tf.TensorSpec([], tf.string)],
    )


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled():
    yield
    # Functions that outlive the interpreter's modules complain.
    compiled.cache_clear()


def pixels_of(
    content: bytes | tf.Tensor, settings: PictureSettings = SETTINGS
) -> np.ndarray:
    """Decodes in a graph, as training and the exported encoder do."""
    return compiled(settings)(tf.constant(content)).numpy()


def decoded(picture: Image.Image, kind: str, **how) -> np.ndarray:
    return pixels_of(encoded(picture, kind, **how))


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


def test_a_colour_of_a_palette_can_be_clear():
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    assert (decoded(picture, "PNG") == [200, 100, 50]).all()
    assert (decoded(picture, "PNG", transparency=1) == 255).all()


def test_grey_with_alpha_is_laid_on_white():
    # Half of 100 and half of 255: 128/255 * 100 + 127/255 * 255 = 177.2.
    picture = Image.new("LA", (8, 8), (100, 128))
    assert (decoded(picture, "PNG") == 177).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_opaque(bits):
    grey = np.zeros((4, 4), np.uint8)
    grey[:, 2:] = 255
    picture = Image.fromarray(grey)
    content = encoded(picture.convert("1") if bits == 1 else picture, "PNG", bits=bits)
    assert content.numpy()[24] == bits
    pixels = pixels_of(content, PictureSettings(4, 4))
    assert (pixels == grey[..., np.newaxis]).all()


def test_sixteen_bits_with_alpha_are_laid_on_white():
    """RGBA of 16 bits, which Pillow does not write: the file is made by hand."""
    row = b"\0" + struct.pack(">4H", 0xFFFF, 0x8000, 0, 0x8000) * 2
    pixels = pixels_of(png(2, 2, 16, 6, row * 2))
    # Of 128/255 opacity: 255, 128 * .502 + 127 = 191.3, 127.
    assert (pixels == [255, 191, 127]).all()


def test_ycck_comes_near_the_rgb_picture(rgb):
    """Adobe's marker of transform 2 tells YCCK from CMYK; Pillow is the oracle."""
    content = encoded(rgb.convert("CMYK"), "JPEG", quality=95).numpy()
    at = content.index(b"Adobe")
    assert content[at + 11] == 0
    ycck = content[: at + 11] + b"\x02" + content[at + 12 :]
    expected = np.asarray(Image.open(io.BytesIO(ycck)).convert("RGB"), int)
    settings = PictureSettings(70, 70)
    pixels = pixels_of(ycck, settings).astype(int)
    wide = Image.fromarray(expected.astype(np.uint8)).resize(
        (70, 70), Image.Resampling.BILINEAR
    )
    assert np.abs(pixels - np.asarray(wide, int)).mean() < 4


def quarters() -> Image.Image:
    """Four colours, so that all eight orientations differ; wider than high."""
    picture = Image.new("RGB", (48, 32), (200, 30, 30))
    picture.paste((30, 200, 30), (24, 0, 48, 16))
    picture.paste((30, 30, 200), (0, 16, 24, 32))
    picture.paste((220, 220, 220), (24, 16, 48, 32))
    return picture


def exif_bytes(orientation: int, order: str, kind: int = 3) -> bytes:
    """An Exif block of two entries: a resolution unit and the orientation."""
    value = struct.pack(
        order + ("HH" if kind == 3 else "I"), orientation, *[0] * (kind == 3)
    )
    entries = struct.pack(order + "HHIHH", 0x0128, 3, 1, 2, 0)
    entries += struct.pack(order + "HHI", 0x0112, kind, 1) + value
    start = b"II" if order == "<" else b"MM"
    head = start + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 2)
    return b"Exif\0\0" + head + entries + struct.pack(order + "I", 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [3, 4])
def test_exif_orientation_is_applied(orientation, order, kind):
    exif = exif_bytes(orientation, order, kind)
    content = encoded(quarters(), "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content.numpy())))
    expected = upright.resize((32, 32), Image.Resampling.BILINEAR)
    pixels = pixels_of(content).astype(int)
    # The decoders differ by a level or two.
    assert np.abs(pixels - np.asarray(expected, int)).max() <= 6
    if orientation != 1:
        plain = decoded(quarters(), "JPEG", quality=95).astype(int)
        assert np.abs(pixels - plain).max() > 100


def test_orientation_turns_the_picture_before_its_middle_is_cut():
    """The middle of 33 in 40 lies one nearer the top left; turned, still so."""
    content = encoded(quarters(), "JPEG", quality=95, exif=exif_bytes(3, "<"))
    turned = Image.open(io.BytesIO(content.numpy())).transpose(
        Image.Transpose.ROTATE_180
    )
    expected = np.asarray(turned.resize((40, 40), Image.Resampling.BILINEAR), int)
    pixels = pixels_of(content, PictureSettings(33, 40)).astype(int)
    assert np.abs(pixels - expected[3:36, 3:36]).max() <= 6


@pytest.mark.parametrize(
    "exif",
    [
        exif_bytes(9, "<"),
        exif_bytes(0, ">"),
        exif_bytes(6, "<")[:20],
        b"Exif\0\0" + b"II*\0" + b"\xff" * 40,
        b"Exif\0\0" + b"XX*\0" + exif_bytes(6, "<")[10:],
        b"Exif\0\0",
        b"Exif" + exif_bytes(6, "<")[6:],
    ],
)
def test_damaged_exif_is_left_alone(exif):
    """The segment is put in by hand: Pillow would mend or refuse it."""
    plain = encoded(quarters(), "JPEG", quality=95).numpy()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    content = tf.constant(plain[:2] + segment + plain[2:])
    expected = pixels_of(plain)
    assert (pixels_of(content) == expected).all()


def test_exif_is_looked_for_in_its_own_segment_alone():
    plain = encoded(quarters(), "JPEG", quality=95).numpy()
    exif = exif_bytes(6, "<")
    inside = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    comment = b"\xff\xfe" + struct.pack(">H", len(inside) + 2) + inside
    expected = pixels_of(plain)
    in_comment = tf.constant(plain[:2] + comment + plain[2:])
    assert (pixels_of(in_comment) == expected).all()
    behind = tf.constant(plain[:2] + comment + inside + plain[2:])
    assert (pixels_of(behind) != expected).any()


@pytest.mark.parametrize("side", [64, 100, 130, 300, 600])
def test_a_shrunk_jpeg_is_near_the_whole_one(make_picture, side):
    """32 pixels are wanted: from 56 on the picture is shrunk while it is decoded."""
    picture = make_picture(5, (side, side + 10))
    expected = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR), int)
    error = np.abs(decoded(picture, "JPEG", quality=95).astype(int) - expected)
    assert error.mean() < 2.5


def test_very_wide_pictures_are_squeezed():
    picture = Image.new("RGB", (3000, 2), (9, 8, 7))
    picture.paste((200, 100, 50), (1500, 0, 3000, 2))
    for kind in ("PNG", "JPEG"):
        pixels = decoded(picture, kind).astype(int)
        assert np.abs(pixels[:, :15] - [9, 8, 7]).max() <= 3
        assert np.abs(pixels[:, 17:] - [200, 100, 50]).max() <= 3


def test_one_pixel_of_every_format():
    for kind in ("PNG", "GIF", "BMP", "JPEG"):
        pixels = decoded(Image.new("RGB", (1, 1), (90, 80, 70)), kind).astype(int)
        assert np.abs(pixels - [90, 80, 70]).max() <= 2


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(make_picture, kind):
    frames = [make_picture(seed).quantize(64) for seed in range(4)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    first = Image.open(io.BytesIO(content.numpy())).convert("RGB")
    expected = np.asarray(first.resize((32, 32), Image.Resampling.BILINEAR), int)
    pixels = pixels_of(content).astype(int)
    assert np.abs(pixels - expected).max() <= 1


def gif(pixels: bytes, *, clear: int = -1, local: bool = False, place=(0, 0, 2, 2)):
    """A GIF of 2 x 2 pixels of 4 colours, by hand: codes of 3 bits, no compression."""
    table = bytes([1, 2, 3, 100, 110, 120, 50, 60, 70, 200, 210, 220])
    head = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x81, 0, 0)
    head += bytes(12) if local else table
    control = (
        b"\x21\xf9\x04" + bytes([1 if clear >= 0 else 0, 0, 0, max(clear, 0)]) + b"\0"
    )
    note = b"\x21\xfe\x04note\x03too\0"
    frame = b"\x2c" + struct.pack("<4HB", *place, 0x81 if local else 0)
    # Clear (4), a pixel, clear, a pixel ..., end (5): codes never grow.
    codes = [code for pixel in pixels for code in (4, pixel)] + [5]
    bits = sum(code << 3 * i for i, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    frame += (table if local else b"") + b"\x02" + bytes([len(data)]) + data + b"\0"
    return head + note + control + frame


@pytest.mark.parametrize("local", [False, True])
def test_a_gifs_clear_pixels_are_white(local):
    content = gif(b"\0\1\2\3", clear=1, local=local) + b"\x3b"
    pixels = pixels_of(content, PictureSettings(2, 2))
    expected = [[[1, 2, 3], [255, 255, 255]], [[50, 60, 70], [200, 210, 220]]]
    assert pixels.tolist() == expected


def test_what_a_gifs_first_frame_leaves_free_is_white():
    content = gif(b"\1", place=(1, 0, 1, 1)) + b"\x3b"
    pixels = pixels_of(content, PictureSettings(2, 2))
    white = [255, 255, 255]
    assert pixels.tolist() == [[white, [100, 110, 120]], [white, white]]


def test_further_frames_of_a_gif_are_not_even_unpacked():
    """What stands behind the first frame may be anything."""
    content = gif(b"\0\1\2\3") + b"\x2c" + struct.pack("<4HB", 0, 0, 65535, 65535, 0)
    pixels = pixels_of(content, PictureSettings(2, 2))
    assert pixels[1, 1].tolist() == [200, 210, 220]


def test_an_extension_that_lies_does_no_harm(rgb, tmp_path):
    path = tmp_path / "picture.jpg"
    rgb.save(path, "PNG")
    (content,) = read_pictures([str(path)])
    assert (pixels_of(content) == decoded(rgb, "PNG")).all()


def test_the_middle_is_kept():
    picture = Image.new("RGB", (40, 40), (0, 0, 0))
    picture.paste((255, 255, 255), (10, 10, 30, 30))
    settings = PictureSettings(image_size=20, resize_to=40)
    pixels = pixels_of(encoded(picture, "PNG"), settings)
    assert pixels.shape == (20, 20, 3)
    assert (pixels == 255).all()


def png(width: int, height: int, bits: int, kind: int, rows: bytes) -> bytes:
    """A PNG by hand."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
        )

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def bomb(kind: str) -> bytes:
    """A small file that says it has 50,000 x 40,000 pixels."""
    if kind == "PNG":
        return png(50_000, 40_000, 8, 2, bytes(100))
    content = bytearray(encoded(Image.new("RGB", (8, 8)), kind).numpy())
    if kind == "JPEG":
        at = content.index(b"\xff\xc0") + 5
        content[at : at + 4] = struct.pack(">HH", 40_000, 50_000)
    elif kind == "GIF":
        content[6:10] = struct.pack("<HH", 50_000, 40_000)
    else:
        content[18:26] = struct.pack("<ii", 50_000, -40_000)
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("form", ["eager", "graph"])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(kind, form):
    decode = tf.function(decode_picture) if form == "graph" else decode_picture
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode(tf.constant(bomb(kind)), SETTINGS)
    height = -40000 if kind == "BMP" else 40000
    assert decoding_fault(caught.value) == (
        f"the picture has 50000 x {abs(height)} pixels, the limit is 64,000,000 pixels"
    )


def test_a_frame_larger_than_a_gifs_canvas_counts_too():
    content = gif(b"\0", place=(0, 0, 50_000, 40_000)) + b"\x3b"
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 50000 x 40000"):
        decode_picture(tf.constant(content), SETTINGS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_is_an_error(rgb, kind, share):
    content = encoded(rgb, kind).numpy()
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode_picture(tf.constant(content[: int(len(content) * share)]), SETTINGS)
    assert decoding_fault(caught.value)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("WEBP", "WebP is not read here: send JPEG, PNG, GIF or BMP"),
        ("TIFF", "TIFF is not read here: send JPEG, PNG, GIF or BMP"),
        ("text", "the picture is of an unknown format: send JPEG, PNG, GIF or BMP"),
    ],
)
def test_the_error_names_the_formats_that_are_read(rgb, kind, fault):
    content = tf.constant(b"no") if kind == "text" else encoded(rgb, kind)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode_picture(content, SETTINGS)
    assert decoding_fault(caught.value) == fault


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_a_bmp_that_would_come_out_wrong_is_refused(rgb, mode):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode_picture(encoded(rgb.convert(mode), "BMP"), SETTINGS)
    assert "only one of 24 or 32 bits" in decoding_fault(caught.value)


def test_faults_are_told_without_tensorflows_wrapping(rgb):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode_picture(tf.strings.substr(encoded(rgb, "JPEG"), 0, 900), SETTINGS)
    assert decoding_fault(caught.value) == (
        "jpeg::Uncompress failed. Invalid JPEG data or crop window."
    )


@pytest.mark.parametrize("size", [(90, 70), (20, 30), (32, 32)])
def test_decoded_pixels_are_prepared_as_those_of_a_file(make_picture, size):
    settings = PictureSettings(28, 32)
    pictures = [make_picture(seed, size) for seed in (3, 4)]
    given = tf.constant(np.stack([np.asarray(one) for one in pictures]))
    found = tf.function(prepare_pixels)(given, settings).numpy()
    for picture, pixels in zip(pictures, found):
        assert (pixels == pixels_of(encoded(picture, "PNG"), settings)).all()


def test_too_many_decoded_pixels_or_none_are_refused():
    prepare = tf.function(prepare_pixels)
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 8001 x 8000 pixels"):
        prepare(tf.zeros([0, 8000, 8001, 3], tf.uint8), SETTINGS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="have no pixels"):
        prepare(tf.zeros([2, 0, 5, 3], tf.uint8), SETTINGS)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"between 1 and resize_to \(64\), got 65"):
        PictureSettings(image_size=65, resize_to=64)


def test_files_are_read_and_missing_ones_are_empty(picture):
    assert read_pictures([str(picture), ""]) == [picture.read_bytes(), b""]
