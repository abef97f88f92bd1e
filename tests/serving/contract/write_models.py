"""Writes the models that the contract suite asks about, and the files to serve them.

    python tests/serving/contract/write_models.py FOLDER [--there /models]

needs TensorFlow alone. FOLDER then holds

    models.config      names `tiny` and `plain`, by their paths as the server sees them
    monitoring.config  Prometheus' page at its usual path
    tiny/1, tiny/2     both served; the suite labels them `stable` and `canary`
    plain/1, plain/2   the default policy: version 2 alone is served

and every version 1 adds 2, every version 2 adds 3. Their signatures:

    serving_default: x [B] float32 -> y [B] float32 = x / 2 + what the version adds
    sum:    a, b [B] float32 -> total [B], difference [B] float32
    echo:   text [B] string -> text [B], text_bytes [B] string
    matmul: m [B, 3] float32 -> out [B, 2] = m[:, 0] + m[:, 2], m[:, 1] + m[:, 2]
    slow:   steps [] int32 -> done [] int32: that many products of 64x64 matrices
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

MODELS_CONFIG = """\
model_config_list {{
  config {{
    name: "tiny"
    base_path: "{there}/tiny"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
  }}
  config {{
    name: "plain"
    base_path: "{there}/plain"
    model_platform: "tensorflow"
  }}
}}
"""
MONITORING_CONFIG = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""
# What versions 1 and 2 add.
ADDS = (2.0, 3.0)


def save_models(folders: Mapping[Path, float]) -> None:
    """Saves a SavedModel of five signatures in each folder; `add` is the folder's.

    serving_default: x [B] float32 -> y [B] float32: x / 2 + add
    sum:    a, b [B] float32 -> total [B], difference [B] float32
    echo:   text [B] string -> text [B] string, text_bytes [B] string
    matmul: m [B, 3] float32 -> out [B, 2] float32: m[:, 0] + m[:, 2], m[:, 1] + m[:, 2]
    slow:   steps [] int32 -> done [] int32: that many products of 64x64 matrices
    """
    import tensorflow as tf

    vector, word = (tf.TensorSpec([None], kind) for kind in (tf.float32, tf.string))
    module = tf.Module()
    module.add = tf.Variable(0.0)

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
        "serving_default": (half_plus, [vector]),
        "sum": (two_sums, [vector, vector]),
        "echo": (echo, [word]),
        "matmul": (matmul, [tf.TensorSpec([None, 3], tf.float32)]),
        "slow": (slow, [tf.TensorSpec([], tf.int32)]),
    }
    traced = {
        key: tf.function(function).get_concrete_function(*specs)
        for key, (function, specs) in signatures.items()
    }
    for folder, add in folders.items():
        module.add.assign(add)
        tf.saved_model.save(module, str(folder), signatures=traced)


def write_models(folder: Path, *, there: str) -> None:
    """Writes the models into an empty or new folder.

    Args:
        folder: where.
        there: the same folder as the server sees it.

    Raises:
        FileExistsError: a model is there already.
    """
    versions = {
        folder / "tiny" / str(number): add for number, add in enumerate(ADDS, 1)
    }
    for version in versions:
        if version.exists():
            raise FileExistsError(f"{version} is there already; give a new folder.")
    save_models(versions)
    for version in versions:
        shutil.copytree(version, folder / "plain" / version.name)
    (folder / "models.config").write_text(MODELS_CONFIG.format(there=there))
    (folder / "monitoring.config").write_text(MONITORING_CONFIG)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the models where the command line says."""
    parser = argparse.ArgumentParser(
        description="Writes the contract suite's models and models.config."
    )
    parser.add_argument("folder", type=Path, help="A new folder.")
    parser.add_argument(
        "--there", default="/models", help="The folder as the server sees it."
    )
    given = parser.parse_args(arguments)
    write_models(given.folder, there=given.there)


if __name__ == "__main__":
    main()
