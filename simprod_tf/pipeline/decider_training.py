"""Catalogue and labelled pairs -> a pair decider, judged on pairs held out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs, join_pairs
from simprod_tf.decider.decider import LEAST_PAIRS, Decider, DeciderSettings
from simprod_tf.decider.products import DeciderProducts
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.interval import Interval, bootstrap_interval
from simprod_tf.evaluation.metrics import pr_auc, precision_recall_at
from simprod_tf.index.base import Index
from simprod_tf.matching.candidate_graph import candidate_edges, listed_views
from simprod_tf.matching.views import Views, views_of
from simprod_tf.pipeline.decider import decider_products, tables_of
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.veto import in_index_order

METRICS = ("f1", "precision", "recall", "pr_auc")
_LABELS = ("F1", "precision", "recall", "PR-AUC")
_RESAMPLES = 400


@dataclass(frozen=True, eq=False)
class DeciderInputs:
    """What a decider is learned from.

    Attributes:
        catalog: the products.
        pairs: labelled pairs of them.
        mined: further pairs, which count by their weights; where both know a pair,
            `pairs` is believed.
        valid: labelled pairs to judge the decider on; nothing is learned from them.
        index: of the products; its embeddings are looked at, and its neighbours are
            candidates.
        tables: a column of the catalogue; only products of different values of it can
            be similar. "" where all can.
        k: neighbours of a product in each view of the index.
    """

    catalog: Catalog
    pairs: Pairs
    mined: Pairs | None = None
    valid: Pairs | None = None
    index: Index | None = None
    tables: str = ""
    k: int = 10

    def __post_init__(self) -> None:
        """Refuses a number of neighbours that is none."""
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}.")


@dataclass(frozen=True, eq=False)
class Judged:
    """How good a way of deciding is on labelled pairs held out.

    Attributes:
        name: of what decided.
        metrics: of each of `METRICS` its value and 95 % interval, resampled by product.
        probabilities: [V] float64, of the pairs in their order.
        least: the probability from which on a pair counts as similar.
    """

    name: str
    metrics: dict[str, Interval]
    probabilities: np.ndarray
    least: float


@dataclass(frozen=True, eq=False)
class TrainedDecider:
    """A decider, and what is known of it.

    Attributes:
        decider: what was learned.
        num_pairs: that it learned from.
        num_positives: those of them that are similar.
        out_of_fold: F1 on the training pairs by models that did not see them.
        judged: on the pairs held out; None without any.
        seen: of these pairs, how many were also trained on.
    """

    decider: Decider
    num_pairs: int
    num_positives: int
    out_of_fold: float
    judged: Judged | None = None
    seen: int = 0


def train_decider(
    inputs: DeciderInputs,
    settings: DeciderSettings | None = None,
    *,
    progress: Progress = silent,
) -> TrainedDecider:
    """Returns a decider learned from the pairs, and how good it is.

    Raises:
        SimprodError: too few pairs of a kind, a product is not in the catalogue, a
            pair lies within a table, the catalogue lacks a product of the index or the
            column of the tables.
    """
    catalog = inputs.catalog
    if inputs.index is not None:
        catalog = in_index_order(inputs.index, catalog)
    pairs = inputs.pairs
    if inputs.mined is not None:
        pairs = join_pairs(pairs, inputs.mined)
    _require_both_kinds(pairs)
    tables = tables_of(catalog, inputs.tables)
    held_out = _held_out_rows(inputs.valid, catalog, tables)
    products = decider_products(catalog, inputs.index, tables=tables)
    edges = _edges(inputs, tables, progress)
    decider = Decider.fit(
        products,
        rows_of(pairs, catalog),
        pairs.labels,
        settings=settings or DeciderSettings(),
        weights=pairs.weights,
        candidates=edges,
        held_out=held_out,
        progress=about(progress, "Reading candidates"),
        fitting=about(progress, "Fitting trees"),
    )
    return TrainedDecider(
        decider,
        len(pairs),
        pairs.num_positives,
        _out_of_fold(decider, pairs),
        *_judged(inputs.valid, held_out, decider, products, edges, progress),
    )


def rows_of(
    pairs: Pairs, catalog: Catalog, *, what: str = "labelled pairs"
) -> np.ndarray:
    """Returns the pairs as [P, 2] int64 rows of the catalogue.

    Args:
        pairs: P pairs of its products.
        catalog: the products.
        what: the pairs are called in an error.

    Raises:
        SimprodError: it lacks a product; names one.
    """
    ids = np.stack([pairs.anchor_ids, pairs.other_ids], axis=1)
    missing = [id for id in ids.ravel() if id not in catalog]
    if missing:
        raise SimprodError(
            f"{len(missing)} products of the {what} are not in the catalogue or its "
            f"index, {missing[0]!r} among them; give the catalogue that the pairs were "
            "made for, or take these pairs out."
        )
    return catalog.rows_of(ids.ravel()).reshape(-1, 2)


def judge(
    name: str,
    pairs: Pairs,
    probabilities: np.ndarray,
    *,
    least: float,
    seed: int = 0,
) -> Judged:
    """Returns how good probabilities are on labelled pairs.

    Args:
        name: of what made them.
        pairs: V labelled pairs.
        probabilities: [V] float64.
        least: equal or higher is similar; chosen on other pairs.
        seed: of the intervals.
    """
    labels, distances = pairs.labels, 1 - probabilities

    def value_of(metric: str, rows: np.ndarray) -> float:
        if metric == "pr_auc":
            return pr_auc(labels[rows], distances[rows])
        found = precision_recall_at(
            labels[rows], distances[rows], max_distance=1 - least
        )
        return float(getattr(found, metric))

    anchors = pairs.anchor_ids.astype(str)
    metrics = {
        metric: bootstrap_interval(
            partial(value_of, metric), anchors, seed=seed, repeats=_RESAMPLES
        )
        for metric in METRICS
    }
    return Judged(name, metrics, probabilities, least)


def _edges(
    inputs: DeciderInputs, tables: np.ndarray | None, progress: Progress
) -> np.ndarray | None:
    """Returns [E, 2] int32: the candidates that the index proposes."""
    if inputs.index is None:
        return None
    views = listed_views(
        Views(views_of(inputs.index)),
        k=inputs.k,
        tables=tables,
        progress=about(progress, "Finding candidates"),
    )
    return candidate_edges(views, k=inputs.k, tables=tables)


def _require_both_kinds(pairs: Pairs) -> None:
    rarer = min(pairs.num_positives, len(pairs) - pairs.num_positives)
    if rarer < LEAST_PAIRS:
        raise SimprodError(
            f"a pair decider takes {LEAST_PAIRS} similar and {LEAST_PAIRS} other pairs "
            f"at least, got {pairs.num_positives} similar of {len(pairs)}; label more, "
            "best among the candidates that `simprod match --keep all` writes."
        )


def _out_of_fold(decider: Decider, pairs: Pairs) -> float:
    """Returns F1 on the training pairs, at the probability where it is best."""
    if decider.out_of_fold is None:
        return float("nan")
    return precision_recall_at(
        pairs.labels,
        1 - decider.out_of_fold,
        max_distance=1 - decider.best_f1_probability,
    ).f1


def _held_out_rows(
    valid: Pairs | None, catalog: Catalog, tables: np.ndarray | None
) -> np.ndarray | None:
    """Returns the held-out pairs' rows [V, 2], checked before anything is learned."""
    if valid is None:
        return None
    rows = rows_of(valid, catalog, what="pairs held out")
    if tables is not None:
        within = int(np.count_nonzero(tables[rows[:, 0]] == tables[rows[:, 1]]))
        if within:
            raise SimprodError(
                f"{within} of the pairs held out are of one table; leave them out."
            )
    return rows


def _judged(
    valid: Pairs | None,
    rows: np.ndarray | None,
    decider: Decider,
    products: DeciderProducts,
    edges: np.ndarray | None,
    progress: Progress,
) -> tuple[Judged | None, int]:
    """Returns how good the decider is on held-out pairs, and how many it has seen."""
    if valid is None or rows is None:
        return None, 0
    proposed = [rows] if edges is None else [edges, rows]
    told = about(progress, "Judging held-out pairs")
    bound = decider.bind(products, np.concatenate(proposed), progress=told)
    judged = judge(
        "boosting",
        valid,
        bound.probability(*rows.T),
        least=decider.best_f1_probability,
    )
    seen = decider.trained_on(valid.anchor_ids, valid.other_ids)
    return judged, int(np.count_nonzero(seen))


def described(trained: TrainedDecider, *, features: int = 12) -> list[str]:
    """Returns what was learned and how good it is, in sentences.

    Args:
        trained: of `train_decider`.
        features: how many of those that weigh most are named.
    """
    decider = trained.decider
    lines = [
        f"Learned from {trained.num_pairs} pairs, {trained.num_positives} of them "
        f"similar; F1 {trained.out_of_fold:.3f} on them, each by models that did not "
        f"see it, from probability {decider.best_f1_probability:.3f} up"
    ]
    gains = decider.gains
    total = sum(gains.values())
    if total > 0:
        most = sorted(gains, key=lambda name: -gains[name])[:features]
        told = ", ".join(
            f"{name.replace('_', ' ')} {gains[name] / total:.1%}" for name in most
        )
        lines.append(f"Shares of what was learned: {told}")
    if trained.judged is not None:
        lines.append(measured(trained.judged))
        if trained.seen:
            lines.append(
                f"{trained.seen} of these {len(trained.judged.probabilities)} pairs "
                "were trained on as well, which flatters it"
            )
    return lines


def measured(judged: Judged) -> str:
    """Returns how good it is, as a sentence."""
    values = ", ".join(
        f"{label} {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
        for label, one in zip(_LABELS, judged.metrics.values())
    )
    return f"{len(judged.probabilities)} pairs held out, {judged.name}: {values}"
