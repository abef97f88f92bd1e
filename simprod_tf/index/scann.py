"""ScannIndex: approximate search with Google's ScaNN, brute force while small.

After Guo et al. (2020), "Accelerating large-scale inference with anisotropic vector
quantization", https://arxiv.org/abs/1908.10396. Importing this module does not import
ScaNN: that loads TensorFlow, whose C++ library it is built on.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.index.base import Index
from simprod_tf.index.folder import EMBEDDINGS_NAME, Stored
from simprod_tf.index.vectors import DOT_MARGIN

# Below, a tree saves nothing worth its training and its misses.
TREE_FROM = 20_000
FOLDER_NAME = "scann"
_SCANN_ASSETS = "scann_assets.pbtxt"
_ASSETS_NAME = "assets.txt"
_DATASET_NAME = "dataset.npy"
# Of the leaves, a tenth, but not fewer than these: recall@10 .958 on 200,000 loose
# synthetic clusters, where 20 leaves of 671 gave .90.
_SHARE_SEARCHED = 0.1
_MIN_SEARCHED = 20
# Without reordering, recall stops at about 0.8.
_REORDERED = 100
_SPARE = 16
_QUERY_BLOCK = 1024
_BLOCK_CANDIDATES = 1 << 21
_ASSET = re.compile(r'asset_type: (\w+)\s+asset_path: "(?:[^\n]*/)?([^"/\n]+)"')

_WAY_OUT = (
    "ScaNN cannot be imported ({}). It exists for Linux on x86-64 with TensorFlow "
    "2.15: pip install 'scann~=1.3.0'. Without it, use kind=\"exact\" in build_index "
    "or load_index: slower, and it misses nothing."
)


class ScannIndex(Index):
    """ScaNN proposes candidates by dot product; their distances are computed here.

    Below 20,000 products every one is looked at. Above, a tree of 1.5 sqrt(n) leaves
    is searched in a tenth of them (at least 20, at least k) by quantised scores, and
    the best 100, or 4k, are scored again.
    """

    kind = "scann"

    def __init__(self, stored: Stored, searcher: Any) -> None:
        """Takes ScaNN's searcher over the stored embeddings, None for no products."""
        super().__init__(stored)
        self._searcher = searcher

    @property
    def is_exact(self) -> bool:
        """True while ScaNN works by brute force."""
        return len(self) < TREE_FROM

    @classmethod
    def _made(cls, stored: Stored) -> ScannIndex:
        library = require_scann()
        if not stored.ids:
            return cls(stored, None)
        builder = library.builder(stored.embeddings, 10, "dot_product")
        if len(stored.ids) < TREE_FROM:
            return cls(stored, builder.score_brute_force().build())
        tree = builder.tree(
            num_leaves=_num_leaves(len(stored.ids)),
            num_leaves_to_search=_num_searched(len(stored.ids), k=1),
            training_sample_size=min(len(stored.ids), 250_000),
        )
        hashed = tree.score_ah(2, anisotropic_quantization_threshold=0.2)
        return cls(stored, hashed.reorder(_REORDERED).build())

    @classmethod
    def _opened(cls, stored: Stored, folder: Path) -> ScannIndex:
        library = require_scann()
        if not stored.ids:
            return cls(stored, None)
        place = (folder / FOLDER_NAME).resolve()
        try:
            # Not its load_searcher: that reads a pickle where it finds one.
            searcher = library.scann_pybind.ScannNumpy(str(place), _assets(place))
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(f"ScaNN cannot read {place}: {error}.") from error
        return cls(stored, library.ScannSearcher(searcher))

    def _write_searcher(self, folder: Path) -> None:
        if self._searcher is None:
            return
        place = folder / FOLDER_NAME
        place.mkdir()
        self._searcher.serialize(str(place))
        # ScaNN's copy of the embeddings is the file that is here already.
        (place / _DATASET_NAME).unlink()
        theirs = place / _SCANN_ASSETS
        found = _ASSET.findall(theirs.read_text(encoding="utf-8"))
        theirs.unlink()
        lines = [f"{type_} {name}\n" for type_, name in found]
        (place / _ASSETS_NAME).write_text("".join(lines), encoding="utf-8")

    def _query_block(self, k: int) -> int:
        # Where many products are the same, brute force gives all of them at once.
        widest = len(self) if self.is_exact else k + _SPARE
        return max(1, min(_QUERY_BLOCK, _BLOCK_CANDIDATES // widest))

    def _candidates(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        first = k + _SPARE if self.is_exact else k
        leaves = _num_searched(len(self), k=k)
        rows, dots = self._ask(queries, k=first, leaves=leaves)
        unsettled = self._unsettled(dots, k)
        lines, candidates = _flat(rows, dots, kept=~unsettled)
        again = np.flatnonzero(unsettled)
        if not len(again):
            return lines, candidates
        rows, dots = self._ask(
            queries[again],
            k=len(self) if self.is_exact else k,
            leaves=_num_leaves(len(self)),
        )
        more, more_candidates = _flat(rows, dots, kept=np.ones(len(again), bool))
        return (
            np.concatenate([lines, again[more]]),
            np.concatenate([candidates, more_candidates]),
        )

    def _unsettled(self, dots: np.ndarray, k: int) -> np.ndarray:
        """Returns [Q] bool: the searched leaves held too few, or a tie was cut."""
        if not self.is_exact:
            return np.isnan(dots[:, k - 1])
        if dots.shape[1] == len(self):
            return np.zeros(len(dots), bool)
        return dots[:, k - 1] - dots[:, -1] <= DOT_MARGIN

    def _ask(
        self, queries: np.ndarray, *, k: int, leaves: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns ScaNN's [Q, k] rows and dot products, NaN where it found fewer."""
        k = min(k, len(self))
        rows, dots = self._searcher.search_batched_parallel(
            queries,
            final_num_neighbors=k,
            pre_reorder_num_neighbors=max(_REORDERED, min(4 * k, len(self))),
            leaves_to_search=leaves,
        )
        return rows.astype(np.int64), dots


def _num_leaves(n: int) -> int:
    return math.ceil(1.5 * math.sqrt(n))


def _num_searched(n: int, *, k: int) -> int:
    leaves = _num_leaves(n)
    return min(leaves, max(_MIN_SEARCHED, k, math.ceil(_SHARE_SEARCHED * leaves)))


def _flat(
    rows: np.ndarray, dots: np.ndarray, *, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # ScaNN pads with row 0 and NaN.
    lines, places = np.nonzero(~np.isnan(dots) & kept[:, None])
    return lines, rows[lines, places]


def _assets(folder: Path) -> str:
    """Returns what ScaNN reads as scann_assets.pbtxt, with paths as they are now.

    ScaNN writes absolute paths, so that a moved index would not load; the folder holds
    names alone.
    """
    entries = []
    for line in (folder / _ASSETS_NAME).read_text(encoding="utf-8").splitlines():
        type_, name = line.split()
        at_home = name != _DATASET_NAME
        path = folder / name if at_home else folder.parent / EMBEDDINGS_NAME
        text = str(path).replace("\\", "\\\\").replace('"', '\\"')
        entries.append(f'assets {{ asset_type: {type_} asset_path: "{text}" }}\n')
    return "".join(entries)


def require_scann() -> Any:
    """Returns ScaNN's Python module, which loads TensorFlow."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingLibraryError(_WAY_OUT.format(error)) from error
    try:
        from scann.scann_ops.py import scann_ops_pybind
    except (ImportError, tf.errors.NotFoundError) as error:
        # NotFoundError: its op library was built for another TensorFlow.
        raise MissingLibraryError(_WAY_OUT.format(error)) from error
    return scann_ops_pybind
