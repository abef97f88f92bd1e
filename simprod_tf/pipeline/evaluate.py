"""SavedModels and groups on held-out data: the report, the numbers, row by row too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simprod_tf.atomic import write_json
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.split import Split
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.compare import BETTER, WORSE, verdict
from simprod_tf.evaluation.evaluate import (
    Evaluation,
    evaluate_groups,
    interval_json,
    metric_differences,
)
from simprod_tf.evaluation.group_metrics import group_rows
from simprod_tf.evaluation.index_recall import IndexRecall, index_recall
from simprod_tf.evaluation.metric_names import metric_name
from simprod_tf.evaluation.stored import KIND as ROWS_KIND
from simprod_tf.evaluation.stored import ROWS_NAME, write_rows
from simprod_tf.index.base import Index
from simprod_tf.manifest import require_same_encoder
from simprod_tf.pipeline.judge import HeldOut, Judged, evaluate_saved
from simprod_tf.pipeline.out_folder import require_replaceable
from simprod_tf.pipeline.product_slices import Slicing, with_slices
from simprod_tf.pipeline.progress import Progress, silent
from simprod_tf.pipeline.report import write_embeddings, write_evaluation_report

# Raised when the file's fields change their meaning.
FORMAT = 2
_MOST_QUERIES = 10_000


def evaluate_run(
    models: Mapping[str, str | Path],
    test: HeldOut,
    out: str | Path,
    *,
    title: str = "Similar products",
    facts: Sequence[tuple[str, str]] = (),
    compare: Sequence[str] = ("pr_auc", "map_at_r"),
    modalities: Sequence[str] = (),
    groups: Mapping[str, pa.Table] | None = None,
    index: Index | None = None,
    slicing: Slicing | None = None,
    runs: Mapping[str, str | Path] | None = None,
    split: Split | None = None,
    labelled: Pairs | None = None,
    projector: str | Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[list[Evaluation], list[str]]:
    """Judges models and groups; writes the report and the numbers into `out`.

    `report.html` where there is a model, `evaluation.json`, and `rows`, which
    `simprod_tf.evaluation.stored` reads. The last model is compared with each other one
    by `compare`, and its searches are shown, both on whole products. For `modalities`
    each model is also judged by one of them alone: see
    `simprod_tf.pipeline.judge.evaluate_encoder`; these have neither slices nor rows.
    Returns the evaluations, and the sentences that say what came out.

    Args:
        models: the SavedModels' folders by name.
        test: what they are judged on.
        out: the folder.
        title, facts: of the report.
        compare: metrics of which a difference is told.
        modalities: which are judged alone.
        groups: tables of `id` and `group` by name; judged on the queries' groups.
        index: its recall is measured with the last model's queries.
        slicing: what the metrics are parted by; None for no slices.
        runs, split, labelled: see `write_evaluation_report`.
        projector: a folder for the last model's embeddings, or None.
        seed: of the intervals, and of what is drawn.
        progress: told how far the work is.

    Raises:
        SimprodError: groups without a product of a known group, or of none of the
            catalogue's; an index, or a
            projector, without a model.
        FingerprintError: the index is another encoder's.
        InputError: `rows` in `out` holds something else.
    """
    _require_model(models, index, projector)
    require_replaceable(Path(out) / ROWS_NAME, ROWS_KIND)
    judged = [
        evaluate_saved(
            name, folder, test, modalities=modalities, seed=seed, progress=progress
        )
        for name, folder in models.items()
    ]
    grouped = [
        _evaluate_groups(name, table, test, seed=seed)
        for name, table in (groups or {}).items()
    ]
    if slicing is not None:
        judged = [_sliced(one, test, slicing, seed) for one in judged]
        grouped = [with_slices(one, test, slicing, seed=seed) for one in grouped]
    recall = None if index is None else _index_recall(index, judged[-1], test, seed)
    notes = _notes(judged, compare=compare, recall=recall, seed=seed)
    if judged:
        write_evaluation_report(
            Path(out) / "report.html",
            judged,
            test,
            title=title,
            facts=facts,
            notes=notes,
            evaluations=grouped,
            runs=runs,
            split=split,
            labelled=labelled,
            seed=seed,
            progress=progress,
        )
    if projector is not None:
        write_embeddings(projector, judged[-1], test, seed=seed)
    evaluations = [found for one in judged for found in one.evaluations()] + grouped
    wholes = [one.evaluation for one in judged]
    write_rows(
        Path(out) / ROWS_NAME,
        # The last one is what a comparison takes by default: a model, if there is any.
        [*grouped, *wholes],
        candidates=_candidates(test),
        seed=seed,
    )
    content: dict[str, Any] = {
        "format": FORMAT,
        "notes": notes,
        "models": [evaluation.to_json() for evaluation in evaluations],
        "variants": [variant.to_json() for one in judged for variant in one.variants],
        "index": None if recall is None else _recall_json(recall),
    }
    write_json(Path(out) / "evaluation.json", content)
    return evaluations, notes


def comparison_notes(
    evaluations: Sequence[Evaluation], *, metrics: Sequence[str], seed: int
) -> list[str]:
    """Says by how much the last model differs from each other one, with intervals."""
    last, others = evaluations[-1], evaluations[:-1]
    changes = {
        other.name: metric_differences(last, other, seed=seed) for other in others
    }
    said = {BETTER: "is better than", WORSE: "is worse than"}
    return [
        f"{last.name} "
        f"{said.get(verdict(found[metric], metric=metric), _UNCLEAR)} "
        f"{name} in {metric_name(metric).label}: {found[metric]} apart."
        for metric in metrics
        for name, found in changes.items()
        if metric in found
    ]


_UNCLEAR = "is not clearly different from"


def _require_model(
    models: Mapping[str, Any], index: Index | None, projector: str | Path | None
) -> None:
    for what, given in (("an index", index), ("embeddings", projector)):
        if given is not None and not models:
            raise SimprodError(f"{what} cannot be judged or written without a model.")


def _notes(
    judged: Sequence[Judged],
    *,
    compare: Sequence[str],
    recall: IndexRecall | None,
    seed: int,
) -> list[str]:
    # Variants ask with other rows: their differences are no paired ones.
    wholes = [one.evaluation for one in judged]
    notes = comparison_notes(wholes, metrics=compare, seed=seed) if wholes else []
    notes += [str(variant) for one in judged for variant in one.variants]
    if recall is not None:
        notes.append(
            f"The index finds {recall.recall} of the {recall.k} nearest products of "
            f"{len(recall.shares):,} queries."
        )
    return notes


def _evaluate_groups(
    name: str, table: pa.Table, test: HeldOut, *, seed: int
) -> Evaluation:
    rows = test.query_rows()
    truth = dict(
        zip(
            test.queries.ids[rows].tolist(),
            test.queries.column(test.group_column)[rows].tolist(),
        )
    )
    if not truth:
        raise SimprodError(
            f"{name} cannot be judged: no product has a {test.group_column!r}; give "
            "--group-column."
        )
    if len(table) and not any(id in test.catalog for id in table["id"].to_pylist()):
        raise SimprodError(
            f"{name} cannot be judged: the catalogue holds none of its {len(table)} "
            "products; give the groups of this catalogue."
        )
    return evaluate_groups(name, group_rows(table, truth), seed=seed)


def _sliced(one: Judged, test: HeldOut, slicing: Slicing, seed: int) -> Judged:
    found = with_slices(one.evaluation, test, slicing, seed=seed)
    return Judged(found, one.candidates, one.queries, one.variants, one.encoder)


def _index_recall(
    index: Index, judged: Judged, test: HeldOut, seed: int
) -> IndexRecall:
    if judged.encoder is not None:
        require_same_encoder(
            judged.encoder.fingerprint, index.encoder_fingerprint, what="The index"
        )
    known = np.flatnonzero(np.linalg.norm(judged.queries, axis=1) > 0.5)
    some = np.sort(np.random.default_rng(seed).permutation(known)[:_MOST_QUERIES])
    groups = test.queries.column(test.group_column)[some]
    clusters = np.where(groups == "", test.queries.ids[some], groups).astype(str)
    return index_recall(index, judged.queries[some], query_groups=clusters, seed=seed)


def _candidates(test: HeldOut) -> list[str]:
    groups = test.catalog.column(test.group_column)
    return [f"{id}\0{group}" for id, group in zip(test.catalog.ids, groups)]


def _recall_json(found: IndexRecall) -> dict[str, Any]:
    return {
        "k": found.k,
        "queries": len(found.shares),
        "recall": interval_json(found.recall),
    }
