"""The pairs that a model gets wrong the most, with what each modality says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simprod_tf.data.catalog import Catalog, Product
from simprod_tf.evaluation.hard_pairs import hardest_pairs
from simprod_tf.evaluation.report_data import HardPair, HardPairs, Said, Shown
from simprod_tf.matching.conflicts import compare
from simprod_tf.matching.views import IMAGE, TEXT
from simprod_tf.pipeline.embed import embed_view
from simprod_tf.pipeline.judge import HeldOut, Judged
from simprod_tf.pipeline.progress import Progress, silent

_NAMES = {IMAGE: "picture", TEXT: "title"}


def hard_pair_sections(
    judged: Judged, test: HeldOut, *, count: int = 12, progress: Progress = silent
) -> list[HardPairs]:
    """Returns the hardest false positives and the hardest false negatives.

    Without a threshold they are the nearest pairs that are not similar and the farthest
    that are. Pairs of a product of which nothing is known are left out.

    Args:
        judged: The model; without an `encoder` no modality is told alone.
        test: Its labelled pairs.
        count: Of each kind, at most.
        progress: Told how far the embedding is.
    """
    pairs = test.labelled()
    if not len(pairs):
        return []
    sides = [test.catalog.rows_of(ids) for ids in (pairs.anchor_ids, pairs.other_ids)]
    known = np.linalg.norm(judged.candidates, axis=1) > 0.5
    told = known[sides[0]] & known[sides[1]]
    found = judged.evaluation
    rows = hardest_pairs(
        np.where(told, found.pair_distances, np.nan),
        pairs.labels,
        max_distance=found.max_distance,
        anchors=pairs.anchor_ids,
        others=pairs.other_ids,
        count=count,
    )
    both = np.concatenate([rows.false_positives, rows.false_negatives])
    products = test.catalog.take(
        np.unique(np.concatenate([one[both] for one in sides]))
    )
    views = _views(judged, products, progress)

    def shown(row: int) -> HardPair:
        ids = str(pairs.anchor_ids[row]), str(pairs.other_ids[row])
        return _hard_pair(
            products, ids, float(found.pair_distances[row]), found.max_distance, views
        )

    return [
        HardPairs(title, tuple(shown(int(row)) for row in part), note)
        for title, part, note in zip(
            ("Hardest false positives", "Hardest false negatives"),
            (rows.false_positives, rows.false_negatives),
            _notes(found.name, found.max_distance, int((~told).sum())),
        )
    ]


def _notes(name: str, max_distance: float | None, num_unknown: int) -> tuple[str, str]:
    """Says how each section's pairs were chosen."""
    if max_distance is None:
        first = "Labelled not similar, and nearest to each other"
        second = "Labelled similar, and farthest from each other"
    else:
        first = "Labelled not similar, but within the threshold; the nearest first"
        second = "Labelled similar, but beyond the threshold; the farthest first"
    left_out = ""
    if num_unknown:
        left_out = (
            f" Left out: {num_unknown:,} pairs of a product of which nothing is known."
        )
    ending = f", by {name}, a product in one pair at most.{left_out}"
    return first + ending, second + ending


def _views(
    judged: Judged, products: Catalog, progress: Progress
) -> dict[str, np.ndarray]:
    """Returns [P, D] float32 embeddings by one modality, zeros where not known."""
    if judged.encoder is None or not len(products):
        return {}
    return {
        view: embed_view(judged.encoder, products, view, progress=progress).embeddings
        for view in _NAMES
    }


def _hard_pair(
    products: Catalog,
    ids: tuple[str, str],
    distance: float,
    max_distance: float | None,
    views: Mapping[str, np.ndarray],
) -> HardPair:
    this, that = (products[id] for id in ids)
    rows = products.rows_of(ids)
    said = [Said("both", distance, max_distance=max_distance)]
    for view, embeddings in views.items():
        lacking = [one.id for one in (this, that) if not _content(one, view)]
        one, other = embeddings[rows]
        if lacking:
            has = "has" if len(lacking) == 1 else "have"
            missing = f"{' and '.join(lacking)} {has} no {_NAMES[view]}"
            said.append(Said(_NAMES[view], None, missing))
        elif not (np.any(one) and np.any(other)):
            said.append(Said(_NAMES[view], None, "the encoder knows nothing of it"))
        else:
            said.append(Said(_NAMES[view], float(np.linalg.norm(one - other))))
    conflicts = tuple(
        f"{one.kind} {one.this} against {one.that}"
        for one in compare(this, that)
        if one.differs
    )
    groups = products.groups[rows]
    shown = [
        Shown(one.id, one.title, one.image, str(group))
        for one, group in zip((this, that), groups)
    ]
    return HardPair(shown[0], shown[1], tuple(said), conflicts)


def _content(product: Product, view: str) -> str:
    return product.image if view == IMAGE else product.title
