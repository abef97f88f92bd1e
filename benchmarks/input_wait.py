"""How long a training step waits for its batch, one run.

    python benchmarks/input_wait.py

A head 4,396 -> 512 -> 128 on stored float16 features of 20,000 products, synthetic, in
batches of 256 different products with all labelled pairs among them. The share is the
time inside `next(iterator)` over that of `next` and step together; the first pass,
which makes the graph and reads the file into memory, is not counted. Goal: below 10 %.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pyarrow as pa
import tensorflow as tf

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.features.unique_batches import unique_batches
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.losses import contrastive_loss
from simprod_tf.model.siamese import build_pairwise
from simprod_tf.model.source import VectorSource
from simprod_tf.training.optimizer import OptimizerSettings, build_optimizer

DIM, HIDDEN, EMBEDDING = 4396, 512, 128
GROUP = 4
GOAL = 0.10


def make_catalog(num_products: int) -> Catalog:
    """Returns products of no more than an id."""
    ids = text_array([f"p{row:06}" for row in range(num_products)])
    empty = text_array([""] * num_products)
    return Catalog(ids, empty, empty, empty, pa.table({}))


def make_pairs(catalog: Catalog, rng: np.random.Generator) -> Pairs:
    """Returns three pairs a product: one similar, of its group, and two not."""
    rows = np.arange(len(catalog))
    fellow = rows // GROUP * GROUP + (rows + 1) % GROUP
    far = [(rows + rng.integers(GROUP, len(rows) - GROUP, len(rows))) % len(rows)]
    far.append((rows + rng.integers(GROUP, len(rows) - GROUP, len(rows))) % len(rows))
    anchors, others = np.tile(rows, 3), np.concatenate([fellow, *far])
    _, once = np.unique(np.sort([anchors, others], axis=0), axis=1, return_index=True)
    labels = np.repeat([1, 0, 0], len(rows))
    ids = catalog.ids
    return canonical_pairs(
        ids[anchors[once]], ids[others[once]], [int(one) for one in labels[once]]
    )


def stored(path: Path, num_products: int, rng: np.random.Generator) -> np.ndarray:
    """Returns [P, DIM] float16 features that lie in a file."""
    shape = (num_products, DIM)
    found = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    for start in range(0, num_products, 1000):
        found[start : start + 1000] = rng.normal(size=(1000, DIM)).astype(np.float16)
    found.flush()
    return np.load(path, mmap_mode="r")


def timed_pass(model: tf.keras.Model, batches: tf.data.Dataset) -> tuple[float, float]:
    """Returns the seconds that one pass waits for batches, and those of its steps."""
    waited = worked = 0.0
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        batch = next(iterator, None)
        waited += time.perf_counter() - start
        if batch is None:
            return waited, worked
        start = time.perf_counter()
        # Reading the loss waits for the step itself, on a GPU too.
        float(model.train_step_of(batch)["loss"])
        worked += time.perf_counter() - start


def main() -> None:
    """Prints the share of each pass."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--passes", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    catalog = make_catalog(options.products)
    pairs = make_pairs(catalog, rng)
    tf.keras.utils.set_random_seed(0)
    settings = EncoderSettings(embedding_dim=EMBEDDING, hidden_units=HIDDEN)
    head = build_head([VectorSource("tower", DIM, "image")], settings)
    model = build_pairwise(head)
    optimizer = build_optimizer(OptimizerSettings(), model, steps_per_epoch=1, epochs=1)
    model.compile(optimizer, contrastive_loss(1.0), weighted_metrics=[])
    model.train_step_of = tf.function(model.train_step, reduce_retracing=True)
    with tempfile.TemporaryDirectory() as folder:
        features = stored(Path(folder) / "features.npy", options.products, rng)
        arrays = {
            "tower_features": features,
            "has_image": np.ones((options.products, 1), np.float32),
        }
        batches = unique_batches(
            arrays, catalog, pairs, batch_size=options.batch_size, training=True
        )
        devices = len(tf.config.list_physical_devices("GPU"))
        print(f"{len(pairs)} pairs, {devices} GPUs, {os.cpu_count()} CPUs")
        timed_pass(model, batches)
        for number in range(options.passes):
            waited, worked = timed_pass(model, batches)
            share = waited / (waited + worked)
            print(
                f"pass {number + 1}: waited {waited:.2f} s, worked {worked:.2f} s, "
                f"share {share:.1%} (goal below {GOAL:.0%})"
            )


if __name__ == "__main__":
    main()
