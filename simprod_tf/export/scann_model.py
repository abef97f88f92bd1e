"""ScaNN within a SavedModel: proposes candidates by its own TensorFlow ops.

After Guo et al. (2020), "Accelerating large-scale inference with anisotropic vector
quantization", https://arxiv.org/abs/1908.10396.
"""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.errors import RecallError
from simprod_tf.export.neighbours_model import SPARE
from simprod_tf.index.scann import TREE_FROM
from simprod_tf.index.scann_files import require_scann
from simprod_tf.index.tuning import ScannSettings, Tuned, Tuning, leaves_of, tune

_TRAINED_ON = 250_000
# In the order of the op's inputs.
_PARTS = (
    "dataset",
    "scann_config",
    "serialized_partitioner",
    "datapoint_to_token",
    "ah_codebook",
    "hashed_dataset",
    "int8_dataset",
    "int8_multipliers",
    "dp_norms",
)


class ScannCandidates(tf.Module):
    """The rows that ScaNN finds: of every product while they are few, then by a tree.

    Its TensorFlow ops know no SOAR, so it is trained apart from `ScannIndex`.
    """

    def __init__(
        self, embeddings: np.ndarray, *, k: int, recall: float, label: str
    ) -> None:
        """Trains a searcher, and tunes it where it has a tree.

        Args:
            embeddings: [N, D] float32, unit length.
            k: how many neighbours shall be found.
            recall: the share of the nearest that shall be found.
            label: a name for the searcher, made unique here.

        Raises:
            MissingLibraryError: ScaNN cannot be imported.
            RecallError: the recall is not reached.
        """
        super().__init__(name="scann")
        require_scann()
        from scann.scann_ops.py import scann_ops

        self._ops = scann_ops
        # TensorFlow's loader gives searchers without a name of their own the same one:
        # the second loaded then answers with the first's products.
        self.shared_name = f"simprod-{label}-{uuid.uuid4()}"
        self._k, self._wanted = k, min(k + SPARE, len(embeddings))
        self.tuned: Tuned | None = None
        settings = None
        if len(embeddings) >= TREE_FROM:
            settings = ScannSettings(leaves_of(len(embeddings)), 1)
        searcher = self._trained(embeddings, settings)
        self.state = searcher.serialize_to_module()
        if settings is not None:
            self.tuned = _tuned(searcher, embeddings, settings, recall)

    @property
    def embeddings(self) -> tf.Variable:
        """[N, D] float32, by row: ScaNN's own copy."""
        return self.state.dataset

    def __call__(self, queries: tf.Tensor) -> tf.Tensor:
        """Returns [B, C] int32 rows, -1 where there is none."""
        # Within the graph that asks: a handle made outside is an untracked resource.
        handle = self._ops.tensors_to_scann(
            *(getattr(self.state, part) for part in _PARTS),
            shared_name=self.shared_name,
        )
        settings = None if self.tuned is None else self.tuned.settings
        rows = _asked(
            self._ops.ScannSearcher(handle),
            queries,
            num_rows=self._wanted,
            k=self._k,
            settings=settings,
        )
        missing = tf.maximum(0, self._wanted - tf.shape(rows)[1])
        rows = tf.pad(rows, [[0, 0], [0, missing]], constant_values=-1)
        return tf.ensure_shape(rows, [None, self._wanted])

    def described(self) -> dict[str, Any]:
        """Returns how it searches, for the manifest."""
        tuned = None if self.tuned is None else self.tuned.to_json()
        return {"shared_name": self.shared_name, "tuned": tuned}

    def _trained(self, embeddings: np.ndarray, settings: ScannSettings | None) -> Any:
        """Returns ScaNN's searcher: by brute force, or with a tree as in `settings`."""
        builder = self._ops.builder(embeddings, self._wanted, "dot_product")
        name = f"{self.shared_name}-trained"
        if settings is None:
            return builder.score_brute_force().build(shared_name=name)
        tree = builder.tree(
            num_leaves=settings.num_leaves,
            num_leaves_to_search=settings.leaves_to_search,
            training_sample_size=min(len(embeddings), _TRAINED_ON),
        )
        hashed = tree.score_ah(
            2, anisotropic_quantization_threshold=settings.anisotropic_threshold
        )
        return hashed.reorder(settings.reordered).build(shared_name=name)


def _asked(
    searcher: Any,
    queries: tf.Tensor,
    *,
    num_rows: int,
    k: int,
    settings: ScannSettings | None,
) -> tf.Tensor:
    """Returns up to `num_rows` int32 rows a query, -1 where fewer were found.

    Args:
        searcher: ScaNN's.
        queries: [B, D] float32, unit length.
        num_rows: how many rows to ask for.
        k: how many of them matter: what is looked at goes by it.
        settings: of the tree, None for brute force.
    """
    if settings is None:
        rows, dots = searcher.search_batched_parallel(queries, num_rows)
    else:
        rows, dots = searcher.search_batched_parallel(
            queries,
            num_rows,
            max(num_rows, settings.reordered_for(k)),
            settings.leaves_for(k),
        )
    # ScaNN pads with row 0 and NaN, and where all found fewer gives fewer columns.
    return tf.where(tf.math.is_nan(dots), -1, rows)


def _tuned(
    searcher: Any, embeddings: np.ndarray, settings: ScannSettings, recall: float
) -> Tuned:
    """Returns settings with which the searcher finds enough; ModelError if none do."""

    def search(queries: np.ndarray, k: int, tried: ScannSettings) -> np.ndarray:
        return _asked(searcher, queries, num_rows=k, k=k, settings=tried).numpy()

    found = tune(embeddings, search, settings=settings, wanted=Tuning(recall))
    # By chance alone, a sample may say a little less.
    if not found.suffices:
        raise RecallError(
            f"ScaNN's ops find {found.recall:.4f} of the nearest products, measured on "
            f"{found.num_queries} of them, but {recall} was asked for. Ask for less "
            "(--recall), or export exact search."
        )
    return found
