"""The index as a SavedModel: embedding, or raw product, -> ids and distances.

`<folder>/<version>/` holds a SavedModel and `manifest.json`. Its signatures:

neighbours              (also serving_default) `embedding` [B, D] float32
neighbours_of_product   what the encoder's `embed` takes: `image_bytes`, `title`, ...

Both give `id` [B, k] string and `distance` [B, k] float32, the nearest first, k being
the number of products where there are fewer. A query of which nothing is known has ""
and inf (`Infinity` in TF Serving's REST, which strict JSON readers refuse; gRPC has no
such trouble). `neighbours_of_product` also gives `valid` [B] bool and `fault` [B]
string, as the encoder does. Requests to warm it up lie beside, as the encoder's do.
Exact search is made of stock TensorFlow ops, so that any TF Serving
loads it; ScaNN's ops are for servers that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from simprod_tf import __version__
from simprod_tf.atomic import whole_folder
from simprod_tf.errors import ModelError
from simprod_tf.export.encoder import KIND as ENCODER_KIND
from simprod_tf.export.encoder import described_signatures
from simprod_tf.export.neighbours_model import (
    SPARE,
    Candidates,
    ExactCandidates,
    NeighboursModel,
)
from simprod_tf.export.versions import latest_version, next_version
from simprod_tf.export.warmup import write_warmup
from simprod_tf.index.base import Index
from simprod_tf.manifest import read_manifest, require_same_encoder, write_manifest

KIND = "exported neighbours"
SCANN_KIND = "exported ScaNN neighbours"
# Exact search of one query: 8 ms of CPU at 100,000 x 128, and in proportion.
MAX_EXACT = 500_000


def export_exact_neighbours(
    index: Index,
    folder: str | Path,
    *,
    encoder_folder: str | Path | None = None,
    k: int = 10,
) -> Path:
    """Writes the next version, stock TensorFlow ops alone; returns its folder.

    Args:
        index: any kind; its embeddings are searched exactly.
        folder: the model's folder, of its own: not the encoder's.
        encoder_folder: the exported encoder, for `neighbours_of_product`.
        k: how many products a query; all where there are fewer.

    Raises:
        FingerprintError: another encoder made the index.
        ModelError: there are no products, or over 500,000; `folder` holds something
            else; the encoder cannot be loaded.
    """
    target = _Target(index, folder, kind=KIND, k=k, encoder_folder=encoder_folder)
    if len(index) > MAX_EXACT:
        raise ModelError(
            f"The index holds {len(index)} products; compared one by one, a SavedModel "
            f"can serve {MAX_EXACT}. Export it with ScaNN (--scann) for a server that "
            "has ScaNN's ops, or search it in Python."
        )
    found = ExactCandidates(index.embeddings, wanted=k + SPARE)
    return target.write(found, {})


def export_scann_neighbours(
    index: Index,
    folder: str | Path,
    *,
    encoder_folder: str | Path | None = None,
    k: int = 10,
    recall: float = 0.99,
) -> Path:
    """Writes the next version, searched by ScaNN; returns its folder.

    Whoever loads it must import ScaNN's ops first (`scann.scann_ops.py.scann_ops`, of
    ScaNN 1.3.0 for TensorFlow 2.15), or have them linked in.

    Args:
        index: any kind; ScaNN is trained on its embeddings anew.
        folder: the model's folder, of its own.
        encoder_folder: the exported encoder, for `neighbours_of_product`.
        k: how many products a query; all where there are fewer.
        recall: of the k nearest, how many shall be found; the share that was found,
            on a sample, stands in the manifest.

    Raises:
        FingerprintError, ModelError: as `export_exact_neighbours`, with no limit.
        RecallError: the recall is not reached.
        MissingLibraryError: ScaNN cannot be imported.
    """
    from simprod_tf.export.scann_model import ScannCandidates

    if not 0 < recall <= 1:
        raise ValueError(f"recall lies in (0, 1], got {recall}.")
    target = _Target(index, folder, kind=SCANN_KIND, k=k, encoder_folder=encoder_folder)
    found = ScannCandidates(
        index.embeddings, k=k, recall=recall, label=index.encoder_fingerprint
    )
    return target.write(found, {"scann": found.described()})


class _Target:
    """One version to be written; refuses what does not fit before any work."""

    def __init__(
        self,
        index: Index,
        folder: str | Path,
        *,
        kind: str,
        k: int,
        encoder_folder: str | Path | None,
    ) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        if not len(index):
            raise ModelError("The index holds no product, so there is none to find.")
        self.index, self.kind, self.k = index, kind, k
        self.final = next_version(folder, kind)
        self.encoder: Any = None
        if encoder_folder is not None:
            self._take_encoder(latest_version(encoder_folder))

    def _take_encoder(self, folder: Path) -> None:
        manifest = read_manifest(folder, kind=ENCODER_KIND)
        require_same_encoder(
            manifest["fingerprint"], self.index.encoder_fingerprint, what="The index"
        )
        try:
            self.encoder = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{folder} cannot be loaded: {error}.") from error

    def write(self, candidates: Candidates, details: Mapping[str, Any]) -> Path:
        """Writes the SavedModel and its manifest, whole or not at all."""
        model = NeighboursModel(
            self.index.ids, candidates, k=self.k, encoder=self.encoder
        )
        signatures = {
            "serving_default": model.neighbours,
            "neighbours": model.neighbours,
        }
        if model.neighbours_of_product is not None:
            signatures["neighbours_of_product"] = model.neighbours_of_product
        with whole_folder(self.final) as temporary:
            tf.saved_model.save(model, str(temporary), signatures=signatures)
            write_warmup(temporary)
            manifest = self._manifest(model, signatures)
            write_manifest(temporary, {**manifest, **details})
        return self.final

    def _manifest(
        self, model: NeighboursModel, signatures: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "encoder_fingerprint": self.index.encoder_fingerprint,
            "n": len(self.index),
            "dim": self.index.dim,
            "k": model.k,
            "extra": self.index.extra,
            "simprod_tf_version": __version__,
            "tensorflow": tf.__version__,
            "signatures": described_signatures(signatures),
        }
