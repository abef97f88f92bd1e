"""The encoder as a SavedModel that TF Serving loads, and back.

`<folder>/<version>/` holds a SavedModel of stock TensorFlow ops and `manifest.json`.
Its signature `serving_default` takes `image_bytes` [B] string and `title` [B] string
("" where there is none), and by name the attributes and precomputed vectors that the
encoder was trained with; it gives `embedding` [B, D] float32, unit length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.atomic import whole_folder
from simprod_tf.data.catalog import Product
from simprod_tf.errors import InputError, ModelError
from simprod_tf.features.image import (
    PictureSettings,
    decode_pictures,
    decoding_fault,
    read_pictures,
)
from simprod_tf.features.product_inputs import (
    InputOps,
    ProductInputs,
    Tables,
    as_tensor,
    raw_columns,
)
from simprod_tf.manifest import read_manifest, write_manifest
from simprod_tf.trained import TrainedEncoder, pictures_of, tower_details

KIND = "exported encoder"


class ExportedEncoder(tf.Module):
    """What the SavedModel holds: raw tensors of products -> embeddings."""

    def __init__(self, trained: TrainedEncoder) -> None:
        """Takes the model and builds its look-up tables."""
        super().__init__(name="encoder")
        self.model = trained.model
        self.input_ops = InputOps(trained.inputs)
        self._pictures = {one.name: pictures_of(one) for one in trained.towers}
        specs = {
            "image_bytes": tf.TensorSpec([None], tf.string, "image_bytes"),
            "title": tf.TensorSpec([None], tf.string, "title"),
            **trained.inputs.signature(),
        }
        self.embed = tf.function(self._embed).get_concrete_function(**specs)

    def _embed(self, **raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `embedding`, [B, D] float32, unit length."""
        inputs = self.input_ops(raw)
        decoded: dict[PictureSettings, tuple[tf.Tensor, tf.Tensor]] = {}
        for name, settings in self._pictures.items():
            if settings not in decoded:
                decoded[settings] = decode_pictures(raw["image_bytes"], settings)
            pixels, has_image = decoded[settings]
            inputs[f"{name}_pixels"] = tf.cast(pixels, tf.float32)
            inputs["has_image"] = tf.cast(has_image, tf.float32)[:, tf.newaxis]
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
        self.inputs = ProductInputs.from_json(self.manifest["inputs"])

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
        tables: Tables | None = None,
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 unit-length embeddings.

        Args:
            products: The products.
            tables: Precomputed vectors by name, where the encoder takes any.
            batch_size: Products in a step.
            progress: Called with (products done, products in all).

        Raises:
            InputError: names the picture that cannot be read or decoded.
        """
        blocks = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(products), batch_size):
            batch = products[start : start + batch_size]
            blocks.append(self._encode_batch(batch, tables))
            if progress:
                progress(start + len(batch), len(products))
        return np.concatenate(blocks)

    def _encode_batch(
        self, products: Sequence[Product], tables: Tables | None
    ) -> np.ndarray:
        images = [product.image for product in products]
        contents = tf.constant(read_pictures(images), tf.string)
        columns = raw_columns(products, self.inputs, tables)
        raw = {name: as_tensor(column[:]) for name, column in columns.items()}
        try:
            return self._embed(image_bytes=contents, **raw)["embedding"].numpy()
        except tf.errors.InvalidArgumentError as error:
            if len(products) > 1:
                return np.concatenate(
                    [self._encode_batch([one], tables) for one in products]
                )
            raise InputError(
                f"the picture cannot be decoded: {decoding_fault(error)}",
                path=images[0],
            ) from error
