"""Judged models -> the report, with the products, pairs and trainings behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from simprod_tf.data.catalog import Catalog, Product
from simprod_tf.data.leakage import KINDS, LeakageReport, leakage_report
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.split import Split
from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.learning_curve import read_learning_curve
from simprod_tf.evaluation.report import write_report
from simprod_tf.evaluation.report_data import (
    LearningCurve,
    QueryRow,
    QuerySection,
    Shown,
)
from simprod_tf.manifest import read_manifest, require_same_encoder
from simprod_tf.pipeline.hard_pairs import hard_pair_sections
from simprod_tf.pipeline.judge import HeldOut, Judged
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.word_coverage import word_coverages
from simprod_tf.trained import KIND

# The last kind of leak: pairs labelled similar that lie across.
_SIMILAR_PAIR = KINDS[-1]
_NUM_QUERIES = 12
_NUM_NEIGHBOURS = 6


def write_evaluation_report(
    path: str | Path,
    judged: Sequence[Judged],
    test: HeldOut,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    evaluations: Sequence[Evaluation] = (),
    runs: Mapping[str, str | Path] | None = None,
    split: Split | None = None,
    labelled: Pairs | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Writes the report of the models; of the last one, searches and hard pairs too.

    Args:
        path: Of the HTML file.
        judged: The models; those with an `encoder` can tell what each modality says.
        test: What they were judged on.
        title: The page's heading.
        facts: (label, text) for the head of the page, before those of the test set.
        notes: Sentences that say what came out.
        evaluations: Further ones, behind those of the models.
        runs: By model, the folder that `simprod train` wrote: for the learning curves
            and the coverage of words.
        split: The sides of the catalogue, whose leakage is told; None for none.
        labelled: All labelled pairs, those across the split's sides too, for the
            leakage; None to leave them out of it.
        seed: Of the queries drawn.
        progress: Told how far the work is.

    Raises:
        FingerprintError: a run is not that of the model of its name.
        ModelError: a run's folder holds none.
    """
    runs = dict(runs or {})
    for name, folder in runs.items():
        _require_run_of(name, folder, judged)
    last = judged[-1]
    write_report(
        path,
        title=title,
        summary=[*facts, *_facts(test)],
        evaluations=[
            *(found for one in judged for found in one.evaluations()),
            *evaluations,
        ],
        queries=query_sections(last, test, seed=seed),
        notes=notes,
        headline=last.evaluation,
        hard_pairs=hard_pair_sections(last, test, progress=progress),
        curves=learning_curves(runs),
        words=word_coverages(runs, judged_titles(test)),
        leakage=_leakage(test.catalog, split, labelled, progress),
    )


def write_embeddings(
    folder: str | Path, judged: Judged, test: HeldOut, *, seed: int = 0
) -> int:
    """Writes the candidates' embeddings for TensorBoard's Projector, with pictures.

    Returns how many products they hold: see `simprod_tf.training.projector`.
    """
    # TensorBoard takes a second to load.
    from simprod_tf.training.projector import write_projector

    return write_projector(folder, judged.candidates, test.catalog, seed=seed)


def query_sections(judged: Judged, test: HeldOut, *, seed: int) -> list[QuerySection]:
    """Returns queries beside their neighbours: some drawn at random, and the hardest.

    Args:
        judged: The model that searches.
        test: The queries and candidates.
        seed: Of the draw.
    """
    retrieval = judged.evaluation.retrieval
    if retrieval is None or not len(retrieval):
        return []
    asked = test.query_rows()[retrieval.kept]
    some = np.random.default_rng(seed).permutation(len(asked))[:_NUM_QUERIES]
    worst = np.argsort(retrieval.map_at_r, kind="stable")[:_NUM_QUERIES]
    return [
        QuerySection(
            title=heading,
            rows=tuple(_query_row(test, judged, int(asked[one])) for one in rows),
            note=f"{note} Neighbours by {judged.evaluation.name}.",
        )
        for heading, rows, note in (
            ("Random queries", some, "Drawn at random from all queries."),
            ("Hardest queries", worst, "Those with the lowest average precision."),
        )
    ]


def learning_curves(runs: Mapping[str, str | Path]) -> list[LearningCurve]:
    """Returns the learning curve of each training that had epochs."""
    found = [
        read_learning_curve(name, Path(folder) / "history.csv")
        for name, folder in runs.items()
    ]
    return [one for one in found if len(one.epochs)]


def judged_titles(test: HeldOut) -> list[str]:
    """Returns the titles of the queries and of the products in pairs, each once."""
    titles = dict(zip(test.queries.ids, test.queries.titles))
    pairs = test.labelled()
    for ids in (pairs.anchor_ids, pairs.other_ids):
        titles.update(zip(ids, test.catalog.titles[test.catalog.rows_of(ids)]))
    return [str(title) for title in titles.values() if title]


def _require_run_of(name: str, folder: str | Path, judged: Sequence[Judged]) -> None:
    """Refuses a training's folder that is not of the encoder judged by that name."""
    made = read_manifest(folder, kind=KIND)["fingerprint"]
    for one in judged:
        if one.evaluation.name == name and one.encoder is not None:
            require_same_encoder(
                one.encoder.fingerprint, made, what=f"the training in {folder}"
            )


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


def _query_row(test: HeldOut, judged: Judged, row: int) -> QueryRow:
    query = test.queries.product(row)
    wanted = str(test.queries.column(test.group_column)[row])
    groups = test.catalog.column(test.group_column)
    distances = np.linalg.norm(judged.candidates - judged.queries[row], axis=1)
    # One more than shown: the query may be among them.
    nearest = np.argsort(distances, kind="stable")[: _NUM_NEIGHBOURS + 1]
    found = [(int(one), test.catalog.product(int(one))) for one in nearest]
    neighbours = [
        _shown(product, str(groups[one]), float(distances[one]), wanted)
        for one, product in found
        if product.id != query.id
    ]
    asked = Shown(query.id, query.title, query.image, wanted)
    return QueryRow(asked, tuple(neighbours[:_NUM_NEIGHBOURS]))


def _shown(product: Product, group: str, distance: float, wanted: str) -> Shown:
    return Shown(
        product.id, product.title, product.image, group, distance, group == wanted
    )


def _leakage(
    catalog: Catalog, split: Split | None, labelled: Pairs | None, progress: Progress
) -> LeakageReport | None:
    """Returns what the split's sides share, of the products that are here."""
    if split is None:
        return None
    known = np.array([id in split.sides for id in catalog.ids], bool)
    here = catalog.take(np.flatnonzero(known))
    report = leakage_report(
        here,
        split,
        hand_pairs=labelled,
        progress=about(progress, "Comparing pictures"),
    )
    if labelled is not None:
        return report
    # Nobody looked at pairs: a count of 0 would say that there are none.
    shared = tuple(one for one in report.shared if one.kind != _SIMILAR_PAIR)
    return replace(report, shared=shared)
