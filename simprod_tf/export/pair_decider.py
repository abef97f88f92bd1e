"""The cross-attention pair decider as a SavedModel that TF Serving loads.

`<folder>/<version>/` holds a SavedModel of stock TensorFlow ops and `manifest.json`.
Its signature, for B pairs of which B may be 0:

decide  (also serving_default)
    `title` and `other_title`, [B] string each: a product's title, and behind it, with
    spaces between, the attributes that the manifest names as `columns`, in that order
    -> `probability` [B] float32 that both are one product, the same for both orders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf import __version__
from simprod_tf.atomic import whole_folder
from simprod_tf.export.encoder import described_signatures
from simprod_tf.export.loaded import load_exported
from simprod_tf.export.pair_decider_model import ExportedPairDecider
from simprod_tf.export.versions import next_version
from simprod_tf.manifest import fingerprint, write_manifest

KIND = "exported pair decider"


def export_pair_decider(
    model: tf.keras.Model,
    folder: str | Path,
    *,
    max_words: int,
    columns: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the next version of the model and returns its folder, `<folder>/<n>`.

    Args:
        model: `simprod_tf.model.cross_attention.build_cross_attention`'s, fitted.
        folder: the model's folder.
        max_words: of a text, as in training.
        columns: the attributes behind the title, as in training.
        details: what the manifest keeps beside.

    Raises:
        ModelError: the folder holds another kind of model.
    """
    final = next_version(folder, KIND)
    module = ExportedPairDecider(model, max_words=max_words)
    functions = {"serving_default": module.function, "decide": module.function}
    mark = pair_decider_fingerprint(model, max_words=max_words, columns=columns)
    manifest = {
        **(details or {}),
        "kind": KIND,
        "fingerprint": mark,
        "columns": list(columns),
        "max_words": max_words,
        "simprod_tf": __version__,
        "tensorflow": tf.__version__,
        "signatures": described_signatures(functions),
    }
    with whole_folder(final) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=functions)
        write_manifest(temporary, manifest)
    return final


class SavedPairDecider:
    """Two texts -> probability that they are of one product, by a SavedModel."""

    def __init__(self, folder: str | Path) -> None:
        """Loads the newest version in `folder`, or the version that it is.

        Raises:
            ModelError: there is none, or it cannot be loaded.
        """
        loaded = load_exported(folder, kind=KIND)
        self.folder, self.manifest, self._module = loaded
        self._decide = self._module.signatures["decide"]

    @property
    def columns(self) -> tuple[str, ...]:
        """The attributes that are to stand behind the title."""
        return tuple(self.manifest["columns"])

    @property
    def fingerprint(self) -> str:
        """16 hex digits over weights and how texts are read."""
        return str(self.manifest["fingerprint"])

    def probabilities(
        self, texts: Sequence[str], other_texts: Sequence[str], *, batch_size: int = 256
    ) -> np.ndarray:
        """Returns [N] float32 of N pairs of texts."""
        if len(texts) != len(other_texts):
            raise ValueError(
                f"expected as many other_texts as texts, got {len(other_texts)} and "
                f"{len(texts)}."
            )
        found = [np.zeros(0, np.float32)]
        for first in range(0, len(texts), batch_size):
            both = [
                tf.constant(list(of[first : first + batch_size]), tf.string)
                for of in (texts, other_texts)
            ]
            answer = self._decide(title=both[0], other_title=both[1])
            found.append(answer["probability"].numpy())
        return np.concatenate(found)


def pair_decider_fingerprint(
    model: tf.keras.Model, *, max_words: int, columns: Sequence[str] = ()
) -> str:
    """Returns 16 hex digits over all that decides a probability."""
    design = {"columns": list(columns), "max_words": max_words}
    parts = [("design", json.dumps(design, sort_keys=True).encode())]
    for weight in model.get_weights():
        parts.append((f"{weight.dtype}{weight.shape}", weight.tobytes()))
    return fingerprint(parts)
