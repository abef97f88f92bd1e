"""A batch of pictures' bytes -> pixels, where a bad picture costs its own row alone.

An op that fails, as those that decode pictures do, fails the whole graph. The one place
in which TensorFlow's stock ops get over an error is a tf.data pipeline: it leaves out
the elements that failed. So a small one runs inside the graph, and each element carries
the number of its row. It costs 1.5 ms of CPU a batch, of any size, to set it up.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from simprod_tf.features.image import FORMATS, PictureSettings, checked_picture


class DecodedPictures(NamedTuple):
    """A batch of decoded pictures.

    Attributes:
        pixels: [B, S, S, 3] uint8 RGB, zeros where there is no picture or a fault.
        has_image: [B] bool, whether there is a picture, and a good one.
        fault: [B] string, what is wrong with a picture; "" where nothing is, or where
            there is none.
    """

    pixels: tf.Tensor
    has_image: tf.Tensor
    fault: tf.Tensor


@tf.autograph.experimental.do_not_convert
def decode_pictures(
    image_bytes: tf.Tensor, settings: PictureSettings
) -> DecodedPictures:
    """Decodes a [B] batch of picture bytes, "" where there is none; B may be 0."""
    shape = [settings.image_size, settings.image_size, 3]
    count = tf.size(image_bytes, tf.int64)
    nothing = (tf.zeros(shape, tf.uint8), tf.constant(""))

    def decoded(row: tf.Tensor) -> tuple[tf.Tensor, ...]:
        content = image_bytes[row]
        pixels, fault = tf.cond(
            tf.strings.length(content) > 0,
            lambda: checked_picture(content, settings),
            lambda: nothing,
        )
        return row, pixels, fault

    # One by one, since one alone may hold MAX_PIXELS. Four at once cost 0.5 ms more for
    # one picture of 64 pixels, and for 32 of them on two cores save next to nothing.
    good = tf.data.Dataset.range(count).map(decoded)
    # The last element stands for all rows that were left out; and without it there
    # would be nothing to batch where none is left.
    last = tf.data.Dataset.from_tensors((count, *nothing))
    all_rows = good.ignore_errors().concatenate(last).batch(count + 1)
    rows, pixels, faults = all_rows.with_options(_plain()).get_single_element()
    at = tf.tensor_scatter_nd_update(
        tf.fill([count + 1], tf.size(rows) - 1),
        rows[:, tf.newaxis],
        tf.range(tf.size(rows)),
    )[:count]
    left_out = at == tf.size(rows) - 1
    fault = tf.where(left_out, _damaged(image_bytes), tf.gather(faults, at))
    has_image = (tf.strings.length(image_bytes) > 0) & (fault == "")
    pixels = tf.ensure_shape(tf.gather(pixels, at), [None, *shape])
    return DecodedPictures(pixels, has_image, fault)


def _plain() -> tf.data.Options:
    """Returns options under which a pipeline that runs once is not tuned for more."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return options


def _damaged(image_bytes: tf.Tensor) -> tf.Tensor:
    """Returns the [B] faults of pictures that could not be decoded."""
    name = tf.fill(tf.shape(image_bytes), "picture")
    for format_name, start in FORMATS.items():
        is_it = tf.strings.substr(image_bytes, 0, len(start)) == start
        name = tf.where(is_it, format_name, name)
    return tf.strings.join(["the ", name, " is damaged or cut"])
