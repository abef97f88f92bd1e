"""The cross-attention model on the same pairs as a decider: which of the two is better.

It reads the two texts alone and knows nothing of their rivals in the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.decider.learning import best_f1_cut
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.interval import Interval, paired_difference
from simprod_tf.evaluation.metrics import precision_recall_at
from simprod_tf.pipeline.decider_training import DeciderInputs, Judged, judge, rows_of
from simprod_tf.pipeline.out_folder import require_no_file
from simprod_tf.pipeline.progress import Progress, about, silent

if TYPE_CHECKING:
    from simprod_tf.training.pair_decider_settings import PairDeciderSettings

# Models that tell the probability from which on a pair counts as similar: each is
# fitted without a third of the pairs, and judges these.
_FOLDS = 3


@dataclass(frozen=True, eq=False)
class TrainedAttention:
    """A fitted cross-attention model.

    Attributes:
        folder: where its SavedModel lies.
        judged: how good it is on the pairs held out.
    """

    folder: Path
    judged: Judged


def train_attention(
    inputs: DeciderInputs,
    out: Path,
    *,
    settings: PairDeciderSettings | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> TrainedAttention:
    """Fits the model to the pairs labelled by hand, exports it, and judges it.

    Args:
        inputs: as a decider has them; mined pairs, index and tables are left aside.
        out: the folder of the SavedModel's versions.
        settings: how; by default every column of text is read behind the title.
        seed: of all that is drawn.
        progress: told how far the work is.

    Raises:
        SimprodError: there are no held-out pairs to judge it on.
    """
    valid = inputs.valid
    if valid is None:
        raise SimprodError(
            "the attention model is judged beside the boosting: give --valid."
        )
    # Here, since they load TensorFlow.
    from simprod_tf.export.pair_decider import export_pair_decider
    from simprod_tf.training.pair_decider import (
        cross_fitted_probabilities,
        fit_pair_decider,
    )
    from simprod_tf.training.pair_decider_settings import PairDeciderSettings

    catalog, pairs = inputs.catalog, inputs.pairs
    if settings is None:
        settings = PairDeciderSettings(columns=text_columns(catalog, inputs.tables))
    starts, ends = rows_of(valid, catalog).T
    cross_fitted = cross_fitted_probabilities(
        catalog,
        pairs,
        settings,
        folds=_folds(pairs),
        seed=seed,
        progress=about(progress, "Fitting attention by parts"),
    )
    found = fit_pair_decider(
        catalog,
        pairs,
        settings,
        seed=seed,
        progress=about(progress, "Fitting attention"),
    )
    judged = judge(
        "attention",
        valid,
        found.probabilities(catalog, starts, ends).astype(np.float64),
        least=best_f1_cut(pairs.labels, cross_fitted),
    )
    folder = export_pair_decider(
        found.model, out, max_words=settings.max_words, columns=settings.columns
    )
    return TrainedAttention(folder, judged)


def require_attention_place(folder: str | Path) -> None:
    """Refuses, before anything is fitted, a place where no version can be written.

    Raises:
        InputError: it is a file.
        ModelError: it holds versions of another kind of model.
    """
    # Here, since it loads TensorFlow.
    from simprod_tf.export.pair_decider import KIND
    from simprod_tf.export.versions import next_version

    require_no_file(folder)
    next_version(folder, KIND)


def text_columns(catalog: Catalog, tables: str = "") -> tuple[str, ...]:
    """Returns the attributes that are text, but for the column of tables."""
    fields = catalog.attributes.schema
    return tuple(
        one.name
        for one in fields
        if pa.types.is_string(one.type) and one.name != tables
    )


def compared(first: Judged, second: Judged, valid: Pairs, *, seed: int = 0) -> str:
    """Returns which of two is better on the pairs held out, as a sentence."""
    gap = _f1_apart(first, second, valid, seed)
    better, worse = (first, second) if gap.value >= 0 else (second, first)
    values = [one.metrics["f1"].value for one in (better, worse)]
    low, high = sorted(abs(bound) for bound in (gap.low, gap.high))
    if not gap.low <= 0 <= gap.high:
        how = f"wins by {abs(gap.value):.3f} ({low:.3f} to {high:.3f})"
    else:
        how = f"is not clearly better ({gap.low:+.3f} to {gap.high:+.3f} apart)"
    return (
        f"{better.name.capitalize()} {how}: F1 {values[0]:.3f} against {values[1]:.3f}"
        f" of {worse.name}"
    )


def _f1_apart(first: Judged, second: Judged, valid: Pairs, seed: int) -> Interval:
    def f1_of(judged: Judged, rows: np.ndarray) -> float:
        return precision_recall_at(
            valid.labels[rows],
            1 - judged.probabilities[rows],
            max_distance=1 - judged.least,
        ).f1

    return paired_difference(
        lambda rows: f1_of(first, rows),
        lambda rows: f1_of(second, rows),
        groups=valid.anchor_ids.astype(str),
        seed=seed,
        repeats=400,
    )


def _folds(pairs: Pairs) -> np.ndarray:
    """Returns [P] the part of each pair; those of one anchor are in one."""
    names = np.unique(pairs.anchor_ids.astype(str), return_inverse=True)[1]
    return np.asarray(names % _FOLDS, np.int64)
