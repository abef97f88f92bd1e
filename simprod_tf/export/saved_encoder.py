"""An exported encoder, loaded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Product
from simprod_tf.errors import InputError
from simprod_tf.export.encoder import KIND
from simprod_tf.export.loaded import load_exported
from simprod_tf.features.image import read_pictures
from simprod_tf.features.product_inputs import (
    ProductInputs,
    Tables,
    as_tensor,
    raw_columns,
)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A batch of products.

    Attributes:
        embeddings: [B, D] float32, unit length; zeros where nothing is known of the
            product, or its picture cannot be used.
        faults: of each picture what is wrong with it, or "".
    """

    embeddings: np.ndarray
    faults: list[str]


class SavedEncoder:
    """Product -> embedding, by an exported SavedModel."""

    def __init__(self, folder: str | Path) -> None:
        """Loads the newest version in `folder`, or the version that it is.

        Raises:
            ModelError: there is none, or it cannot be loaded.
        """
        loaded = load_exported(folder, kind=KIND)
        self.folder, self.manifest, self._module = loaded
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

    def encode_pictures(
        self,
        products: Sequence[Product],
        pictures: Sequence[bytes],
        *,
        tables: Tables | None = None,
    ) -> Encoded:
        """Returns the embeddings of one batch whose pictures have been read.

        Args:
            products: B products; where their pictures lie does not matter.
            pictures: the bytes of each product's picture, b"" where it has none.
            tables: Precomputed vectors by name, where the encoder takes any.
        """
        columns = raw_columns(products, self.inputs, tables)
        raw = {name: as_tensor(column[:]) for name, column in columns.items()}
        contents = tf.constant(list(pictures), tf.string)
        found = self._embed(image_bytes=contents, **raw)
        faults = [""] * len(products)
        # A version exported before `valid` was told of fails as a whole instead.
        for row in np.flatnonzero(~found["valid"].numpy()) if "valid" in found else ():
            faults[row] = found["fault"][row].numpy().decode()
        return Encoded(found["embedding"].numpy(), faults)

    def _encode_batch(
        self, products: Sequence[Product], tables: Tables | None
    ) -> np.ndarray:
        images = [product.image for product in products]
        found = self.encode_pictures(products, read_pictures(images), tables=tables)
        for image, fault in zip(images, found.faults):
            if fault:
                raise InputError(f"the picture cannot be decoded: {fault}", path=image)
        return found.embeddings
