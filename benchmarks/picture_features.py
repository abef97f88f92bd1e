"""Picture files -> fc7 features on disk, beside AlexNet's bare forward pass.

    python benchmarks/picture_features.py [--pictures 4000] [--preset torchvision]
    python benchmarks/picture_features.py --memory 1000 20000

Random weights; made-up JPEGs of 500 x 500 pixels and about 40 KB, no two alike.
Pictures per CPU-second (`time.process_time`), medians of interleaved repeats.
`--memory` runs the extraction of so many pictures in a process each and prints the
peaks.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import io
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from simprod_tf.features.image import PictureSettings
from simprod_tf.features.store import FeatureStore
from simprod_tf.model.image_tower import ImageTower, build_image_tower

BATCH = 64
KINDS = 40


def write_pictures(folder: Path, count: int) -> list[str]:
    """Writes JPEGs whose contents differ; returns their paths."""
    rng = np.random.default_rng(0)
    kinds = []
    for _ in range(KINDS):
        rough = Image.fromarray(rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))
        file = io.BytesIO()
        rough.resize((500, 500), Image.Resampling.BICUBIC).save(
            file, "JPEG", quality=60
        )
        kinds.append(file.getvalue())
    paths = []
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        # Behind the end marker: decodes alike, but is another file to the store.
        path.write_bytes(kinds[number % KINDS] + str(number).encode())
        paths.append(str(path))
    return paths


def forward_of(tower: ImageTower):
    """Returns the tower as `simprod embed` calls it."""
    compiled = tf.function(tower.model, reduce_retracing=True)
    return lambda pixels: compiled(tf.cast(pixels, tf.float32)).numpy()


def extract(tower: ImageTower, forward, paths: list[str]) -> None:
    """Puts the features of the pictures into a store of their own."""
    settings = PictureSettings(tower.image_size, tower.resize_to)
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(folder, fingerprint="benchmark", dim=tower.dim)
        found = store.extract(paths, paths, forward, settings, batch_size=BATCH)
        if found.computed != len(paths):
            raise SystemExit(f"expected {len(paths)} features: {found}")


def rates(preset: str, count: int, repeats: int) -> None:
    """Prints pictures per CPU-second of both, and their ratio."""
    tower = build_image_tower(preset, output_layer="fc7")
    forward = forward_of(tower)
    side = tower.image_size
    pixels = np.random.default_rng(1).integers(
        0, 255, (BATCH, side, side, 3), dtype=np.uint8
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), count)
        size = np.mean([os.path.getsize(path) for path in paths]) / 1000
        extract(tower, forward, paths[: BATCH * 2])
        bare, whole = [], []
        for _ in range(repeats):
            start = time.process_time()
            for _ in range(count // BATCH):
                forward(pixels)
            middle = time.process_time()
            extract(tower, forward, paths)
            bare.append(count // BATCH * BATCH / (middle - start))
            whole.append(count / (time.process_time() - middle))
    print(f"{preset}, {count} JPEGs of {size:.0f} KB, to fc7, batch {BATCH}")
    print(f"  bare forward            {np.median(bare):6.1f} per CPU-second")
    ratio = np.median([w / b for w, b in zip(whole, bare)])
    print(f"  disk -> features on disk {np.median(whole):5.1f}   ratio {ratio:.2f}")


def memory(preset: str, count: int) -> None:
    """Prints the peak memory of this process after one extraction."""
    tower = build_image_tower(preset, output_layer="fc7")
    with tempfile.TemporaryDirectory() as folder:
        extract(tower, forward_of(tower), write_pictures(Path(folder), count))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{preset}, {count} pictures: peak {peak:,.0f} MB")


def main() -> None:
    """Reads the arguments and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="torchvision")
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="+", default=[])
    parser.add_argument("--one-memory", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one_memory:
        memory(asked.preset, asked.one_memory)
        return
    for count in asked.memory:
        own = [sys.executable, __file__, "--preset", asked.preset]
        subprocess.run([*own, "--one-memory", str(count)], check=True)
    if not asked.memory:
        rates(asked.preset, asked.pictures, asked.repeats)


if __name__ == "__main__":
    main()
