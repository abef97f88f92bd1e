from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from simprod_tf.evaluation.thumbnail import thumbnail_uri


def opened(uri: str | None) -> Image.Image:
    assert uri is not None
    head, content = uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_thumbnail_is_a_small_jpeg_of_the_same_shape(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "red").save(tmp_path / "a.png")
    thumbnail = opened(thumbnail_uri(tmp_path / "a.png"))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (128, 64))


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert opened(thumbnail_uri(tmp_path / "a.png")).getpixel((25, 25)) == (
        255,
        255,
        255,
    )


def test_camera_rotation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (60, 30), "blue")
    exif = picture.getexif()
    exif[0x0112] = 6  # EXIF orientation: turned by a quarter
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert opened(thumbnail_uri(tmp_path / "a.jpg")).size == (30, 60)


def test_missing_foreign_and_cut_off_files_have_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.effect_noise((300, 300), 80).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ["missing.jpg", "text.jpg", "cut.png"]:
        assert thumbnail_uri(tmp_path / name) is None
