"""Raw products, as requests carry them -> embeddings, by an exported encoder."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Product
from simprod_tf.errors import FingerprintError, ModelError, SimprodError
from simprod_tf.export.encoder import KIND
from simprod_tf.export.versions import latest_version, model_versions
from simprod_tf.features.product_inputs import ProductInputs, raw_columns
from simprod_tf.manifest import read_manifest
from simprod_tf.serving.models.servable import Servable
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import plain_values
from simprod_tf.serving.similar.trio import Encoded
from simprod_tf.serving.status import ServingError

_SIGNATURE = "serving_default"
_OUTPUTS = ("embedding", "valid", "fault")
_BATCH = 64
# TensorFlow numbers its errors as gRPC does.
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_UNKNOWN = "the encoder knows nothing of it: no picture, and no word of its title"


class RawEncoder:
    """One version of an exported encoder; threads may share it."""

    def __init__(self, servable: Servable) -> None:
        """Takes a loaded version.

        Raises:
            ModelError: an earlier version of simprod_tf exported it.
        """
        self._servable = servable
        # Requests that began on it go on after another is in use: the last one frees
        # its memory.
        weakref.finalize(self, servable.close)
        outputs = servable.signatures[_SIGNATURE].outputs
        if missing := [name for name in _OUTPUTS if name not in outputs]:
            raise ModelError(
                f"{servable.folder} does not say which pictures are bad (no output "
                f"{missing[0]!r}); export the encoder again: `simprod export`."
            )
        self.inputs = ProductInputs.from_json(servable.manifest["inputs"])
        self.fingerprint = str(servable.manifest["fingerprint"])
        self.version = servable.version
        self.dim = int(servable.manifest["dim"])
        categories = {one.column for one in self.inputs.categories}
        self.columns = frozenset(
            categories | {one.column for one in self.inputs.numbers}
        )

    def encode(
        self, products: Sequence[pb.Product], *, timeout: float | None = None
    ) -> Encoded:
        """Returns the embeddings of products, and what is wrong with the others.

        Args:
            products: B products.
            timeout: seconds that each batch may take.

        Raises:
            ServingError: it took longer (DEADLINE_EXCEEDED), or TensorFlow failed.
        """
        blocks = [np.zeros((0, self.dim), np.float32)]
        faults: list[str] = []
        for start in range(0, len(products), _BATCH):
            found = self._batch(products[start : start + _BATCH], timeout)
            blocks.append(found.embeddings)
            faults += found.faults
        return Encoded(np.concatenate(blocks), tuple(faults))

    def _batch(self, products: Sequence[pb.Product], timeout: float | None) -> Encoded:
        columns, wrong = self._columns(products)
        try:
            embeddings, valid, texts = self._servable.run(
                _SIGNATURE, columns, _OUTPUTS, timeout=timeout
            )
        except tf.errors.OpError as error:
            message = f"The encoder failed: {error.message.splitlines()[0][:300]}"
            raise ServingError(_CODES[error.error_code], message) from error
        known = np.linalg.norm(embeddings, axis=1) > 0.5
        faults = [
            before or _fault(bool(ok), text, is_known=bool(there))
            for before, ok, text, there in zip(wrong, valid, texts, known)
        ]
        return Encoded(embeddings, tuple(faults))

    def _columns(
        self, products: Sequence[pb.Product]
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Returns the inputs of the signature, and what of a product is no input."""
        columns: dict[str, list[np.ndarray]] = {}
        faults = []
        for product in products:
            try:
                row = self._row(product)
                faults.append("")
            except SimprodError as error:
                row = self._row(pb.Product())
                faults.append(str(error))
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        return {name: np.concatenate(rows) for name, rows in columns.items()}, faults

    def _row(self, product: pb.Product) -> dict[str, np.ndarray]:
        """Returns one product's inputs, each [1, ...].

        Raises:
            SimprodError: a number is none, or a vector has another length.
        """
        texts = {
            name: _as_text(value)
            for name, value in plain_values(product.attributes).items()
            if name in self.columns
        }
        one = Product("", title=product.title, attributes=texts)
        row = {
            name: column[:] for name, column in raw_columns([one], self.inputs).items()
        }
        for vector in self.inputs.vectors:
            if vector.name in product.vectors:
                row[vector.name] = _vector(product.vectors, vector.name, vector.dim)
        # As objects: numpy's own bytes lose zeros at the end, which pictures have.
        row["image_bytes"] = np.array([product.image_bytes], object)
        return row


def open_encoder(model: str | Path, fingerprint: str) -> RawEncoder:
    """Returns the newest version of a model that has this fingerprint.

    Args:
        model: the folder of an exported encoder, or of one version of it.
        fingerprint: of the index that it shall encode for.

    Raises:
        FingerprintError: no version has it; names those there are.
        ModelError: the folder holds no exported encoder, or it cannot be loaded.
    """
    found = {}
    for folder in _newest_first(Path(model)):
        manifest: dict[str, Any] = read_manifest(folder, kind=KIND)
        if manifest["fingerprint"] == fingerprint:
            number = int(folder.name) if folder.name.isdigit() else 0
            servable = Servable.load("similar", number, folder, only=_SIGNATURE)
            return RawEncoder(servable)
        found[folder.name] = manifest["fingerprint"]
    versions = ", ".join(f"{name}: {one}" for name, one in found.items())
    raise FingerprintError(
        f"The index belongs to encoder {fingerprint}, but {model} holds {versions}; "
        "export that encoder into it, or index the catalogue by one of these."
    )


def _newest_first(model: Path) -> list[Path]:
    latest = latest_version(model)
    if latest == model:
        return [latest]
    # What a writer has not finished has a hidden name, so all of them are whole.
    return [model / str(number) for number in reversed(model_versions(model))]


def _fault(is_valid: bool, text: bytes, *, is_known: bool) -> str:
    if not is_valid:
        return f"the picture cannot be used: {text.decode('utf-8', 'replace')}"
    return "" if is_known else _UNKNOWN


def _as_text(value: object) -> str:
    """Returns an attribute as a catalogue's file has it."""
    if isinstance(value, float):
        return f"{value:.15g}"
    return value if isinstance(value, str) else ""


def _vector(vectors: Mapping[str, pb.Vector], name: str, dim: int) -> np.ndarray:
    values = np.array([vectors[name].values], np.float32)
    if values.shape[1] != dim or not np.isfinite(values).all():
        raise SimprodError(
            f"the encoder takes vectors {name!r} of {dim} finite numbers, got "
            f"{values.shape[1]}."
        )
    return values
