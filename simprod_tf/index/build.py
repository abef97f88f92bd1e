"""Which kind of index serves: chosen when one is built, and when one is loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.index.base import Index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.exact_tf import TensorFlowExactIndex
from simprod_tf.index.folder import VIEWS_NAME, read_index_manifest, read_stored
from simprod_tf.index.scann import ScannIndex
from simprod_tf.index.scann_files import require_scann
from simprod_tf.index.tuning import ScannSettings
from simprod_tf.index.versions import load_resolved
from simprod_tf.manifest import require_same_encoder

logger = logging.getLogger(__name__)

_TYPES: dict[str, type[Index]] = {
    "exact": ExactIndex,
    "exact-tf": TensorFlowExactIndex,
    "scann": ScannIndex,
}

KINDS = ("auto", *_TYPES)


def build_index(
    ids: Sequence[str],
    embeddings: np.ndarray,
    *,
    encoder_fingerprint: str,
    kind: str = "auto",
    attributes: pa.Table | None = None,
    extra: Mapping[str, Any] | None = None,
    recall: float = 0.99,
    settings: ScannSettings | None = None,
    allow_low_recall: bool = False,
) -> Index:
    """Returns an index of the stated kind, or of the fastest kind this machine has.

    Args:
        ids: N product ids, each there once.
        embeddings: [N, D] float32, unit length within 1e-3.
        encoder_fingerprint: of the encoder that made the embeddings.
        kind: "exact", "exact-tf" (on TensorFlow, for GPUs), "scann", or "auto": ScaNN
            if it can be imported, else exact.
        attributes: N rows, what `where` may ask about.
        extra: what to keep beside them (a decision, say), as JSON can hold it.
        recall: of the 10 nearest products, the share that a search shall find.
        settings: an expert's, for ScaNN's tree; by default chosen for the recall.
        allow_low_recall: keep an index whose measured recall is below `recall`.

    Raises:
        RecallError: the recall is not reached.
        MissingLibraryError: "scann" was asked for and cannot be imported.
        ValueError, TypeError: ids or embeddings are not as described; names the id.
    """
    chosen = _scann_or_exact() if kind == "auto" else _type(kind)
    return chosen.build(
        ids,
        embeddings,
        encoder_fingerprint=encoder_fingerprint,
        attributes=attributes,
        extra=extra,
        recall=recall,
        settings=settings,
        allow_low_recall=allow_low_recall,
    )


def load_index(
    folder: str | os.PathLike[str],
    *,
    encoder_fingerprint: str | None = None,
    kind: str | None = None,
) -> Index:
    """Returns the index saved in `folder`, every file of it verified.

    Args:
        folder: where `Index.save` wrote it; it may have been moved since. Or a folder
            of versions (`simprod_tf.index.versions`): then the current one.
        encoder_fingerprint: of the encoder in use; an index of another is refused.
        kind: "exact" or "exact-tf" to search a ScaNN index's embeddings without
            ScaNN; by default the kind that was saved.

    Raises:
        FingerprintError: another encoder made the index.
        MissingLibraryError: it needs ScaNN, which cannot be imported.
        ModelError: a file is missing, altered or cut short; names it.
    """
    return load_resolved(
        folder,
        lambda place: _load(place, encoder_fingerprint=encoder_fingerprint, kind=kind),
    )


def _load(place: Path, *, encoder_fingerprint: str | None, kind: str | None) -> Index:
    """Returns the index of one folder, with its views."""
    manifest = read_index_manifest(place)
    if manifest["type"] not in _TYPES:
        raise ModelError(
            f"The index in {place} is of type {manifest['type']!r}, "
            f"this simprod_tf reads {', '.join(_TYPES)}."
        )
    if encoder_fingerprint is not None:
        require_same_encoder(
            encoder_fingerprint,
            manifest["encoder_fingerprint"],
            what=f"The index in {place}",
        )
    chosen = _type(kind or manifest["type"])
    if chosen is ScannIndex and manifest["type"] != "scann":
        raise ValueError(f"The index in {place} was saved without ScaNN; build it.")
    index = chosen._opened(read_stored(place, manifest), place)
    views = {
        name: _load(
            place / VIEWS_NAME / name,
            encoder_fingerprint=manifest["encoder_fingerprint"],
            kind=kind,
        )
        for name in manifest["views"]
    }
    try:
        index.attach(views)
    except ValueError as error:
        raise ModelError(f"{place} is damaged: {error} Build it again.") from error
    return index


def _type(kind: str) -> type[Index]:
    if kind not in _TYPES:
        raise ValueError(f"kind must be one of {sorted(_TYPES)}, got {kind!r}.")
    return _TYPES[kind]


def _scann_or_exact() -> type[Index]:
    try:
        require_scann()
    except MissingLibraryError as error:
        logger.warning("Building an exact index instead: %s", error)
        return ExactIndex
    return ScannIndex
