"""The encoder as a SavedModel that TF Serving loads, and back.

`<folder>/<version>/` holds a SavedModel of stock TensorFlow ops and `manifest.json`.
Its signature `serving_default` takes `image_bytes` [B] string and `title` [B] string
("" where there is none), and by name the attributes and precomputed vectors that the
encoder was trained with; it gives `embedding` [B, D] float32, unit length.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from simprod_tf.atomic import whole_folder
from simprod_tf.export.encoder_model import ExportedEncoder
from simprod_tf.export.versions import model_versions
from simprod_tf.manifest import write_manifest
from simprod_tf.trained import TrainedEncoder, tower_details

KIND = "exported encoder"


def export_encoder(trained: TrainedEncoder, folder: str | Path) -> Path:
    """Writes the next version of the model and returns its folder, `<folder>/<n>`."""
    root = Path(folder)
    versions = model_versions(root)
    final = root / str(versions[-1] + 1 if versions else 1)
    module = ExportedEncoder(trained)
    manifest = {
        **trained.details,
        "kind": KIND,
        "fingerprint": trained.fingerprint,
        "dim": trained.dim,
        "towers": tower_details(trained.towers),
        "inputs": trained.inputs.to_json(),
        "tensorflow": tf.__version__,
        "signatures": {
            "serving_default": {
                "inputs": _described(module.embed.structured_input_signature[1]),
                "outputs": {"embedding": f"float32 [B, {trained.dim}]"},
            }
        },
    }
    with whole_folder(final) as temporary:
        tf.saved_model.save(
            module, str(temporary), signatures={"serving_default": module.embed}
        )
        write_manifest(temporary, manifest)
    return final


def _described(specs: Mapping[str, tf.TensorSpec]) -> dict[str, str]:
    """Returns dtype and shape of each tensor, for people."""
    return {
        name: f"{spec.dtype.name} [{', '.join(['B', *map(str, spec.shape[1:])])}]"
        for name, spec in specs.items()
    }
