"""Picture bytes -> pixels: one function, in training and inside the exported graph.

What is read, here and so by TensorFlow Serving: JPEG (grey, CMYK and YCCK too), PNG
(also 16 bits, palettes, animated), GIF and BMP (24 or 32 bits, not compressed). The
content decides, not the file's name.
- The first frame of an animation is taken.
- EXIF orientation is applied for JPEG, all eight values; not for PNG.
- Grey becomes RGB, 16 bits become 8, transparency is laid on white.
- An empty string is a missing picture.
- Other formats, damaged or cut pictures and those of more than MAX_PIXELS are an error
  of the op, which says so; the pixels are counted by the header, before decoding.
A file of another format (WebP, TIFF, AVIF) is converted where it is read
(`data.picture_file`); a client of TensorFlow Serving must send one of the four.

A JPEG that is much larger than wanted is shrunk by 2, 4 or 8 while it is decoded, which
takes a fraction of the time and memory, and then resized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

from simprod_tf.data.picture_file import MAX_PIXELS, read_picture
from simprod_tf.features.exif import exif_orientation, upright
from simprod_tf.features.gif import first_frame

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG"
GIF_START, BMP_START = b"GIF8", b"BM"
# How each begins that is decoded.
FORMATS = {"JPEG": JPEG_START, "PNG": PNG_START, "GIF": GIF_START, "BMP": BMP_START}
# How others begin, at which byte: named so that a caller sees what to convert.
OTHER_FORMATS = {
    "WebP": (8, (b"WEBP",)),
    "TIFF": (0, (b"II*\0", b"MM\0*")),
    "AVIF or HEIC": (4, (b"ftyp",)),
}
# All that the checks look at lies in the first bytes.
HEAD_BYTES = 64
# A shrunk JPEG may be this much smaller than the wanted size, so that 500 pixels are
# halved for 256: 2 % less detail for a third of the time.
SMALLEST_SHRUNK = 7 / 8
# Up to here a shrunk JPEG needs no antialiasing, which costs more than decoding it. On
# grocery photos shrunk to 1.05 and 1.16 times the wanted size, the mean error against
# Pillow is 1.8 and 1.7 of 255 without it, 1.7 and 1.5 with it.
LARGEST_PLAIN = 1.25


@dataclass(frozen=True)
class PictureSettings:
    """How a picture becomes the square that the image tower sees, in pixels.

    It is resized (antialiased, not keeping its aspect) to `resize_to` x `resize_to`,
    of which the middle `image_size` x `image_size` is kept.
    """

    image_size: int = 64
    resize_to: int = 64

    def __post_init__(self) -> None:
        """Checks that the middle fits."""
        if not 1 <= self.image_size <= self.resize_to:
            raise ValueError(
                f"image_size must be between 1 and resize_to ({self.resize_to}), "
                f"got {self.image_size}."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self)


# Nothing in it is Python to convert, and looking for some takes most of the tracing.
@tf.autograph.experimental.do_not_convert
def decode_picture(image_bytes: tf.Tensor, settings: PictureSettings) -> tf.Tensor:
    """Returns [image_size, image_size, 3] uint8 RGB of one picture's bytes.

    Raises:
        tf.errors.InvalidArgumentError: `decoding_fault` tells what is wrong with it.
    """
    pixels, fault = checked_picture(image_bytes, settings)
    check = tf.debugging.Assert(fault == "", [fault])
    # In a graph only a dependency makes the check take place.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(pixels)


@tf.autograph.experimental.do_not_convert
def checked_picture(
    image_bytes: tf.Tensor, settings: PictureSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes one picture's bytes if what can be told before allows it.

    Returns:
        pixels: [image_size, image_size, 3] uint8 RGB, zeros where there is a fault.
        fault: Scalar string, "" or what forbids decoding: the format, the size.

    Raises:
        tf.errors.InvalidArgumentError: the picture is damaged or cut.
    """
    size = settings.resize_to
    matches = [
        tf.strings.substr(image_bytes, 0, len(start)) == start
        for start in FORMATS.values()
    ]
    # switch_case takes its last branch for -1.
    branch = tf.reduce_max([tf.where(one, i, -1) for i, one in enumerate(matches)])
    pixels, fault = tf.switch_case(
        branch,
        [
            lambda: _jpeg(image_bytes, size),
            lambda: _png(image_bytes, size),
            lambda: _gif(image_bytes, size),
            lambda: _bmp(image_bytes, size),
            lambda: (tf.zeros([size, size, 3]), _other_format(image_bytes)),
        ],
    )
    return _middle(pixels, settings), fault


def prepare_pixels(pixels: tf.Tensor, settings: PictureSettings) -> tf.Tensor:
    """Returns [B, image_size, image_size, 3] uint8 of [B, H, W, 3] uint8 RGB pixels.

    They are resized and cut as the pixels of a decoded picture are.

    Raises:
        tf.errors.InvalidArgumentError: H x W is 0, or above MAX_PIXELS.
    """
    height, width = tf.unstack(tf.shape(pixels, tf.int64)[1:3])
    fault = _size_fault(width, height)
    some = tf.debugging.Assert(height * width > 0, ["the pictures have no pixels"])
    few = tf.debugging.Assert(fault == "", [fault])
    with tf.control_dependencies([one for one in (some, few) if one is not None]):
        pixels = tf.identity(pixels)
    return _middle(_resized(pixels, settings.resize_to), settings)


def read_pictures(paths: Sequence[str]) -> list[bytes]:
    """Returns the bytes of each picture file, for decoding; b"" for "".

    Raises:
        InputError: names the file that cannot be read or converted.
    """
    return [read_picture(path) if path else b"" for path in paths]


def decoding_fault(error: tf.errors.OpError) -> str:
    """Returns what a decoding op's error says, without TensorFlow's wrapping."""
    text = str(error.message)
    own = re.search(r"assertion failed: \[(.*?)\]|data: b'(.*?)'", text, re.DOTALL)
    if own:
        return own[1] or own[2]
    # In a graph the message itself comes last, behind where the op stands.
    bare = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]( name:)?|\[\[.*?\]\]", "", text)
    lines = [line.strip() for line in bare.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _jpeg(content: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [size, size, 3] float32 of a JPEG, upright, and its fault."""
    shape = tf.image.extract_jpeg_shape(content)
    least = SMALLEST_SHRUNK * size
    side = tf.cast(tf.reduce_min(shape[:2]), tf.float32)
    power = tf.add_n([tf.cast(side >= 2**i * least, tf.int32) for i in (1, 2, 3)])

    def pixels() -> tf.Tensor:
        shrunk = tf.switch_case(
            power,
            [
                lambda ratio=ratio: tf.io.decode_jpeg(content, channels=3, ratio=ratio)
                for ratio in (1, 2, 4, 8)
            ],
        )
        plain_to = tf.where(power > 0, LARGEST_PLAIN * size, float(size))
        return upright(_resized(shrunk, size, plain_to), exif_orientation(content))

    return _unless(_size_fault(shape[1], shape[0]), pixels, size)


def _png(content: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [size, size, 3] float32 of a PNG, laid on white, and its fault."""
    head = _head(content)
    width, height = _number(head[19:15:-1]), _number(head[23:19:-1])

    def pixels() -> tf.Tensor:
        rgba = tf.io.decode_png(content, channels=4)
        # Without transparency TensorFlow fills in the largest number of a sample's
        # bits: 1, 3 or 15 where grey or palette have fewer than 8.
        opaque = tf.bitwise.left_shift(1, tf.minimum(head[24], 8)) - 1
        rgb = tf.cond(
            tf.reduce_all(tf.cast(rgba[..., 3], tf.int32) == opaque),
            lambda: rgba[..., :3],
            lambda: _on_white(rgba),
        )
        return _resized(rgb, size)

    return _unless(_size_fault(width, height), pixels, size)


def _gif(content: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [size, size, 3] float32 of a GIF's first frame on white, its fault."""
    head = _head(content)
    width, height = _number(head[6:8]), _number(head[8:10])
    frame = first_frame(content)
    left, top, across, down = tf.unstack(frame.place)
    # A frame may reach beyond the canvas.
    width, height = tf.maximum(width, left + across), tf.maximum(height, top + down)

    def pixels() -> tf.Tensor:
        inner = _decoded(frame.content)

        def framed() -> tf.Tensor:
            # Padding is zeros: pad the negative for white.
            return 255 - tf.image.pad_to_bounding_box(
                255 - inner, top, left, height, width
            )

        fills = (across == width) & (down == height)
        return _resized(tf.cond(fills, lambda: inner, framed), size)

    fault = tf.where(
        tf.strings.length(frame.content) > 0,
        _size_fault(width, height),
        "the GIF is damaged or cut",
    )
    return _unless(fault, pixels, size)


def _bmp(content: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [size, size, 3] float32 of a plain BMP, and its fault."""
    head = _head(content)
    bits = _number(head[28:30])
    is_plain = (_number(head[14:18]) >= 40) & (_number(head[30:34]) == 0)
    # A negative height stands for rows from top to bottom.
    width, height = _number(head[18:22]), _number(head[22:26])
    fault = tf.where(
        is_plain & ((bits == 24) | (bits == 32)),
        _size_fault(width, tf.abs(height)),
        "a BMP of this kind is not read, only one of 24 or 32 bits, not compressed; "
        "make it a PNG",
    )
    return _unless(fault, lambda: _resized(_decoded(content), size), size)


def _unless(
    fault: tf.Tensor, pixels: Callable[[], tf.Tensor], size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [size, size, 3] pixels, computed only if there is no fault; the fault."""
    square = [size, size, 3]
    found = tf.cond(fault == "", pixels, lambda: tf.zeros(square))
    return tf.ensure_shape(found, square), fault


def _other_format(content: tf.Tensor) -> tf.Tensor:
    """Returns what is wrong with content that no decoder here takes."""
    send = "send JPEG, PNG, GIF or BMP"
    fault = tf.constant(f"the picture is of an unknown format: {send}")
    # Zeros behind: `substr` refuses to begin past the end.
    head = tf.strings.join([tf.strings.substr(content, 0, 16), bytes(16)])
    for name, (at, starts) in OTHER_FORMATS.items():
        found = tf.strings.substr(head, at, 4)
        is_it = tf.reduce_any([found == start for start in starts])
        fault = tf.where(is_it, f"{name} is not read here: {send}", fault)
    return fault


def _decoded(content: tf.Tensor) -> tf.Tensor:
    # Without expand_animations=False a GIF has four dimensions.
    pixels = tf.io.decode_image(content, channels=3, expand_animations=False)
    return tf.ensure_shape(pixels, [None, None, 3])


def _resized(
    pixels: tf.Tensor, size: int, plain_to: tf.Tensor | float | None = None
) -> tf.Tensor:
    """Returns [..., size, size, 3], antialiased if a side is above `plain_to`."""
    longest = tf.cast(tf.reduce_max(tf.shape(pixels)[-3:-1]), tf.float32)
    # Where nothing shrinks, antialiasing changes nothing and takes five times as long.
    return tf.cond(
        longest <= (float(size) if plain_to is None else plain_to),
        lambda: tf.image.resize(tf.cast(pixels, tf.float32), [size, size]),
        lambda: tf.image.resize(pixels, [size, size], antialias=True),
    )


def _middle(pixels: tf.Tensor, settings: PictureSettings) -> tf.Tensor:
    """Returns the uint8 middle of [..., resize_to, resize_to, 3] float32."""
    edge = (settings.resize_to - settings.image_size) // 2
    size = settings.image_size
    pixels = tf.image.crop_to_bounding_box(pixels, edge, edge, size, size)
    # Whole numbers, so that pixels kept on disk and fresh ones are the same. Resizing
    # weighs pixels, so nothing is below 0 or above 255.
    return tf.cast(tf.round(pixels), tf.uint8)


def _size_fault(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Returns a scalar string: "", or that there are more than MAX_PIXELS."""
    pixels = tf.cast(width, tf.int64) * tf.cast(height, tf.int64)
    text = tf.strings.join(
        [
            "the picture has ",
            tf.strings.as_string(width),
            " x ",
            tf.strings.as_string(height),
            f" pixels, the limit is {MAX_PIXELS:,} pixels",
        ]
    )
    return tf.where(pixels <= MAX_PIXELS, "", text)


def _head(content: tf.Tensor) -> tf.Tensor:
    """Returns the [HEAD_BYTES] int32 first bytes, zeros behind a short content."""
    head = tf.io.decode_raw(tf.strings.substr(content, 0, HEAD_BYTES), tf.uint8)
    return tf.pad(tf.cast(head, tf.int32), [[0, HEAD_BYTES]])[:HEAD_BYTES]


def _number(values: tf.Tensor) -> tf.Tensor:
    """Returns the int32 of its [n] bytes, the lowest first."""
    powers = tf.bitwise.left_shift(1, 8 * tf.range(tf.size(values)))
    return tf.reduce_sum(values * powers)


def _on_white(rgba: tf.Tensor) -> tf.Tensor:
    """Returns [H, W, 3] uint8 of [H, W, 4] uint8, laid on white."""
    alpha = tf.cast(rgba[..., 3:], tf.float32) / 255.0
    mixed = tf.cast(rgba[..., :3], tf.float32) * alpha + 255.0 * (1.0 - alpha)
    return tf.saturate_cast(tf.round(mixed), tf.uint8)
