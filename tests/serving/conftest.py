"""Tiny SavedModels for the tests of the server: saved once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def save_tiny_model(folder: Path, *, add: float) -> None:
    """Saves a SavedModel of five signatures; `serving_default` is x / 2 + `add`.

    serving_default: x [B] float32 -> y [B] float32
    sum:    a, b [B] float32 -> total [B], difference [B] float32
    echo:   text [B] string -> text [B] string, text_bytes [B] string
    matmul: m [B, 3] float32 -> out [B, 2] float32: m[:, 0] + m[:, 2], m[:, 1] + m[:, 2]
    slow:   steps [] int32 -> done [] int32: that many products of 64x64 matrices
    """
    import tensorflow as tf

    vector, word = (tf.TensorSpec([None], kind) for kind in (tf.float32, tf.string))
    module = tf.Module()
    module.add = tf.Variable(add, dtype=tf.float32)

    def half_plus(x):
        return {"y": x / 2 + module.add}

    def two_sums(a, b):
        return {"total": a + b, "difference": a - b}

    def echo(text):
        return {"text": tf.identity(text), "text_bytes": tf.identity(text)}

    def matmul(m):
        return {"out": m @ tf.constant([[1.0, 0], [0, 1], [1, 1]])}

    def slow(steps):
        def step(done, matrix):
            # Divided, lest it overflow; the loop's own value keeps it from removal.
            return done + 1, matrix @ matrix / 64

        done, matrix = tf.while_loop(
            lambda done, _: done < steps, step, [tf.constant(0), tf.ones([64, 64])]
        )
        return {"done": done + tf.cast(matrix[0, 0] < 0, tf.int32)}

    signatures = {
        "serving_default": (half_plus, [tf.TensorSpec([None], tf.float32, name="x")]),
        "sum": (two_sums, [vector, vector]),
        "echo": (echo, [word]),
        "matmul": (matmul, [tf.TensorSpec([None, 3], tf.float32)]),
        "slow": (slow, [tf.TensorSpec([], tf.int32)]),
    }
    tf.saved_model.save(
        module,
        str(folder),
        signatures={
            key: tf.function(function).get_concrete_function(*specs)
            for key, (function, specs) in signatures.items()
        },
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """`tiny_model(folder, version, add=2.0)` puts a tiny model at folder/version.

    The copy appears whole (it is renamed into place), as a server that polls the folder
    needs it; the function returns the path of the version.
    """
    kept: dict[float, Path] = {}

    def put(folder: Path, version: int, *, add: float = 2.0) -> Path:
        if add not in kept:
            saved = tmp_path_factory.mktemp("tiny") / "model"
            save_tiny_model(saved, add=add)
            kept[add] = saved
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{version}-being-copied"
        shutil.copytree(kept[add], aside)
        return aside.rename(folder / str(version))

    return put
