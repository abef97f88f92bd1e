"""Which kind of index serves: chosen when one is built, and when one is loaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.index.base import Index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.folder import read_index_manifest, read_stored
from simprod_tf.index.scann import ScannIndex, require_scann
from simprod_tf.manifest import require_same_encoder

logger = logging.getLogger(__name__)

_TYPES: dict[str, type[Index]] = {"exact": ExactIndex, "scann": ScannIndex}


def build_index(
    ids: Sequence[str],
    embeddings: np.ndarray,
    *,
    encoder_fingerprint: str,
    kind: str = "auto",
    extra: Mapping[str, Any] | None = None,
) -> Index:
    """Returns an index of the stated kind, or of the fastest kind this machine has.

    Args:
        ids: N product ids, each there once.
        embeddings: [N, D] float32, unit length within 1e-3.
        encoder_fingerprint: of the encoder that made the embeddings.
        kind: "exact", "scann", or "auto": ScaNN if it can be imported, else exact.
        extra: what to keep beside them (a decision, say), as JSON can hold it.

    Raises:
        MissingLibraryError: "scann" was asked for and cannot be imported.
        ValueError, TypeError: ids or embeddings are not as described; names the id.
    """
    chosen = _scann_or_exact() if kind == "auto" else _type(kind)
    return chosen.build(
        ids, embeddings, encoder_fingerprint=encoder_fingerprint, extra=extra
    )


def load_index(
    folder: str | os.PathLike[str],
    *,
    encoder_fingerprint: str | None = None,
    kind: str | None = None,
) -> Index:
    """Returns the index saved in `folder`, every file of it verified.

    Args:
        folder: where `Index.save` wrote it; it may have been moved since.
        encoder_fingerprint: of the encoder in use; an index of another is refused.
        kind: "exact" to search a ScaNN index's embeddings without ScaNN; by default
            the kind that was saved.

    Raises:
        FingerprintError: another encoder made the index.
        MissingLibraryError: it needs ScaNN, which cannot be imported.
        ModelError: a file is missing, altered or cut short; names it.
    """
    manifest = read_index_manifest(folder)
    if manifest["type"] not in _TYPES:
        raise ModelError(
            f"The index in {folder} is of type {manifest['type']!r}, "
            f"this simprod_tf reads {' and '.join(_TYPES)}."
        )
    if encoder_fingerprint is not None:
        require_same_encoder(
            encoder_fingerprint,
            manifest["encoder_fingerprint"],
            what=f"The index in {folder}",
        )
    chosen = _type(kind or manifest["type"])
    if chosen is ScannIndex and manifest["type"] != "scann":
        raise ValueError(f"The index in {folder} was saved without ScaNN; build it.")
    return chosen._opened(read_stored(folder, manifest), Path(folder))


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
