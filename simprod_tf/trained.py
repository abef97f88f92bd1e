"""A trained encoder with all that decides its embeddings, as one folder.

encoder.keras       the Keras model, weights included
vocabulary.txt      a word a line; the word in line i has id i
manifest.json       settings, preprocessing, threshold, and the fingerprint
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import simprod_tf.model.alexnet
import simprod_tf.model.encoder  # noqa: F401  (its layers must be registered)
from simprod_tf import __version__
from simprod_tf.data.catalog import Product
from simprod_tf.errors import ModelError
from simprod_tf.features.image import PictureSettings
from simprod_tf.features.inputs import picture_batches, word_ids
from simprod_tf.features.text import WordIds
from simprod_tf.manifest import (
    fingerprint,
    read_manifest,
    require_same_encoder,
    write_manifest,
)

KIND = "trained encoder"


@dataclass(frozen=True, eq=False)
class TrainedEncoder:
    """Product -> embedding, as a Keras model with its preprocessing.

    Attributes:
        model: `simprod_tf.model.encoder.build_encoder`'s.
        pictures: How pictures become the model's pixels.
        vocabulary: The words that its word ids mean, in order.
        details: What the manifest keeps beside: settings, counts, the threshold.
    """

    model: tf.keras.Model
    pictures: PictureSettings
    vocabulary: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """16 hex digits over weights, architecture, preprocessing and vocabulary."""
        design = {"pictures": self.pictures.to_json(), "layers": _layers(self.model)}
        parts = [
            ("design", json.dumps(design, sort_keys=True).encode()),
            ("vocabulary", "\n".join(self.vocabulary).encode()),
        ]
        for weight in self.model.get_weights():
            parts.append((f"{weight.dtype}{weight.shape}", weight.tobytes()))
        return fingerprint(parts)

    @property
    def dim(self) -> int:
        """The length of its embeddings."""
        return self.model.output_shape[-1]

    def encode(
        self,
        products: Sequence[Product],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 unit-length embeddings, as training computes them."""
        images = [product.image for product in products]
        arrays = self.arrays([p.title for p in products], images)
        forward = tf.function(self.model)
        blocks, done = [], 0
        for pixels in picture_batches(images, self.pictures):
            rows = slice(done, done + len(pixels))
            inputs = {name: array[rows] for name, array in arrays.items()}
            if "image" in self.model.input:
                inputs["image"] = tf.cast(pixels, tf.float32)
            blocks.append(forward(inputs).numpy())
            done += len(pixels)
            if progress:
                progress(done, len(products))
        return np.concatenate(blocks)

    def arrays(
        self, titles: Sequence[str], images: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Returns the model's inputs but the pictures: `has_image`, `word_ids`."""
        found: dict[str, np.ndarray] = {}
        if "has_image" in self.model.input:
            has = np.array([bool(path) for path in images], np.float32)
            found["has_image"] = has[:, np.newaxis]
        if "word_ids" in self.model.input:
            found["word_ids"] = word_ids(titles, WordIds(self.vocabulary))
        return found

    def save(self, folder: str | Path) -> None:
        """Writes the encoder into an existing folder; the manifest last."""
        out = Path(folder)
        self.model.save(out / "encoder.keras")
        text = "".join(f"{word}\n" for word in self.vocabulary)
        (out / "vocabulary.txt").write_text(text, encoding="utf-8")
        own = {
            "kind": KIND,
            "fingerprint": self.fingerprint,
            "dim": self.dim,
            "pictures": self.pictures.to_json(),
            "simprod_tf": __version__,
            "tensorflow": tf.__version__,
        }
        write_manifest(out, {**self.details, **own})

    @classmethod
    def load(cls, folder: str | Path) -> TrainedEncoder:
        """Reads what `save` wrote.

        Raises:
            ModelError: it is not there, or damaged.
            FingerprintError: it is not what its manifest says.
        """
        manifest = read_manifest(folder, kind=KIND)
        path = Path(folder)
        try:
            model = tf.keras.models.load_model(path / "encoder.keras", compile=False)
            text = (path / "vocabulary.txt").read_text(encoding="utf-8")
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder} cannot be loaded: {error}.") from error
        pictures = PictureSettings(**manifest["pictures"])
        found = cls(model, pictures, tuple(text.splitlines()), manifest)
        require_same_encoder(
            manifest["fingerprint"], found.fingerprint, what=f"the content of {folder}"
        )
        return found


def _layers(model: tf.keras.Model) -> list[Any]:
    """Returns [class, settings] of each layer that computes, by name."""
    found = []
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            found += _layers(layer)
        else:
            found.append([type(layer).__name__, layer.get_config()])
    return sorted(found, key=lambda one: str(one[1]["name"]))
