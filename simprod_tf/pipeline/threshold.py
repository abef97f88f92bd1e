"""Index and labelled pairs -> the distances up to which products count as similar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from simprod_tf.data.pairs import Pairs
from simprod_tf.errors import SimprodError, ThresholdError
from simprod_tf.index.base import Index
from simprod_tf.matching.category_threshold import choose_category_thresholds
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.prior import Prior, estimate_prior
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.matching.views import LABELS, WHOLE, Views
from simprod_tf.pipeline.progress import Progress, silent

# Products whose neighbours stand for the candidates when the prior is estimated.
_SAMPLE = 20_000
# An estimated prior closer to 0 or 1 than this would promise nothing, or anything.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class ThresholdSettings:
    """What is promised, and where.

    Attributes:
        precision: share of similar pairs wanted among those that are accepted.
        confidence: how often the promise must hold.
        prior: share of similar pairs among the candidates; "estimate" to estimate it
            from the index; None for that of the labelled pairs.
        k: neighbours a product, which are the candidates when it is estimated.
        category: a column by whose values thresholds may differ, or "".
        seed: of samples and folds.
    """

    precision: float = 0.95
    confidence: float = 0.95
    prior: float | str | None = None
    k: int = 10
    category: str = ""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Labelled pairs as rows of an index.

    Attributes:
        rows: [P, 2] int64.
        labels: [P] int, 1 = similar, 0 = not.
        left_out: pairs of which the index lacks a product.
    """

    rows: np.ndarray
    labels: np.ndarray
    left_out: int


def labelled_rows(index: Index, pairs: Pairs) -> LabelledRows:
    """Returns the pairs of which the index holds both products.

    Raises:
        SimprodError: it holds none.
    """
    there = np.array(
        [a in index and b in index for a, b in zip(pairs.anchor_ids, pairs.other_ids)],
        bool,
    )
    kept = pairs.where(there)
    if not len(kept):
        raise SimprodError(
            f"of {len(pairs)} labelled pairs the index holds none with both products; "
            "were they made for another catalogue?"
        )
    rows = np.stack(
        [index.rows_of(list(kept.anchor_ids)), index.rows_of(list(kept.other_ids))],
        axis=1,
    )
    return LabelledRows(rows, kept.labels, len(pairs) - len(kept))


def choose_decisions(
    views: Views,
    pairs: LabelledRows,
    settings: ThresholdSettings,
    *,
    encoder_fingerprint: str,
    date: str,
    categories: np.ndarray | None = None,
    progress: Progress = silent,
) -> Decisions:
    """Returns a decision for each view of an index.

    Args:
        views: The index, and its views.
        pairs: Labelled by hand, and held out from training.
        settings: What is promised.
        encoder_fingerprint: Of the index.
        date: Of today, as YYYY-MM-DD.
        categories: [N] str, of the rows of the index, where thresholds go by them.
        progress: Told how far the work is.

    Raises:
        ThresholdError: the precision cannot be promised for whole products, or no
            prior estimated; for other views the reason is kept instead.
    """
    decided: dict[str, Decision] = {}
    refused: dict[str, str] = {}
    for done, view in enumerate(views.names):
        progress("Choosing thresholds", done, len(views.names))
        try:
            decided[view] = _decision(
                views,
                view,
                pairs,
                settings,
                encoder_fingerprint=encoder_fingerprint,
                date=date,
                categories=categories,
            )
        except ThresholdError as error:
            if view == WHOLE:
                raise
            refused[view] = str(error)
    progress("Choosing thresholds", len(views.names), len(views.names))
    return Decisions(encoder_fingerprint, decided, refused, settings.category)


def _decision(
    views: Views,
    view: str,
    pairs: LabelledRows,
    settings: ThresholdSettings,
    *,
    encoder_fingerprint: str,
    date: str,
    categories: np.ndarray | None,
) -> Decision:
    starts, ends = pairs.rows.T
    distances = views.distances(view, starts, ends)
    known = ~np.isnan(distances)
    distances, labels = distances[known], pairs.labels[known]
    prior: float | Prior | None = None
    if settings.prior == "estimate":
        prior = _estimated(views, view, distances, labels, settings)
    elif settings.prior is not None:
        prior = float(settings.prior)
    choose = partial(
        choose_threshold,
        distances,
        labels,
        precision=settings.precision,
        confidence=settings.confidence,
        prior=prior,
        fingerprint=encoder_fingerprint,
        date=date,
        seed=settings.seed,
    )
    if categories is None:
        return choose()
    return choose_category_thresholds(
        distances, labels, categories[starts[known]], **choose.keywords
    )


def _estimated(
    views: Views,
    view: str,
    distances: np.ndarray,
    labels: np.ndarray,
    settings: ThresholdSettings,
) -> Prior:
    """Returns the prior among the k nearest of a sample of products."""
    random = np.random.default_rng(settings.seed)
    rows = np.sort(random.permutation(len(views))[:_SAMPLE])
    found = views.nearest(view, rows, k=settings.k)
    lines, places = np.nonzero(found >= 0)
    near = views.distances(view, rows[lines], found[lines, places].astype(np.int64))
    prior = estimate_prior(distances, labels, near, seed=settings.seed)
    if not _LEAST_SHARE < prior.share < 1 - _LEAST_SHARE:
        all_or_none = "all" if prior.share > 0.5 else "none"
        raise ThresholdError(
            f"The prior cannot be estimated: {all_or_none} of the {len(near)} "
            "candidates look like similar pairs. Label pairs drawn from the "
            "candidates, or state the prior."
        )
    return prior


def described(decisions: Decisions) -> list[str]:
    """Returns what was chosen and what it promises, in sentences."""
    lines = []
    for view, one in decisions.by_view.items():
        name = LABELS.get(view, view)
        lines.append(
            f"{name}: similar up to distance {one.max_distance:.4f}; precision "
            f"{one.precision:.3f} (at least {one.precision_lower_bound:.3f} at "
            f"confidence {one.confidence:g}) at a prior of {one.prior:.3g} "
            f"({one.prior_source}); recall {one.recall:.3f}; chosen on "
            f"{one.num_pairs} labelled pairs, {one.num_positives} of them similar"
        )
        if decisions.category and not one.by_category:
            lines.append(
                f"{name}: one threshold for all, since by {decisions.category} no more "
                "similar pairs are found"
            )
        if one.by_category:
            lines.append(
                f"{name}: {len(one.by_category)} categories have thresholds of their "
                f"own, from {min(one.by_category.values()):.4f} to "
                f"{max(one.by_category.values()):.4f}"
            )
    return lines + [
        f"{LABELS.get(view, view)}: no threshold. {why}"
        for view, why in decisions.refused.items()
    ]
