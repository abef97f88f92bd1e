"""Pictures small enough to stand inside a page."""

from __future__ import annotations

import base64
import io
import os

from PIL import Image, ImageOps

# Sharp at 96 pixels on a phone, which has more than one dot a pixel.
_LONGEST_SIDE = 128
_QUALITY = 80


def thumbnail_uri(path: str | os.PathLike[str]) -> str | None:
    """Returns a picture file as a small JPEG in a data URI, or None if it has none.

    None stands for a file that is missing, no picture, or damaged: a report shows a box
    in its place rather than fail.
    """
    picture = thumbnail(path, _LONGEST_SIDE)
    return None if picture is None else _jpeg_uri(picture)


def thumbnail(path: str | os.PathLike[str], longest_side: int) -> Image.Image | None:
    """Returns a picture file upright, on white, in RGB, or None if it has none.

    Args:
        path: of the picture.
        longest_side: pixels that neither side exceeds; a small picture stays small.
    """
    try:
        with Image.open(path) as picture:
            # JPEGs decode straight to about the size needed; others are left alone.
            picture.draft("RGB", (2 * longest_side, 2 * longest_side))
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail((longest_side, longest_side))
            return _on_white(upright)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        # Pillow reports damaged PNG chunks as SyntaxError.
        return None


def _on_white(picture: Image.Image) -> Image.Image:
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _jpeg_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
