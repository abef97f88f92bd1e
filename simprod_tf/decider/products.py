"""What a decider is given of the products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from simprod_tf.data.catalog import Catalog


@dataclass(frozen=True, eq=False)
class DeciderProducts:
    """Products, with what is known of them beside the catalogue.

    Attributes:
        catalog: N products.
        embeddings: by view ("both", "image", "text") [N, D] float32 in the catalogue's
            order; empty where no encoder is used. A row of zeros is not known.
        encoder_fingerprint: of the encoder that made them, or "".
        tables: [N] str, or None. Where it is given, two products of one table are never
            the same: tables are linked, not cleaned of duplicates.
    """

    catalog: Catalog
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    encoder_fingerprint: str = ""
    tables: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuses embeddings and tables that do not fit the catalogue."""
        for view, vectors in self.embeddings.items():
            if vectors.ndim != 2 or len(vectors) != len(self.catalog):
                raise ValueError(
                    f"Embeddings of {view!r} must be [{len(self.catalog)}, D], a row "
                    f"a product, got shape {vectors.shape}."
                )
        if self.tables is not None and self.tables.shape != (len(self.catalog),):
            raise ValueError(
                f"tables must be [{len(self.catalog)}], one a product, got shape "
                f"{self.tables.shape}."
            )

    def __len__(self) -> int:
        return len(self.catalog)
