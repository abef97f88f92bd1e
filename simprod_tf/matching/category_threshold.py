"""Thresholds by category, drawn towards the global one where labels are few."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.calibration import fit_calibration, stratified_folds
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.fixed_sequence import Accepted
from simprod_tf.matching.prior import Prior
from simprod_tf.matching.threshold import METHOD, Promise

CATEGORY_METHOD = f"{METHOD}, by category"
SHRINKAGE = 50.0
_FOLDS = 5
_PLACES = 200


def choose_category_thresholds(
    distances: np.ndarray,
    labels: np.ndarray,
    categories: Sequence[str] | np.ndarray,
    *,
    precision: float = 0.9,
    confidence: float = 0.95,
    prior: float | Prior | None = None,
    shrinkage: float = SHRINKAGE,
    fingerprint: str = "",
    date: str = "",
    seed: int = 0,
) -> Decision:
    """Returns a decision with thresholds by category, where they find more.

    A category's counts of similar and of accepted pairs up to a distance are blended
    with `shrinkage` pseudo-pairs, of which as many are similar as of all pairs up to
    that distance (the posterior mean under a beta prior; Efron and Morris 1975,
    https://doi.org/10.1080/01621459.1975.10479864, for why). The farthest distance at
    which the blend has the precision wanted, less the farthest at which all pairs have
    it, is the category's offset: 0 without labels, its own with many.

    The promise is of all accepted pairs together, not of each category. It is kept as
    for the global threshold: one walk outwards over distance less offset, the offsets
    of a pair being those learned without its fold. Where that walk does not accept more
    similar pairs than the global threshold, the global decision is returned.

    Args:
        distances: [N] L2 distances of labelled pairs that training did not see.
        labels: [N], 1 = similar, 0 = not.
        categories: [N] strings.
        precision, confidence, prior, fingerprint, date: as of `choose_threshold`.
        shrinkage: how many pairs of its own a category needs to count as much as all
            others do.
        seed: of the folds.

    Raises:
        ThresholdError: as of `choose_threshold`.
    """
    promise = Promise.of(
        distances, labels, precision=precision, confidence=confidence, prior=prior
    )
    names, codes = np.unique(np.asarray(categories, object), return_inverse=True)
    if codes.shape != promise.positive.shape:
        raise ValueError(
            f"categories must give one category a pair ({len(promise.positive)}), got "
            f"{len(codes)}."
        )
    if not shrinkage > 0:
        raise ValueError(f"shrinkage must be above 0, got {shrinkage}.")
    curve = fit_calibration(promise.distances, promise.positive, seed=seed)
    found = walk_by_category(promise, codes, shrinkage=shrinkage, seed=seed)
    if found is None:
        raise ThresholdError(promise.refusal(curve))
    decision = promise.decision(
        found.accepted,
        curve=curve,
        method=METHOD if found.limits is None else CATEGORY_METHOD,
        date=date,
        fingerprint=fingerprint,
    )
    if found.limits is None:
        return decision
    by_category = dict(zip(names.tolist(), found.limits.tolist()))
    return dataclasses.replace(decision, by_category=by_category)


@dataclass(frozen=True, eq=False)
class AcceptedByCategory:
    """What thresholds by category accept.

    Attributes:
        accepted: the pairs; `max_distance` is the global threshold.
        limits: [C] float64, the thresholds; None if the global one finds as much.
    """

    accepted: Accepted
    limits: np.ndarray | None


def walk_by_category(
    promise: Promise, codes: np.ndarray, *, shrinkage: float, seed: int
) -> AcceptedByCategory | None:
    """Returns what can be promised, or None; `codes` [N] number the categories."""
    everywhere = promise.walk(promise.distances)
    if everywhere is None:
        return None
    offsets = partial(
        category_offsets,
        num_categories=int(codes.max()) + 1,
        precision=promise.wanted,
        shrinkage=shrinkage,
    )
    distances, positive = promise.distances, promise.positive
    fold = stratified_folds(positive, _FOLDS, seed=seed)
    moved = np.empty(len(codes))
    for number in range(_FOLDS):
        out = fold == number
        learned = offsets(distances[~out], positive[~out], codes[~out])
        moved[out] = distances[out] - learned[codes[out]]
    accepted = promise.walk(moved)
    if accepted is None or accepted.hits <= everywhere.hits:
        return AcceptedByCategory(everywhere, None)
    learned = offsets(distances, positive, codes)
    limits = np.maximum(accepted.max_distance + learned, 0.0)
    # Where no category is known it is the global distance that counts.
    accepted = dataclasses.replace(accepted, max_distance=everywhere.max_distance)
    return AcceptedByCategory(accepted, limits)


def category_offsets(
    distances: np.ndarray,
    positive: np.ndarray,
    codes: np.ndarray,
    *,
    num_categories: int,
    precision: float,
    shrinkage: float,
) -> np.ndarray:
    """Returns [C] float64: how much farther than all pairs each category may go.

    Args:
        distances: [N] float64.
        positive: [N] bool.
        codes: [N] int64 below `num_categories`.
        num_categories: C.
        precision: the share of similar pairs wanted.
        shrinkage: the number of pseudo-pairs.
    """
    ordered = np.sort(distances)
    rows = np.geomspace(1, len(ordered), _PLACES).round().astype(np.int64) - 1
    places = np.unique(ordered[rows])
    # Of each category, how many pairs lie up to each place, and how many are similar.
    cell = codes * len(places) + np.searchsorted(places, distances)
    shape, cells = (num_categories, len(places)), num_categories * len(places)
    counts = np.bincount(cell, minlength=cells).reshape(shape).cumsum(axis=1)
    hits = np.bincount(cell[positive], minlength=cells).reshape(shape).cumsum(axis=1)
    overall = hits.sum(axis=0) / counts.sum(axis=0)
    blend = (hits + shrinkage * overall) / (counts + shrinkage)
    return places[_last(blend >= precision)] - places[_last(overall >= precision)]


def _last(passing: np.ndarray) -> np.ndarray:
    """Returns the last true place along the last axis; 0 where there is none."""
    found = passing.shape[-1] - 1 - np.argmax(passing[..., ::-1], axis=-1)
    return np.where(passing.any(axis=-1), found, 0)
