"""SavedModels side by side on held-out pairs and groups, and the report of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.atomic import write_json
from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model, metric_difference
from simprod_tf.evaluation.report import QueryRow, QuerySection, Shown, write_report
from simprod_tf.evaluation.retrieval import Retrieval, retrieval_metrics
from simprod_tf.export import SavedEncoder
from simprod_tf.pipeline.embed import embed_catalog
from simprod_tf.pipeline.progress import Progress, silent


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What the models are judged on.

    Attributes:
        catalog: The candidates of every search.
        queries: The products searched for; may be some of the candidates.
        pairs: Labelled pairs of candidates, or None.
        group_column: Products with the same value of it are right answers.
    """

    catalog: Catalog
    queries: Catalog
    pairs: Pairs | None = None
    group_column: str = "group"

    def __post_init__(self) -> None:
        """Checks that there is something to judge by."""
        if not np.any(self.queries.column(self.group_column) != "") and not self.pairs:
            raise SimprodError(
                f"there is nothing to judge by: no product has a "
                f"{self.group_column!r}, and there are no pairs."
            )


@dataclass(frozen=True, eq=False)
class Judged:
    """One model's evaluation, with the embeddings that it comes from."""

    evaluation: Evaluation
    candidates: np.ndarray
    queries: np.ndarray


def evaluate_saved(
    name: str, folder: str | Path, test: HeldOut, *, seed: int, progress: Progress
) -> Judged:
    """Returns the evaluation of one SavedModel on the test set."""
    encoder = SavedEncoder(folder)
    candidates = embed_catalog(encoder, test.catalog, progress=progress).embeddings
    if test.queries is test.catalog:
        queries = candidates
    elif all(id in test.catalog for id in test.queries.ids):
        queries = candidates[test.catalog.rows_of(test.queries.ids)]
    else:
        queries = embed_catalog(encoder, test.queries, progress=progress).embeddings
    decision = encoder.manifest.get("decision") or {}
    evaluation = evaluate_model(
        name,
        **_pair_arguments(test, candidates),
        retrieval=_retrieval(test, candidates, queries),
        max_distance=decision.get("max_distance"),
        seed=seed,
    )
    return Judged(evaluation, candidates, queries)


def evaluate_run(
    models: Mapping[str, str | Path],
    test: HeldOut,
    out: str | Path,
    *,
    title: str = "Similar products",
    facts: Sequence[tuple[str, str]] = (),
    compare: Sequence[str] = ("pr_auc", "map_at_r"),
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[list[Evaluation], list[str]]:
    """Judges the models; writes `report.html` and `evaluation.json` into `out`.

    The last model is compared with each other one by `compare`, and its searches are
    shown. Returns the evaluations, and the sentences that say what came out.
    """
    judged = [
        evaluate_saved(name, folder, test, seed=seed, progress=progress)
        for name, folder in models.items()
    ]
    evaluations = [one.evaluation for one in judged]
    notes = [
        note
        for metric in compare
        for note in comparison_notes(evaluations, metric=metric, seed=seed)
    ]
    report = Path(out) / "report.html"
    write_report(
        report,
        title=title,
        summary=[*facts, *_facts(test)],
        evaluations=evaluations,
        queries=_sections(test, judged[-1], seed=seed),
        notes=notes,
    )
    content: dict[str, Any] = {
        "notes": notes,
        "models": [evaluation.to_json() for evaluation in evaluations],
    }
    write_json(Path(out) / "evaluation.json", content)
    return evaluations, notes


def comparison_notes(
    evaluations: Sequence[Evaluation], *, metric: str, seed: int
) -> list[str]:
    """Says by how much the last model differs from each other one, with intervals."""
    notes = []
    last = evaluations[-1]
    for other in evaluations[:-1]:
        if metric not in last.metrics or metric not in other.metrics:
            continue
        change = metric_difference(last, other, metric=metric, seed=seed)
        if change.low > 0:
            verdict = "is better than"
        elif change.high < 0:
            verdict = "is worse than"
        else:
            verdict = "is not clearly different from"
        notes.append(f"{last.name} {verdict} {other.name} in {metric}: {change} apart.")
    return notes


def _pair_arguments(test: HeldOut, embeddings: np.ndarray) -> dict[str, np.ndarray]:
    if test.pairs is None:
        nothing = np.zeros(0)
        return {
            "pair_distances": nothing,
            "pair_labels": nothing.astype(int),
            "pair_groups": nothing.astype(str),
        }
    anchors = test.catalog.rows_of(test.pairs.anchor_ids)
    others = test.catalog.rows_of(test.pairs.other_ids)
    groups = test.catalog.groups[anchors]
    return {
        "pair_distances": np.linalg.norm(
            embeddings[anchors] - embeddings[others], axis=1
        ),
        "pair_labels": test.pairs.labels,
        "pair_groups": np.where(groups == "", test.pairs.anchor_ids, groups).astype(
            str
        ),
    }


def _retrieval(
    test: HeldOut, candidates: np.ndarray, queries: np.ndarray
) -> Retrieval | None:
    asked = _grouped(test)
    if not len(asked):
        return None
    groups = test.catalog.column(test.group_column)
    # A product without a group is nobody's right answer.
    groups = np.where(groups == "", "\0none", groups).astype(str)
    return retrieval_metrics(
        queries[asked],
        candidates,
        test.queries.column(test.group_column)[asked].astype(str),
        groups,
        query_ids=test.queries.ids[asked].astype(str),
        candidate_ids=test.catalog.ids.astype(str),
    )


def _grouped(test: HeldOut) -> np.ndarray:
    """Returns the rows of the queries that have a group."""
    return np.flatnonzero(test.queries.column(test.group_column) != "")


def _facts(test: HeldOut) -> list[tuple[str, str]]:
    facts = [
        ("Candidates", f"{len(test.catalog):,} products"),
        ("Queries", f"{len(test.queries):,} products"),
    ]
    if test.pairs is not None:
        similar = test.pairs.num_positives
        facts.append(
            ("Test pairs", f"{len(test.pairs):,}, {similar:,} of them similar")
        )
    return facts


def _sections(test: HeldOut, judged: Judged, *, seed: int) -> list[QuerySection]:
    retrieval = judged.evaluation.retrieval
    if retrieval is None:
        return []
    asked = _grouped(test)[retrieval.kept]
    some = np.random.default_rng(seed).permutation(len(asked))[:12]
    worst = np.argsort(retrieval.map_at_r, kind="stable")[:12]
    name = judged.evaluation.name
    return [
        QuerySection(
            title=heading,
            rows=tuple(_query_row(test, judged, int(asked[one])) for one in rows),
            note=f"{note} Neighbours by {name}.",
        )
        for heading, rows, note in (
            ("Random queries", some, "Drawn at random from all queries."),
            ("Hardest queries", worst, "Those with the lowest average precision."),
        )
    ]


def _query_row(test: HeldOut, judged: Judged, row: int) -> QueryRow:
    query = test.queries.product(row)
    wanted = test.queries.column(test.group_column)[row]
    groups = test.catalog.column(test.group_column)
    distances = np.linalg.norm(judged.candidates - judged.queries[row], axis=1)
    nearest = np.argsort(distances, kind="stable")[:7]
    shown = []
    for candidate in nearest:
        product = test.catalog.product(int(candidate))
        if product.id != query.id:
            shown.append(
                Shown(
                    product.id,
                    product.title,
                    product.image,
                    groups[candidate],
                    float(distances[candidate]),
                    bool(groups[candidate] == wanted),
                )
            )
    asked = Shown(query.id, query.title, query.image, wanted)
    return QueryRow(asked, tuple(shown[:6]))
