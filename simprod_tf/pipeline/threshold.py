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
from simprod_tf.matching.rule import Conflicts
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.matching.views import DECIDER, LABELS, Views
from simprod_tf.pipeline.progress import Progress, silent
from simprod_tf.pipeline.veto import require_kinds

ESTIMATE, LABELLED = "estimate", "labelled"
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
            from the index, "labelled" for that of the labelled pairs.
        k: neighbours a product, which are the candidates.
        veto: kinds of conflict; pairs with one are left out, as `match` refuses them.
        category: a column by whose values thresholds may differ, or "".
        seed: of samples and folds.
    """

    precision: float = 0.95
    confidence: float = 0.95
    prior: float | str = "estimate"
    k: int = 10
    veto: tuple[str, ...] = ()
    category: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses a prior that is none, and conflicts that there are not."""
        stated = self.prior
        if stated not in (ESTIMATE, LABELLED) and not (
            isinstance(stated, float) and 0 < stated < 1
        ):
            raise ValueError(
                f"prior is a share between 0 and 1, {ESTIMATE!r} or {LABELLED!r}, got "
                f"{stated!r}."
            )
        require_kinds(self.veto)


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

    def where(self, kept: np.ndarray) -> LabelledRows:
        """Returns the pairs for which `kept` [P] bool is True."""
        return LabelledRows(self.rows[kept], self.labels[kept], self.left_out)


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
    decider_fingerprint: str = "",
    categories: np.ndarray | None = None,
    conflicts: Conflicts | None = None,
    progress: Progress = silent,
) -> Decisions:
    """Returns a decision for each view of an index, or the one of a pair decider.

    Of the labelled pairs those count that `match` decides upon: candidates, one being
    among the other's k nearest in the view (a decider's: in any), without a conflict
    that vetoes them. Pairs that are labelled by other ways of choosing are farther
    apart than candidates, and a precision measured on them says little of what is
    decided.

    Args:
        views: The index, and its views; where the decider is one of them, it alone has
            a decision, and candidates are what any of them proposes.
        pairs: Labelled by hand, and held out from training.
        settings: What is promised.
        encoder_fingerprint: Of the index.
        date: Of today, as YYYY-MM-DD.
        decider_fingerprint: Of the pair decider, where it is one of the views.
        categories: [N] str, of the rows of the index, where thresholds go by them.
        conflicts: By the kinds of `settings.veto`, of the rows of the index.
        progress: Told how far the work is.

    Raises:
        ThresholdError: the precision cannot be promised for whole products or by the
            decider, or no prior estimated; for other views the reason is kept instead.
    """
    names = (DECIDER,) if views.deciding == DECIDER else views.names
    pairs = pairs.where(~_vetoed(conflicts, *pairs.rows.T))
    decided: dict[str, Decision] = {}
    refused: dict[str, str] = {}
    for done, view in enumerate(names):
        progress("Choosing thresholds", done, len(names))
        try:
            decided[view] = _decision(
                views,
                view,
                pairs,
                settings,
                encoder_fingerprint=encoder_fingerprint,
                date=date,
                categories=categories,
                conflicts=conflicts,
            )
        except ThresholdError as error:
            if view == views.deciding:
                raise
            refused[view] = str(error)
    progress("Choosing thresholds", len(names), len(names))
    return Decisions(
        encoder_fingerprint,
        decided,
        refused,
        settings.category,
        settings.veto,
        decider_fingerprint,
    )


def _decision(
    views: Views,
    view: str,
    pairs: LabelledRows,
    settings: ThresholdSettings,
    *,
    encoder_fingerprint: str,
    date: str,
    categories: np.ndarray | None,
    conflicts: Conflicts | None,
) -> Decision:
    pairs = pairs.where(_are_candidates(views, view, pairs.rows, k=settings.k))
    starts, ends = pairs.rows.T
    distances, labels = views.distances(view, starts, ends), pairs.labels
    prior: float | Prior | None = None
    if settings.prior == ESTIMATE:
        near = _candidate_distances(views, view, settings, conflicts)
        prior = _estimated(distances, labels, near, seed=settings.seed)
    elif settings.prior != LABELLED:
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
        distances, labels, categories[starts], **choose.keywords
    )


def _are_candidates(
    views: Views, view: str, pairs: np.ndarray, *, k: int
) -> np.ndarray:
    """Returns [P] bool: whether one of the two is proposed for the other."""
    if not len(pairs):
        return np.zeros(0, bool)
    rows, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    nearest = _proposed(views, view, rows, k=k)
    there = nearest[places[:, 0]] == pairs[:, 1:]
    back = nearest[places[:, 1]] == pairs[:, :1]
    return np.asarray((there | back).any(axis=1))


def _proposed(views: Views, view: str, rows: np.ndarray, *, k: int) -> np.ndarray:
    """Returns [B, W] int32, -1 for none: whom a view decides upon for each row.

    A decider decides upon what any of the views proposes, each once.
    """
    if view != DECIDER:
        return views.nearest(view, rows, k=k)
    lists = [views.nearest(name, rows, k=k) for name in views.names]
    found = np.sort(np.concatenate(lists, axis=1), axis=1)
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1
    return found


def _vetoed(
    conflicts: Conflicts | None, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    vetoed = np.zeros(len(starts), bool)
    if conflicts is not None:
        for found in conflicts(starts, ends).values():
            vetoed |= found
    return vetoed


def _candidate_distances(
    views: Views, view: str, settings: ThresholdSettings, conflicts: Conflicts | None
) -> np.ndarray:
    """Returns the distances of the candidates of a sample of products."""
    random = np.random.default_rng(settings.seed)
    rows = np.sort(random.permutation(len(views))[:_SAMPLE])
    found = _proposed(views, view, rows, k=settings.k)
    lines, places = np.nonzero(found >= 0)
    starts, ends = rows[lines], found[lines, places].astype(np.int64)
    kept = ~_vetoed(conflicts, starts, ends)
    return views.distances(view, starts[kept], ends[kept])


def _estimated(
    distances: np.ndarray, labels: np.ndarray, candidates: np.ndarray, *, seed: int
) -> Prior:
    """Returns the prior among the candidates: its careful, lower end counts."""
    prior = estimate_prior(distances, labels, candidates, seed=seed)
    if not _LEAST_SHARE < prior.share < 1 - _LEAST_SHARE:
        all_or_none = "all" if prior.share > 0.5 else "none"
        raise ThresholdError(
            f"The prior cannot be estimated: {all_or_none} of the {len(candidates)} "
            "candidates look like similar pairs. Label pairs drawn from the "
            "candidates, or state the prior (`--prior 0.1`)."
        )
    return Prior(prior.low, prior.source, prior.low, prior.high)


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
