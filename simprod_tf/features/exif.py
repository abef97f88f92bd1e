"""EXIF orientation of a JPEG, read and applied by stock TensorFlow ops.

Orientation is tag 0x0112 of the first directory of the TIFF block in the APP1 segment
"Exif" (CIPA DC-008, EXIF 2.32, 2019). It is looked for in the APPn and comment segments
with which a JPEG begins, and there alone: nothing is taken for EXIF in other data.
"""

from __future__ import annotations

import tensorflow as tf

ORIENTATION_TAG = 0x0112
SHORT, LONG = 3, 4
EXIF_START = b"Exif\x00\x00"
JFIF_START, TABLES_START = b"\xff\xd8\xff\xe0\x00\x10", b"\xff\xdb"
# Marker, length and EXIF_START.
HEAD_BYTES = 10


def exif_orientation(jpeg: tf.Tensor) -> tf.Tensor:
    """Returns the orientation of a JPEG's bytes, scalar int32 from 1 to 8; else 1."""
    # Most begin with a JFIF segment of 18 bytes, then the tables: nothing to look for.
    begins_plain = (tf.strings.substr(jpeg, 0, 6) == JFIF_START) & (
        tf.strings.substr(jpeg, 20, 2) == TABLES_START
    )
    return tf.cond(begins_plain, lambda: tf.constant(1), lambda: _searched(jpeg))


def _searched(jpeg: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, looked for from segment to segment."""
    size = tf.strings.length(jpeg)

    def step(
        at: tf.Tensor, found: tf.Tensor, more: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        head = _values(tf.strings.substr(jpeg, at, HEAD_BYTES))
        text = tf.strings.substr(jpeg, at + 4, len(EXIF_START))
        length = head[2] * 256 + head[3]
        is_exif = (head[0] == 0xFF) & (head[1] == 0xE1) & (text == EXIF_START)
        # APP0-APP15 and COM; anything else ends the part where EXIF may stand.
        skips = (head[0] == 0xFF) & ((head[1] // 16 == 0xE) | (head[1] == 0xFE))
        behind = at + 2 + length
        more = skips & ~is_exif & (behind + HEAD_BYTES <= size)
        return tf.where(more, behind, at), is_exif, more

    start = tf.constant(2)
    at, found, _ = tf.while_loop(
        lambda at, found, more: more,
        step,
        [start, tf.constant(False), start + HEAD_BYTES <= size],
    )
    return tf.cond(
        found, lambda: _orientation_at(jpeg, at), lambda: tf.constant(1, tf.int32)
    )


def upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns [N, N, C] pixels turned and mirrored as the orientation demands."""

    def any_of(*values: int) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(values))

    def turned() -> tf.Tensor:
        turn = tf.cond(
            orientation >= 5,
            lambda: tf.transpose(pixels, [1, 0, 2]),
            lambda: pixels,
        )
        # The axes to reverse are known only when the picture is.
        flips = tf.stack([any_of(3, 4, 7, 8), any_of(2, 3, 6, 7)])
        steps = tf.where(flips, -1, 1)
        rows = tf.range(tf.shape(turn)[0])[:: steps[0]]
        columns = tf.range(tf.shape(turn)[1])[:: steps[1]]
        return tf.gather(tf.gather(turn, rows, axis=0), columns, axis=1)

    return tf.cond(orientation > 1, turned, lambda: pixels)


def _orientation_at(jpeg: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Reads the tag out of the Exif segment at this position; 1 if it is damaged."""
    length = _values(tf.strings.substr(jpeg, at + 2, 2))
    # The length counts its own two bytes and EXIF_START.
    tiff = _values(
        tf.strings.substr(
            jpeg, at + HEAD_BYTES, tf.maximum(length[0] * 256 + length[1] - 8, 0)
        )
    )
    little = tf.reduce_all(tf.pad(tiff, [[0, 4]])[:4] == [0x49, 0x49, 42, 0])
    big = tf.reduce_all(tf.pad(tiff, [[0, 4]])[:4] == [0x4D, 0x4D, 0, 42])
    # Zeros behind: an offset that points past the end reads as an empty directory.
    size = tf.size(tiff, tf.int64)
    tiff = tf.pad(tiff, [[0, 16]])

    def number(values: tf.Tensor) -> tf.Tensor:
        """Returns [...] of [..., n] bytes, in the file's byte order."""
        values = tf.cast(values, tf.int64)
        values = tf.cond(little, lambda: tf.reverse(values, [-1]), lambda: values)
        places = tf.range(tf.shape(values, tf.int64)[-1])[::-1]
        return tf.reduce_sum(tf.bitwise.left_shift(values, 8 * places), -1)

    directory = tf.minimum(number(tiff[4:8]), size)
    count = number(tiff[directory : directory + 2])
    entries = tiff[directory + 2 : directory + 2 + 12 * count]
    entries = tf.reshape(entries[: tf.size(entries) // 12 * 12], [-1, 12])
    kinds = number(entries[:, 2:4])
    values = tf.where(kinds == LONG, number(entries[:, 8:12]), number(entries[:, 8:10]))
    wanted = (number(entries[:, :2]) == ORIENTATION_TAG) & (
        (kinds == SHORT) | (kinds == LONG)
    )
    value = tf.reduce_max(tf.where(wanted, values, 0))
    known = (little | big) & (value >= 1) & (value <= 8)
    return tf.where(known, tf.cast(value, tf.int32), 1)


def _values(text: tf.Tensor) -> tf.Tensor:
    """Returns the [n] int32 bytes of a string."""
    return tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32)
