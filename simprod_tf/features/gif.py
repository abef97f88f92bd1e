"""The first frame of a GIF, cut out by stock TensorFlow ops.

TensorFlow's decoder unpacks every frame into memory before it drops all but the first,
paints transparent pixels black and forgets the canvas around a frame. The first two are
settled in the bytes, before they are decoded (GIF89a, CompuServe, 1990).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

EXTENSION, IMAGE, TRAILER = 0x21, 0x2C, b"\x3b"
# The frame's left and top become 0.
IMAGE_START = b"\x2c\0\0\0\0"
GRAPHIC_CONTROL = 0xF9
# The header and the logical screen descriptor.
SCREEN_BYTES = 13
WHITE = b"\xff\xff\xff"


class FirstFrame(NamedTuple):
    """A GIF of one frame that fills it, and whose transparent pixels are white.

    Attributes:
        content: Scalar string; "" if the GIF is cut or damaged before the frame's end.
        place: [4] int32: the frame's left, top, width and height on the old canvas.
    """

    content: tf.Tensor
    place: tf.Tensor


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def first_frame(gif: tf.Tensor) -> FirstFrame:
    """Returns the first frame of a GIF's bytes."""
    data = tf.cast(tf.io.decode_raw(gif, tf.uint8), tf.int32)
    size = tf.size(data)
    # Zeros behind: what is read past the end ends every loop.
    data = tf.pad(data, [[0, SCREEN_BYTES + 16]])

    start = SCREEN_BYTES + _palette_bytes(data[10])

    def behind_blocks(at: tf.Tensor) -> tf.Tensor:
        """Returns the position behind a row of data blocks and its terminator."""
        last = tf.while_loop(
            lambda at: (at < size) & (data[at] > 0),
            lambda at: [at + 1 + data[at]],
            [at],
        )
        return tf.minimum(last[0], size) + 1

    def skip(at: tf.Tensor, clear: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        is_control = data[at + 1] == GRAPHIC_CONTROL
        own = tf.where(data[at + 3] % 2 == 1, data[at + 6], -1)
        return behind_blocks(at + 2), tf.where(is_control, own, clear)

    # `clear` is the palette's entry for transparent pixels, -1 if there is none.
    at, clear = tf.while_loop(
        lambda at, clear: (at < size) & (data[at] == EXTENSION),
        skip,
        [start, tf.constant(-1)],
    )
    at = tf.minimum(at, size)
    place = data[at + 1 : at + 9 : 2] + 256 * data[at + 2 : at + 10 : 2]
    local = _palette_bytes(data[at + 9])
    # One byte, the smallest code's length, stands before the frame's blocks.
    end = behind_blocks(at + 10 + local + 1)
    # What stood between the palette and the frame, transparency too, is left out.
    one = tf.strings.join(
        [
            tf.strings.substr(gif, 0, tf.minimum(start, size)),
            IMAGE_START,
            tf.strings.substr(gif, tf.minimum(at + 5, size), end - at - 5),
            TRAILER,
        ]
    )
    palette = tf.where(local > 0, start + 10, SCREEN_BYTES)
    colours = tf.where(local > 0, local, _palette_bytes(data[10])) // 3
    content = tf.cond(
        (clear >= 0) & (clear < colours),
        lambda: _with_white(one, palette + 3 * clear),
        lambda: one,
    )
    whole = (data[at] == IMAGE) & (end <= size)
    content = tf.where(whole, content, b"")
    return FirstFrame(content, tf.ensure_shape(place, [4]))


def _palette_bytes(flags: tf.Tensor) -> tf.Tensor:
    entries = tf.bitwise.left_shift(2, flags % 8)
    return tf.where(flags >= 128, 3 * entries, 0)


def _with_white(gif: tf.Tensor, entry: tf.Tensor) -> tf.Tensor:
    behind = tf.minimum(entry + len(WHITE), tf.strings.length(gif))
    return tf.strings.join(
        [
            tf.strings.substr(gif, 0, entry),
            WHITE,
            tf.strings.substr(gif, behind, tf.strings.length(gif) - behind),
        ]
    )
