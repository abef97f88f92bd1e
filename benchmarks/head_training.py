"""Training the head on stored features: ours by Keras `fit`, beside an eager PyTorch.

    python benchmarks/head_training.py [--repeats 3] [--steps 64] [--only NAME ...]

4,396 features -> 512 (ReLU) -> 128 of unit length, Adam, batches of 256 unique items,
64 classes by four; every row trains on the same noise in a process of its own, in turn,
and prints the median of its items per CPU-second (all threads). The contrastive loss
of all pairs in the batch is the work to compare; "twin pairs" counts pairs, of two
items each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

FEATURES, HIDDEN, DIM = 4396, 512, 128
BATCH, NUM_CLASSES = 256, 64
NUM_ITEMS = 2048
MARGIN, LEARNING_RATE = 1.0, 1e-3
WARM_UP_STEPS = 16


def batches() -> tuple[np.ndarray, np.ndarray]:
    """Returns features [N, 4396] float32 and class ids [N], four of each in a batch."""
    features = np.random.default_rng(0).random((NUM_ITEMS, FEATURES), dtype=np.float32)
    return features, np.tile(np.arange(BATCH) % NUM_CLASSES, NUM_ITEMS // BATCH)


def all_pairs(class_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and weights [B, B]: mean 1, the diagonal 0."""
    labels = (class_ids[:, None] == class_ids).astype(np.float32)
    known = 1.0 - np.eye(len(class_ids), dtype=np.float32)
    return labels, known / known.mean()


def keras_row(
    kind: str, *, jit_compile: bool = False, steps_per_execution: int = 1
) -> Callable[[int], None]:
    """Returns what trains our head for so many steps by `fit`."""
    import tensorflow as tf

    from simprod_tf.model.encoder import UnitLength
    from simprod_tf.model.losses import contrastive_loss
    from simprod_tf.model.siamese import build_pairwise, build_siamese
    from simprod_tf.model.triplet import triplet_semihard_loss

    layers = tf.keras.layers
    item = tf.keras.Input([FEATURES], name="item")
    x = layers.Dense(DIM)(layers.Dense(HIDDEN, "relu")(item))
    encoder = tf.keras.Model({"item": item}, UnitLength()(x))
    features, class_ids = batches()
    if kind == "semihard":
        model, loss = encoder, triplet_semihard_loss(MARGIN)
    elif kind == "semihard of TensorFlow Addons":
        import tensorflow_addons as tfa

        model, loss = encoder, tfa.losses.TripletSemiHardLoss(MARGIN)
    elif kind == "twin pairs":
        model, loss = build_siamese(encoder), contrastive_loss(MARGIN)
    else:
        model, loss = build_pairwise(encoder), contrastive_loss(MARGIN)
    model.compile(
        tf.keras.optimizers.Adam(LEARNING_RATE),
        loss,
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    labels, weights = all_pairs(class_ids[:BATCH])

    def batch(at: tf.Tensor) -> tuple:
        rows = slice(at * BATCH, (at + 1) * BATCH)
        if kind == "twin pairs":
            inputs = {"anchor_item": x[rows], "other_item": tf.reverse(x[rows], [0])}
            same = ids[rows] == tf.reverse(ids[rows], [0])
            return inputs, tf.cast(same, tf.float32)[:, tf.newaxis]
        if kind == "all pairs":
            return {"item": x[rows]}, labels, weights
        return {"item": x[rows]}, ids[rows]

    x, ids = tf.constant(features), tf.constant(class_ids)
    numbers = tf.data.Dataset.range(NUM_ITEMS // BATCH).repeat()
    data = numbers.map(batch).prefetch(2)

    def train(steps: int) -> None:
        model.fit(data, steps_per_epoch=steps, verbose=0)

    return train


def torch_row() -> Callable[[int], None]:
    """Returns what trains the same head by PyTorch, in eager mode."""
    try:
        import torch
        from torch import nn
    except ImportError as error:
        raise SystemExit(
            "this row needs PyTorch: pip install 'simprod-tf[benchmark]'."
        ) from error
    model = nn.Sequential(
        nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    features, class_ids = batches()
    data = torch.from_numpy(features)
    labels, weights = (torch.from_numpy(x) for x in all_pairs(class_ids[:BATCH]))

    def train(steps: int) -> None:
        for step in range(steps):
            at = step * BATCH % NUM_ITEMS
            x = nn.functional.normalize(model(data[at : at + BATCH]))
            distance = distances(x)
            too_near = torch.relu(MARGIN - distance).square()
            losses = labels * distance.square() + (1 - labels) * too_near
            optimizer.zero_grad()
            (losses * weights).mean().backward()
            optimizer.step()

    def distances(x: torch.Tensor) -> torch.Tensor:
        products = x @ x.T
        lengths = products.diagonal()
        squared = lengths[:, None] + lengths - 2 * products
        return squared.clamp(min=1e-12).sqrt()

    return train


ROWS: dict[str, Callable[[], Callable[[int], None]]] = {
    "torch, all pairs": torch_row,
    "fit, all pairs": lambda: keras_row("all pairs"),
    "fit, all pairs, 8 steps an execution": lambda: keras_row(
        "all pairs", steps_per_execution=8
    ),
    "fit, all pairs, XLA": lambda: keras_row("all pairs", jit_compile=True),
    "fit, all pairs, XLA, 8 steps": lambda: keras_row(
        "all pairs", jit_compile=True, steps_per_execution=8
    ),
    "fit, semihard": lambda: keras_row("semihard"),
    "fit, semihard, XLA": lambda: keras_row("semihard", jit_compile=True),
    "fit, semihard of TensorFlow Addons": lambda: keras_row(
        "semihard of TensorFlow Addons"
    ),
    "fit, twin pairs": lambda: keras_row("twin pairs"),
}


def measure(row: str, steps: int) -> None:
    """Prints what one row came to, building and compiling left out."""
    train = ROWS[row]()
    train(WARM_UP_STEPS)
    start, cpu = time.perf_counter(), time.process_time()
    train(steps)
    items = steps * BATCH
    found = {
        "per_cpu_s": items / (time.process_time() - cpu),
        "per_wall_s": items / (time.perf_counter() - start),
    }
    print(json.dumps(found))


def compare(rows: list[str], *, repeats: int, steps: int) -> None:
    """Measures each row in turn and prints medians and ratios to the first."""
    found: dict[str, list[dict]] = {row: [] for row in rows}
    for _ in range(repeats):
        for row in rows:
            command = [sys.executable, __file__, "--measure", row]
            command += ["--steps", str(steps)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"{row}: stopped with {done.returncode}, see above.")
            found[row].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'items per second':38} {'CPU':>8} {'wall':>8} {'CPU, to first':>14}")
    first = statistics.median(run["per_cpu_s"] for run in found[rows[0]])
    for row, runs in found.items():
        cpu = statistics.median(run["per_cpu_s"] for run in runs)
        wall = statistics.median(run["per_wall_s"] for run in runs)
        print(f"{row:38} {cpu:8,.0f} {wall:8,.0f} {cpu / first:14.2f}")


def main() -> None:
    """Reads the command line and runs the comparison, or one row of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--measure", choices=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.steps)
    else:
        compare(options.only, repeats=options.repeats, steps=options.steps)


if __name__ == "__main__":
    main()
