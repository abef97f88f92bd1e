"""tf.data: what was drawn for each batch of a pass -> batches, gathered from arrays.

Everything random in a pass depends on (seed, epoch) alone, and is drawn as the pass's
first batch is pulled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Union

import numpy as np
import tensorflow as tf

from simprod_tf.features.augment import AugmentSettings, augment_pictures
from simprod_tf.features.epoch_clock import EpochClock

# The inputs that are pictures end in this.
PIXELS = "_pixels"
# Streams of `EpochClock.rng`.
ORDER, PICTURES = 0, 1


@dataclass(frozen=True, eq=False)
class Drawn:
    """One batch as it was drawn, before its products' inputs are gathered.

    Attributes:
        rows: [B] int64 by what stands before the inputs' names ("" for nothing).
        label, weight: As the loss takes them.
    """

    rows: Mapping[str, np.ndarray]
    label: np.ndarray
    weight: np.ndarray


# Draws the batches of a pass, at random by the generator, or in order without one.
Draw = Callable[[Union[np.random.Generator, None]], Iterator[Drawn]]


def require_at_least(least: int, **numbers: int) -> None:
    """Refuses numbers below `least`, by their names."""
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}.")


def batch_dataset(
    arrays: Mapping[str, Any],
    draw: Draw,
    *,
    num_products: int,
    num_batches: int,
    like: Drawn,
    training: bool,
    begin: Callable[[], EpochClock],
    shard: tuple[int, int],
    augment: AugmentSettings | None,
) -> tf.data.Dataset:
    """Returns the dataset of (inputs, label, weight) whose batches `draw` draws.

    Args:
        arrays: [P, ...] inputs by name.
        draw: Draws a pass. In training it is called again where a pass gives less than
            `num_batches`, and what is more is left out; else it gives just as many.
        num_products: P.
        num_batches: In a pass, of all shards together.
        like: A batch, whose names and shapes (but for B) all batches have.
        training: Whether order and pictures are random.
        begin: Tells the time of the pass that begins.
        shard: (index, count).
        augment: How pictures are changed.
    """
    for name, array in arrays.items():
        if array.shape[0] != num_products:
            raise ValueError(
                f"input {name!r} has {array.shape[0]} rows for {num_products} products."
            )
    own_batches = _own_batches(num_batches, shard)
    index, count = shard

    def one_pass() -> Iterator[tuple]:
        time = begin()
        pictures = time.rng(PICTURES)
        rng = time.rng(ORDER) if training else None
        for number, batch in enumerate(_exactly(draw, rng, own_batches * count)):
            # Drawn for the others' batches too: a batch is the same whoever gets it.
            seeds = pictures.integers(2**31, size=(len(like.rows), 2), dtype=np.int32)
            if number % count == index:
                yield tuple(batch.rows.values()), batch.label, batch.weight, seeds

    dataset = tf.data.Dataset.from_generator(
        one_pass, output_signature=_signature(like)
    )
    dataset = dataset.map(_gathering(arrays, like), num_parallel_calls=2)
    dataset = dataset.map(
        _finished(like, training, augment or AugmentSettings()), num_parallel_calls=2
    )
    # What comes from a generator has no known length, and Keras no bar to show.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(own_batches))
    return dataset.prefetch(2)


def _own_batches(num_batches: int, shard: tuple[int, int]) -> int:
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"shard must be (index, count), 0 <= index < count: {shard}.")
    if num_batches < count:
        raise ValueError(
            f"{num_batches} batches cannot be shared among {count} workers: take "
            "smaller batches or fewer workers."
        )
    return num_batches // count


def _exactly(
    draw: Draw, rng: np.random.Generator | None, count: int
) -> Iterator[Drawn]:
    while count:
        for batch in islice(draw(rng), count):
            count -= 1
            yield batch


def _signature(like: Drawn) -> tuple:
    """Returns what the generator gives: rows a side, label, weight, seeds a side."""
    width = 1 if like.label.shape[1] == 1 else None
    return (
        tuple(tf.TensorSpec([None], tf.int64) for _ in like.rows),
        tf.TensorSpec([None, width], like.label.dtype),
        tf.TensorSpec([None] * like.weight.ndim, tf.float32),
        tf.TensorSpec([len(like.rows), 2], tf.int32),
    )


def _gathering(arrays: Mapping[str, Any], like: Drawn) -> Callable:
    """Returns the map from rows to the inputs in them."""
    columns = [(f"{side}{name}", a) for side in like.rows for name, a in arrays.items()]

    def rows_of_all(*rows: np.ndarray) -> list[np.ndarray]:
        return [array[some] for some in rows for array in arrays.values()]

    def gather(rows: tuple[tf.Tensor, ...], *others: tf.Tensor) -> tuple:
        kinds = [array.dtype for _, array in columns]
        # Numpy gathers: an array may lie in a file, and is in no graph.
        found = tf.numpy_function(rows_of_all, rows, kinds, stateful=False)
        inputs = {
            name: tf.ensure_shape(one, [None, *array.shape[1:]])
            for (name, array), one in zip(columns, found)
        }
        return (inputs, *others)

    return gather


def _finished(like: Drawn, training: bool, augment: AugmentSettings) -> Callable:
    """Returns the map from what was gathered to what the model takes."""

    def changed(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        with tf.device("CPU:0"):
            return augment_pictures(pixels, seed, augment)

    def finish(
        inputs: dict[str, tf.Tensor], label: tf.Tensor, weight: tf.Tensor, seeds: Any
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        done = dict(inputs)
        # The towers of one encoder see the same crop of a picture.
        for number, side in enumerate(like.rows):
            for name in (name for name in inputs if name.startswith(side)):
                if name.endswith(PIXELS) and training:
                    # In a graph, TensorFlow's estimate of what cropping an unknown
                    # number of pictures costs fails, with long lines on stderr.
                    found = tf.py_function(
                        changed, [inputs[name], seeds[number]], tf.float32
                    )
                    done[name] = tf.ensure_shape(found, inputs[name].shape)
                # Numpy turns halves into floats at a tenth of the speed.
                elif name.endswith(PIXELS) or inputs[name].dtype == tf.float16:
                    done[name] = tf.cast(inputs[name], tf.float32)
        return done, label, weight

    return finish
