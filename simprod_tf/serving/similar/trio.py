"""Encoder, index and thresholds of one fingerprint, which answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index
from simprod_tf.manifest import require_same_encoder
from simprod_tf.matching.decisions import Decisions
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import Added, Change
from simprod_tf.serving.similar.readers_writer_lock import ReadersWriterLock


@dataclass(frozen=True, eq=False)
class Encoded:
    """What became of products.

    Attributes:
        embeddings: [B, D] float32, unit length; zeros where there is a fault.
        faults: of each product why it has no embedding, or "".
    """

    embeddings: np.ndarray
    faults: tuple[str, ...]


class Encoder(Protocol):
    """What makes embeddings of raw products."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder."""

    @property
    def version(self) -> int:
        """Its number in the folder of the model."""

    @property
    def columns(self) -> frozenset[str]:
        """The attributes that it takes."""

    def encode(
        self, products: Sequence[pb.Product], *, timeout: float | None = None
    ) -> Encoded:
        """Returns the embeddings of products."""


@dataclass(frozen=True, eq=False)
class Trio:
    """Encoder, index and thresholds of one fingerprint; `of` makes one.

    Attributes:
        index: the products; read it under `lock`.
        version: the version of the index that it began as, or was last saved as.
        encoder: of the index's fingerprint.
        decisions: which distances are similar; None where nothing says so.
        lock: held by who searches, and by who changes the index.
        schema: the columns of the index's attributes; None where it has none.
        categories: the category of each product, where thresholds go by category and
            the index holds that column.
    """

    index: Index
    version: int
    encoder: Encoder
    decisions: Decisions | None
    lock: ReadersWriterLock
    schema: pa.Schema | None
    categories: dict[str, str]

    @classmethod
    def of(
        cls,
        index: Index,
        *,
        version: int,
        encoder: Encoder,
        decisions: Decisions | None = None,
        lock: ReadersWriterLock | None = None,
    ) -> Trio:
        """Returns the three together.

        Raises:
            FingerprintError: they are of different encoders.
        """
        require_same_encoder(
            encoder.fingerprint, index.encoder_fingerprint, what="The index"
        )
        if decisions is not None:
            decisions.require_for(encoder.fingerprint)
        attributes = index.attributes
        return cls(
            index,
            version,
            encoder,
            decisions,
            lock or ReadersWriterLock(),
            None if attributes is None else attributes.schema,
            _categories(index, attributes, decisions),
        )

    @property
    def fingerprint(self) -> str:
        """The fingerprint of all three."""
        return self.index.encoder_fingerprint

    @property
    def category(self) -> str:
        """The column by whose values thresholds differ, or ""."""
        if self.decisions is None or not self.decisions.whole.by_category:
            return ""
        return self.decisions.category

    def take(self, change: Change) -> int:
        """Applies a change and returns how many products are new, or were removed."""
        count = change.apply(self.index)
        if not isinstance(change, Added):
            for id in change.ids:
                self.categories.pop(id, None)
        elif self.category and change.attributes is not None:
            if self.category in change.attributes.column_names:
                values = change.attributes[self.category].to_pylist()
                self.categories.update(zip(change.ids, map(_text, values)))
        return count


class OutdatedError(SimprodError):
    """A change was made for a trio that is no longer in use; make it anew."""


def _categories(
    index: Index, attributes: pa.Table | None, decisions: Decisions | None
) -> dict[str, str]:
    if decisions is None or not decisions.whole.by_category or attributes is None:
        return {}
    if decisions.category not in attributes.column_names:
        return {}
    values = attributes[decisions.category].to_pylist()
    return dict(zip(index.ids, map(_text, values)))


def _text(value: object) -> str:
    return "" if value is None else str(value)
