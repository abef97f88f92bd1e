"""Picture files -> batches of pixels, read and decoded in parallel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from simprod_tf.data.picture_file import read_picture
from simprod_tf.errors import InputError
from simprod_tf.features.image import (
    GIF_START,
    JPEG_START,
    PNG_START,
    PictureSettings,
    decode_picture,
    decoding_fault,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PictureFault:
    """A picture that cannot be used, and why."""

    row: int
    path: str
    reason: str


class PictureBatch(NamedTuple):
    """Pictures that could be decoded.

    Attributes:
        rows: [B] int64, which of the paths.
        pixels: [B, H, W, 3] uint8.
    """

    rows: np.ndarray
    pixels: tf.Tensor


def picture_batches(
    paths: Sequence[str] | np.ndarray,
    settings: PictureSettings,
    *,
    batch_size: int = 64,
) -> tf.data.Dataset:
    """Returns batches of [B, H, W, 3] uint8 pixels of picture files, in order.

    They are read and decoded while the consumer works. Zeros stand where the path
    is "". A picture that cannot be decoded is an error of the iteration.
    """
    return (
        _decoded(paths, settings)
        .map(lambda row, pixels: pixels)
        .batch(batch_size)
        .prefetch(2)
    )


class ReadablePictures:
    """Batches of the pictures that can be decoded; the others stop nothing.

    After an iteration `faults` tells of the others.
    """

    def __init__(
        self,
        paths: Sequence[str] | np.ndarray,
        settings: PictureSettings,
        *,
        batch_size: int = 64,
    ) -> None:
        """Takes the paths, none of them ""."""
        self._paths = [str(path) for path in paths]
        self._settings = settings
        self._batch_size = batch_size
        self.faults: list[PictureFault] = []

    def __iter__(self) -> Iterator[PictureBatch]:
        """Yields the batches, all but the last ones full, their rows rising."""
        self.faults = []
        left = np.ones(len(self._paths), bool)
        for rows, pixels in self._batches():
            left[rows.numpy()] = False
            yield PictureBatch(rows.numpy(), pixels)
        for row in np.flatnonzero(left):
            yield from self._once_more(int(row))

    def _batches(self) -> tf.data.Dataset | tuple[()]:
        if not self._paths:
            return ()
        # An element that raises is left out; its row number tells which it was.
        return (
            _decoded(self._paths, self._settings)
            .ignore_errors()
            .batch(self._batch_size)
            .prefetch(2)
            .with_options(_beside_a_tower())
        )

    def _once_more(self, row: int) -> Iterator[PictureBatch]:
        """Reads a left out picture alone, for the reason, or if it was bad luck."""
        path = self._paths[row]
        try:
            pixels = decode_picture(tf.constant(read_picture(path)), self._settings)
        except (InputError, tf.errors.OpError) as error:
            self.faults.append(PictureFault(row, path, _reason(error)))
        else:
            yield PictureBatch(np.array([row]), pixels[tf.newaxis])


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
    done = 0
    try:
        for batch in picture_batches(paths, settings):
            pixels[done : done + len(batch)] = batch.numpy()
            done += len(batch)
            if progress:
                progress(done, len(paths))
    except tf.errors.OpError as error:
        raise _undecodable(paths[done:], settings, error) from error
    return pixels


def _decoded(
    paths: Sequence[str] | np.ndarray, settings: PictureSettings
) -> tf.data.Dataset:
    """Returns (row, [H, W, 3] uint8 pixels) of each picture file, in order."""
    shape = [settings.image_size, settings.image_size, 3]

    @tf.autograph.experimental.do_not_convert
    def pixels(row: tf.Tensor, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        decoded = tf.cond(
            tf.strings.length(path) > 0,
            lambda: decode_picture(_content(path), settings),
            lambda: tf.zeros(shape, tf.uint8),
        )
        return row, decoded

    # As bytes: a path need not be UTF-8.
    texts = tf.constant([os.fsencode(str(path)) for path in paths], tf.string)
    return (
        tf.data.Dataset.from_tensor_slices(texts)
        .enumerate()
        .map(pixels, num_parallel_calls=tf.data.AUTOTUNE)
    )


def _beside_a_tower() -> tf.data.Options:
    """Returns options that leave the cores to the tower that takes the pictures."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = max(1, (os.cpu_count() or 1) // 2)
    options.threading.max_intra_op_parallelism = 1
    return options


def _content(path: tf.Tensor) -> tf.Tensor:
    """Returns a file's bytes, converted by Python if they are of another format."""
    content = tf.io.read_file(path)
    starts = (JPEG_START, PNG_START, GIF_START)
    native = [tf.strings.substr(content, 0, len(one)) == one for one in starts]

    def converted() -> tf.Tensor:
        text = tf.numpy_function(_converted, [path], tf.string)
        return tf.ensure_shape(text, [])

    return tf.cond(tf.reduce_any(native), lambda: content, converted)


def _converted(path: bytes) -> np.ndarray:
    # An array of objects: numpy's own strings lose zero bytes at the end.
    return np.array(read_picture(os.fsdecode(path)), object)


def _reason(error: InputError | tf.errors.OpError) -> str:
    if isinstance(error, InputError):
        return error.reason
    return f"the picture cannot be decoded: {decoding_fault(error)}"


def _undecodable(
    paths: Sequence[str] | np.ndarray,
    settings: PictureSettings,
    error: tf.errors.OpError,
) -> Exception:
    """Finds the picture that stopped a batch, and says what is wrong with it."""
    for path in paths:
        try:
            if path:
                decode_picture(tf.constant(read_picture(path)), settings)
        except (InputError, tf.errors.OpError) as fault:
            return InputError(_reason(fault), path=path)
    return error
