"""A trained encoder with all that decides its embeddings, as one folder.

head.keras          the Keras model behind the image towers, weights included
towers/<name>/      each image tower
vocabulary.txt      a word a line; the word in line i has id i
manifest.json       settings, inputs, threshold, and the fingerprint
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf import __version__
from simprod_tf.data.catalog import Product
from simprod_tf.errors import ModelError
from simprod_tf.features.image import PictureSettings
from simprod_tf.features.inputs import picture_batches
from simprod_tf.features.product_inputs import (
    Column,
    ProductInputs,
    Tables,
    product_arrays,
)
from simprod_tf.manifest import (
    fingerprint,
    read_manifest,
    require_same_encoder,
    write_manifest,
)
from simprod_tf.model.encoder import build_encoder
from simprod_tf.model.image_tower import ImageTower
from simprod_tf.model.model_config import layer_configs

KIND = "trained encoder"
_BATCH = 64


@dataclass(frozen=True, eq=False)
class TrainedEncoder:
    """Product -> embedding, as Keras models with their preprocessing.

    Attributes:
        head: `simprod_tf.model.encoder.build_head`'s.
        towers: The image towers before it.
        inputs: How the rest of a product becomes the head's inputs.
        details: What the manifest keeps beside: settings, counts, the threshold.
    """

    head: tf.keras.Model
    towers: tuple[ImageTower, ...] = ()
    inputs: ProductInputs = field(default_factory=ProductInputs)
    details: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> tf.keras.Model:
        """Towers and head as one Keras model: see `build_encoder`."""
        return build_encoder({one.name: one.model for one in self.towers}, self.head)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that word ids mean, in order."""
        return () if self.inputs.text is None else self.inputs.text.vocabulary

    @property
    def fingerprint(self) -> str:
        """16 hex digits over weights, architecture, preprocessing and vocabulary."""
        design = {
            "inputs": self.inputs.to_json(),
            "layers": layer_configs(self.head),
            "towers": [one.fingerprint for one in self.towers],
        }
        parts = [
            ("design", json.dumps(design, sort_keys=True).encode()),
            ("vocabulary", "\n".join(self.vocabulary).encode()),
        ]
        for weight in self.head.get_weights():
            parts.append((f"{weight.dtype}{weight.shape}", weight.tobytes()))
        return fingerprint(parts)

    @property
    def dim(self) -> int:
        """The length of its embeddings."""
        return self.head.output_shape[-1]

    def encode(
        self,
        products: Sequence[Product],
        *,
        tables: Tables | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 unit-length embeddings, as training computes them.

        Args:
            products: The products.
            tables: Precomputed vectors by name, where the encoder takes any.
            progress: Called with (products done, products in all).
        """
        arrays = self.arrays(products, tables)
        forward = tf.function(self.model, reduce_retracing=True)
        blocks = [np.zeros((0, self.dim), np.float32)]
        done = 0
        for size, pixels in self._pixels([product.image for product in products]):
            rows = slice(done, done + size)
            inputs = {name: tf.constant(a[rows]) for name, a in arrays.items()}
            blocks.append(forward({**inputs, **pixels}).numpy())
            done += size
            if progress:
                progress(done, len(products))
        return np.concatenate(blocks)

    def arrays(
        self, products: Sequence[Product], tables: Tables | None = None
    ) -> dict[str, Column]:
        """Returns the head's inputs, each [P, ...], but what the towers compute."""
        found = product_arrays(products, self.inputs, tables)
        if self.towers:
            has = np.array([bool(product.image) for product in products], np.float32)
            found["has_image"] = has[:, np.newaxis]
        return found

    def _pixels(
        self, images: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, tf.Tensor]]]:
        """Yields, batch by batch, its size and each tower's pixels."""
        if not self.towers:
            for start in range(0, len(images), _BATCH):
                yield min(_BATCH, len(images) - start), {}
            return
        each = [
            picture_batches(images, pictures_of(tower), batch_size=_BATCH)
            for tower in self.towers
        ]
        for batch in zip(*each):
            named = {
                f"{tower.name}_pixels": tf.cast(pixels, tf.float32)
                for tower, pixels in zip(self.towers, batch)
            }
            yield len(batch[0]), named

    def save(self, folder: str | Path) -> None:
        """Writes the encoder into an existing folder; the manifest last."""
        out = Path(folder)
        self.head.save(out / "head.keras")
        for tower in self.towers:
            place = out / "towers" / tower.name
            place.mkdir(parents=True)
            tower.save(place)
        text = "".join(f"{word}\n" for word in self.vocabulary)
        (out / "vocabulary.txt").write_text(text, encoding="utf-8")
        own = {
            "kind": KIND,
            "fingerprint": self.fingerprint,
            "dim": self.dim,
            "towers": tower_details(self.towers),
            "inputs": self.inputs.to_json(),
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
            head = tf.keras.models.load_model(path / "head.keras", compile=False)
            text = (path / "vocabulary.txt").read_text(encoding="utf-8")
            words = text.split("\n")[:-1]
            inputs = ProductInputs.from_json(manifest["inputs"], words)
            names = [one["name"] for one in manifest["towers"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder} cannot be loaded: {error}.") from error
        towers = tuple(ImageTower.load(path / "towers" / name) for name in names)
        found = cls(head, towers, inputs, manifest)
        require_same_encoder(
            manifest["fingerprint"], found.fingerprint, what=f"the content of {folder}"
        )
        return found


def pictures_of(tower: ImageTower) -> PictureSettings:
    """Returns how pictures become what the tower sees."""
    return PictureSettings(tower.image_size, tower.resize_to)


def tower_details(towers: Sequence[ImageTower]) -> list[dict[str, Any]]:
    """Returns what manifests say of image towers."""
    return [
        {
            **one.details,
            "name": one.name,
            "fingerprint": one.fingerprint,
            "dim": one.dim,
            "image_size": one.image_size,
            "resize_to": one.resize_to,
        }
        for one in towers
    ]
