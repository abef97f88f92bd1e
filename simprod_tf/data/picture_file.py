"""Picture files: what is accepted, checked and converted before TensorFlow sees it.

JPEG, PNG, GIF and plain BMP (24 or 32 bits, not compressed) are read as they are: the
decoder of `features.image` takes them, in training and in the exported graph. Other
formats of `CONVERTED_FORMATS` are turned into PNG without loss: their first frame,
EXIF orientation applied, transparency kept. The content decides, not the file's name.
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from simprod_tf.errors import InputError

# What TensorFlow's stock ops decode; the exported graph knows no other.
PICTURE_FORMATS = ("JPEG", "PNG", "GIF", "BMP")
# MPO is a JPEG with further pictures behind it. Not everything that Pillow opens: for
# EPS it would start Ghostscript.
PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif"),
    *(".jp2", ".ppm"),
)
CONVERTED_FORMATS = ("WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
# Above the largest full-frame cameras (61 million); decoded, 4 bytes each are 256 MB.
MAX_PIXELS = 64_000_000

_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
_PNG_MODES = ("1", "L", "LA", "I;16", "RGB", "RGBA")
# What Pillow raises for damaged files.
_REFUSED = (
    *(OSError, EOFError, SyntaxError, ValueError, OverflowError, struct.error),
    Image.DecompressionBombError,
)


def read_picture(path: str | os.PathLike[str]) -> bytes:
    """Returns a picture file's bytes as JPEG, PNG, GIF or BMP, converted if need be.

    Raises:
        InputError: the file is missing, empty, of no known format, or too large.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(
            f"the picture cannot be read: {error.strerror}.", path=path
        ) from error
    return readable_picture(content, path=path)


def readable_picture(content: bytes, *, path: str | os.PathLike[str]) -> bytes:
    """Returns a picture's bytes as JPEG, PNG, GIF or BMP, converted if need be.

    Args:
        content: of a file.
        path: what an error calls it.

    Raises:
        InputError: it is empty, of no known format, or too large.
    """
    if not content:
        raise InputError("the picture is empty (0 bytes).", path=path)
    if content.startswith(_STARTS) or _is_plain_bmp(content):
        return content
    try:
        return _as_png(content)
    except _REFUSED as error:
        raise InputError(
            f"the picture cannot be decoded: {_reason(error)}", path=path
        ) from error


def picture_fault(path: str | os.PathLike[str]) -> str | None:
    """Returns why a picture file cannot be used, or None if it can."""
    try:
        if os.path.getsize(path) == 0:
            return f"picture {path} is empty (0 bytes)"
        with open(path, "rb") as file, _opened(file) as picture:
            # An eighth of the size reads the whole file and costs half (JPEG alone).
            picture.draft("RGB", (picture.width // 8, picture.height // 8))
            picture.load()
    except FileNotFoundError:
        return f"picture {path} does not exist"
    except _REFUSED as error:
        return f"picture {path} cannot be decoded: {_reason(error)}"
    return None


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        known = ", ".join((*PICTURE_FORMATS, *CONVERTED_FORMATS))
        return f"it is none of {known}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than the limit of {MAX_PIXELS:,}"
    return str(error)


def _opened(file: BinaryIO) -> Image.Image:
    """Opens a picture, its pixels not yet decoded, and checks what its header says."""
    Image.init()
    formats = [
        name
        for name in (*PICTURE_FORMATS, "MPO", *CONVERTED_FORMATS)
        # Pillow before 11.3 knows no AVIF.
        if name in Image.OPEN
    ]
    picture = Image.open(file, formats=formats)
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(
            f"it has {picture.width} x {picture.height} pixels, the limit is "
            f"{MAX_PIXELS:,} pixels"
        )
    if picture.mode in ("I", "F") and picture.format != "PNG":
        raise ValueError("its pixels have 32 bits; convert it to 8 or 16")
    return picture


def _as_png(content: bytes) -> bytes:
    with _opened(io.BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I;16"):
            # "I;16B" of a big-endian TIFF: Pillow's own conversions clip to 8 bits.
            picture = Image.fromarray(np.asarray(picture).astype(np.uint16))
        elif picture.mode not in _PNG_MODES:
            clear = picture.has_transparency_data
            picture = picture.convert("RGBA" if clear else "RGB")
        out = io.BytesIO()
        # The file lives for a moment: the fastest compression that is one.
        picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _is_plain_bmp(content: bytes) -> bool:
    """Says whether it is a BMP that TensorFlow's op reads rightly.

    It takes a palette's numbers for grey values, and knows no compression.
    """
    if not content.startswith(b"BM") or len(content) < 34:
        return False
    (header,) = struct.unpack_from("<I", content, 14)
    bits, compression = struct.unpack_from("<HI", content, 28)
    return header >= 40 and bits in (24, 32) and compression == 0
