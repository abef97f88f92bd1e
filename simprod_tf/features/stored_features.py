"""Features that stay on disk and are gathered where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class StoredFeatures:
    """[P, F] features on disk, gathered into float32 rows where they are asked for.

    Attributes:
        shape: (P, F).
        present: [P] bool; where it is False, the rows are zeros.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        arrays: Sequence[np.ndarray],
        *,
        shards: np.ndarray,
        rows: np.ndarray,
        dim: int,
    ) -> None:
        """Takes memory-mapped [n, F] arrays, and for each product where it stands.

        Args:
            arrays: The shards.
            shards: [P] int64 positions in `arrays`, -1 where there are no features.
            rows: [P] int64 rows of them.
            dim: F.
        """
        self._arrays, self._shards, self._rows = list(arrays), shards, rows
        self.shape = (len(shards), dim)
        self.present = shards >= 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Returns [n, F] float32 for a slice or an array of rows, [F] for one row."""
        shards, places = self._shards[rows], self._rows[rows]
        out = np.zeros((*np.shape(shards), self.shape[1]), np.float32)
        for shard in np.unique(shards[shards >= 0]):
            here = shards == shard
            out[here] = self._arrays[shard][places[here]]
        return out

    def __array__(self, dtype: Any = None) -> np.ndarray:
        """Returns all features, in memory."""
        everything = self[:]
        return everything if dtype is None else everything.astype(dtype)
