"""A catalogue's products as the arrays that the encoder takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.errors import InputError
from simprod_tf.features.image import PictureSettings, decode_picture
from simprod_tf.features.text import WordIds

Progress = Callable[[int, int], None]


def picture_batches(
    paths: Sequence[str] | np.ndarray,
    settings: PictureSettings,
    *,
    batch_size: int = 64,
) -> tf.data.Dataset:
    """Returns batches of [B, H, W, 3] uint8 pixels of picture files, in order.

    Zeros stand where the path is "".
    """
    shape = [settings.image_size, settings.image_size, 3]

    def pixels(path: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            tf.strings.length(path) > 0,
            lambda: decode_picture(tf.io.read_file(path), settings),
            lambda: tf.zeros(shape, tf.uint8),
        )

    texts = tf.constant([str(path) for path in paths], tf.string)
    return (
        tf.data.Dataset.from_tensor_slices(texts)
        .map(pixels, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(2)
    )


def decode_catalog(
    paths: Sequence[str] | np.ndarray,
    settings: PictureSettings,
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns [P, H, W, 3] uint8 pixels of all pictures, in a file and not in memory.

    The file has no name and is gone with the array. Raises InputError for a picture
    that cannot be decoded.
    """
    side = settings.image_size
    shape = (len(paths), side, side, 3)
    with tempfile.TemporaryFile() as file:
        pixels = np.memmap(file, np.uint8, "w+", shape=shape)
    _fill(pixels, paths, settings, lambda batch: batch.numpy(), progress)
    return pixels


def extract_features(
    paths: Sequence[str] | np.ndarray,
    tower: tf.keras.Model,
    settings: PictureSettings,
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Returns [P, F] float32 features of all pictures, zeros where there is none."""
    features = np.zeros((len(paths), tower.output_shape[-1]), np.float32)
    forward = tf.function(tower)
    _fill(features, paths, settings, lambda batch: forward(batch).numpy(), progress)
    features[np.asarray(paths) == ""] = 0
    return features


def word_ids(titles: Sequence[str], table: WordIds) -> np.ndarray:
    """Returns [P, MAX_WORDS] int32 word ids of all titles, 0 = padding."""
    blocks = [
        table(tf.constant([str(title) for title in titles[start : start + 4096]]))
        for start in range(0, len(titles), 4096)
    ]
    return np.concatenate([block.numpy() for block in blocks])


def _fill(
    out: np.ndarray,
    paths: Sequence[str] | np.ndarray,
    settings: PictureSettings,
    compute: Callable[[tf.Tensor], np.ndarray],
    progress: Progress | None,
) -> None:
    done = 0
    try:
        for batch in picture_batches(paths, settings):
            out[done : done + len(batch)] = compute(batch)
            done += len(batch)
            if progress:
                progress(done, len(paths))
    except tf.errors.InvalidArgumentError as error:
        raise _undecodable(paths[done:], settings, error) from error


def _undecodable(
    paths: Sequence[str] | np.ndarray, settings: PictureSettings, error: Any
) -> Exception:
    """Finds the picture that stopped a batch, and says what is wrong with it."""
    for path in paths:
        try:
            if path:
                decode_picture(tf.io.read_file(path), settings)
        except tf.errors.InvalidArgumentError as fault:
            reason = str(fault.message).splitlines()[0]
            return InputError(f"the picture cannot be decoded: {reason}", path=path)
    return error
