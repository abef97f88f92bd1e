"""The encoder as a SavedModel that TF Serving loads, and back.

`<folder>/<version>/` holds a SavedModel of stock TensorFlow ops and `manifest.json`.
Its signature `serving_default` takes `image_bytes` [B] string and `title` [B] string
("" where there is none) and gives `embedding` [B, D] float32, unit length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.atomic import whole_folder
from simprod_tf.data.catalog import Product
from simprod_tf.errors import InputError, ModelError
from simprod_tf.features.image import decode_pictures, read_pictures
from simprod_tf.features.text import WordIds
from simprod_tf.manifest import read_manifest, write_manifest
from simprod_tf.trained import TrainedEncoder

KIND = "exported encoder"


class ExportedEncoder(tf.Module):
    """What the SavedModel holds: `(image_bytes, title)` -> embeddings."""

    def __init__(self, trained: TrainedEncoder) -> None:
        """Takes the model and builds its word table."""
        super().__init__(name="encoder")
        self.model = trained.model
        self.word_ids = WordIds(trained.vocabulary)
        self._pictures = trained.pictures

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "image_bytes"),
            tf.TensorSpec([None], tf.string, "title"),
        ]
    )
    def __call__(self, image_bytes: tf.Tensor, title: tf.Tensor) -> dict:
        """Returns `embedding`, [B, D] float32, unit length."""
        inputs = {}
        if "image" in self.model.input:
            pixels, has_image = decode_pictures(image_bytes, self._pictures)
            inputs["image"] = tf.cast(pixels, tf.float32)
            inputs["has_image"] = tf.cast(has_image, tf.float32)[:, tf.newaxis]
        if "word_ids" in self.model.input:
            inputs["word_ids"] = self.word_ids(title)
        return {"embedding": self.model(inputs, training=False)}


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
        "tensorflow": tf.__version__,
        "signatures": {
            "serving_default": {
                "inputs": {"image_bytes": "string [B]", "title": "string [B]"},
                "outputs": {"embedding": f"float32 [B, {trained.dim}]"},
            }
        },
    }
    with whole_folder(final) as temporary:
        tf.saved_model.save(
            module, str(temporary), signatures={"serving_default": module.__call__}
        )
        write_manifest(temporary, manifest)
    return final


def model_versions(folder: str | Path) -> list[int]:
    """Returns the version numbers in a model's folder, rising."""
    root = Path(folder)
    if not root.is_dir():
        return []
    return sorted(int(p.name) for p in root.iterdir() if p.name.isdigit())


def latest_version(folder: str | Path) -> Path:
    """Returns the folder of the newest version; a version's own folder stays itself."""
    root = Path(folder)
    if (root / "saved_model.pb").is_file():
        return root
    versions = model_versions(root)
    if not versions:
        raise ModelError(f"{folder} holds no SavedModel; `simprod export` makes one.")
    return root / str(versions[-1])


class SavedEncoder:
    """Product -> embedding, by an exported SavedModel."""

    def __init__(self, folder: str | Path) -> None:
        """Loads the newest version in `folder`, or the version that it is.

        Raises:
            ModelError: there is none, or it cannot be loaded.
        """
        self.folder = latest_version(folder)
        self.manifest: dict[str, Any] = read_manifest(self.folder, kind=KIND)
        try:
            # Kept: a signature lives only as long as the module that it came from.
            self._module = tf.saved_model.load(str(self.folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{self.folder} cannot be loaded: {error}.") from error
        self._embed = self._module.signatures["serving_default"]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder that was exported."""
        return str(self.manifest["fingerprint"])

    @property
    def dim(self) -> int:
        """The length of its embeddings."""
        return int(self.manifest["dim"])

    def encode(
        self,
        products: Sequence[Product],
        *,
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 unit-length embeddings.

        Raises:
            InputError: names the picture that cannot be read or decoded.
        """
        blocks = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(products), batch_size):
            batch = products[start : start + batch_size]
            blocks.append(self._encode_batch(batch))
            if progress:
                progress(start + len(batch), len(products))
        return np.concatenate(blocks)

    def _encode_batch(self, products: Sequence[Product]) -> np.ndarray:
        images = [product.image for product in products]
        try:
            contents = tf.constant(read_pictures(images), tf.string)
        except OSError as error:
            raise InputError(
                f"the picture cannot be read: {error.strerror}.", path=error.filename
            ) from error
        titles = tf.constant([product.title for product in products], tf.string)
        try:
            return self._embed(image_bytes=contents, title=titles)["embedding"].numpy()
        except tf.errors.InvalidArgumentError as error:
            if len(products) > 1:
                return np.concatenate([self._encode_batch([p]) for p in products])
            reason = str(error.message).splitlines()[0]
            raise InputError(
                f"the picture cannot be decoded: {reason}", path=images[0]
            ) from error
