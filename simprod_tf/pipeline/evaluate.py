"""SavedModels side by side on held-out pairs and groups, and the report of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.atomic import write_json
from simprod_tf.evaluation.evaluate import Evaluation, metric_difference
from simprod_tf.evaluation.report import QueryRow, QuerySection, Shown, write_report
from simprod_tf.pipeline.judge import HeldOut, Judged, evaluate_saved
from simprod_tf.pipeline.progress import Progress, silent


def evaluate_run(
    models: Mapping[str, str | Path],
    test: HeldOut,
    out: str | Path,
    *,
    title: str = "Similar products",
    facts: Sequence[tuple[str, str]] = (),
    compare: Sequence[str] = ("pr_auc", "map_at_r"),
    modalities: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[list[Evaluation], list[str]]:
    """Judges the models; writes `report.html` and `evaluation.json` into `out`.

    The last model is compared with each other one by `compare`, and its searches are
    shown, both on whole products. For `modalities` each model is also judged by one of
    them alone: see `simprod_tf.pipeline.judge.evaluate_encoder`. Returns the
    evaluations, and the sentences that say what came out.
    """
    judged = [
        evaluate_saved(
            name, folder, test, modalities=modalities, seed=seed, progress=progress
        )
        for name, folder in models.items()
    ]
    evaluations = [evaluation for one in judged for evaluation in one.evaluations()]
    variants = [variant for one in judged for variant in one.variants]
    # Variants ask with other rows: their differences are no paired ones.
    wholes = [one.evaluation for one in judged]
    notes = [
        note
        for metric in compare
        for note in comparison_notes(wholes, metric=metric, seed=seed)
    ]
    notes += [str(variant) for variant in variants]
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
        "variants": [variant.to_json() for variant in variants],
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
    asked = test.query_rows()[retrieval.kept]
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
