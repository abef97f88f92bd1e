"""One encoder on held-out pairs and groups: whole, and by one modality alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.data.catalog import Catalog, Product
from simprod_tf.data.pairs import Pairs, canonical_pairs
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model
from simprod_tf.evaluation.retrieval import Retrieval, retrieval_metrics
from simprod_tf.evaluation.sides import known_rows, pair_distances
from simprod_tf.export import SavedEncoder
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.views import IMAGE, TEXT
from simprod_tf.pipeline.embed import alone, embed_catalog
from simprod_tf.pipeline.progress import Progress, about
from simprod_tf.pipeline.variant import Variant

_VIEWS = {"picture": IMAGE, "title": TEXT}
MODALITIES = tuple(_VIEWS)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What the models are judged on.

    Attributes:
        catalog: The candidates of every search.
        queries: The products searched for; may be some of the candidates.
        pairs: Labelled pairs of candidates, or None.
        group_column: Products with the same value of it are right answers.
        files: Precomputed vectors of both, for encoders that take any.
    """

    catalog: Catalog
    queries: Catalog
    pairs: Pairs | None = None
    group_column: str = "group"
    files: Sequence[VectorTable] = ()

    def __post_init__(self) -> None:
        """Checks that there is something to judge by."""
        if not len(self.query_rows()) and not self.pairs:
            raise SimprodError(
                f"there is nothing to judge by: no product has a "
                f"{self.group_column!r}, and there are no pairs."
            )

    def query_rows(self) -> np.ndarray:
        """Returns the [Q] rows of the queries that have a group."""
        return np.flatnonzero(self.queries.column(self.group_column) != "")

    def embed(
        self, encoder: SavedEncoder, catalog: Catalog, progress: Progress
    ) -> np.ndarray:
        """Returns the [P, D] float32 embeddings of candidates or queries."""
        return embed_catalog(
            encoder, catalog, files=self.files, progress=progress
        ).embeddings

    def labelled(self) -> Pairs:
        """Returns the labelled pairs, which may be none."""
        return canonical_pairs([], [], []) if self.pairs is None else self.pairs


@dataclass(frozen=True, eq=False)
class Judged:
    """One model's evaluation, with the embeddings that it comes from.

    Attributes:
        evaluation: On whole products.
        candidates: [P, D] float32, of the catalogue; queries: [Q, D] float32.
        variants: With one modality of queries and anchors alone, where asked for.
        encoder: What was judged, for who wants to ask it more.
    """

    evaluation: Evaluation
    candidates: np.ndarray
    queries: np.ndarray
    variants: tuple[Variant, ...] = ()
    encoder: SavedEncoder | None = None

    def evaluations(self) -> list[Evaluation]:
        """Returns the whole evaluation, then those of the variants."""
        parts = [one.evaluation for one in self.variants]
        return [self.evaluation, *(one for one in parts if one is not None)]


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a model is asked.

    Attributes:
        rows: [Q] of the queries.
        queries: [Q, D] float32, their embeddings.
        pairs: N labelled pairs.
        anchors: [A, D] float32, embeddings.
        anchor_rows: [N] int64, which of them is each pair's anchor.
    """

    rows: np.ndarray
    queries: np.ndarray
    pairs: Pairs
    anchors: np.ndarray
    anchor_rows: np.ndarray


# (name, asked) -> evaluation, on a test set whose candidates are embedded.
_Judge = Callable[[str, _Asked], Evaluation]


def evaluate_saved(
    name: str,
    folder: str | Path,
    test: HeldOut,
    *,
    modalities: Sequence[str] = (),
    seed: int,
    progress: Progress,
) -> Judged:
    """Returns the evaluation of one SavedModel on the test set."""
    return evaluate_encoder(
        name,
        SavedEncoder(folder),
        test,
        modalities=modalities,
        seed=seed,
        progress=progress,
    )


def evaluate_encoder(
    name: str,
    encoder: SavedEncoder,
    test: HeldOut,
    *,
    modalities: Sequence[str] = (),
    seed: int,
    progress: Progress,
) -> Judged:
    """Returns an encoder's evaluation, and one for each modality alone.

    Where nothing is known of a product (its embedding is 0), its pairs are as far
    apart as can be, and as a query it finds nothing.

    For a modality, queries and the pairs' anchors keep their picture or title and lose
    all else (attributes and precomputed vectors too); candidates and the pairs' other
    products stay whole. The anchor is the one of the two ids that comes first; the
    distance would be the same either way but for what is hidden, and one side is enough
    to tell how a product fares.

    Args:
        name: The model, as the report shows it.
        encoder: The encoder; of it `encode`, `inputs` and `manifest` are used.
        test: What to judge on.
        modalities: Which of `MODALITIES` are judged alone.
        seed: Of the intervals.
        progress: Told how far the embedding is.
    """
    unknown = [one for one in modalities if one not in MODALITIES]
    if unknown:
        raise ValueError(f"a modality is one of {MODALITIES}, got {unknown[0]!r}.")
    candidates = test.embed(encoder, test.catalog, progress)
    queries = _query_embeddings(encoder, test, candidates, progress)
    decision = encoder.manifest.get("decision") or {}
    calibration = _calibration(decision)
    judge = partial(
        _evaluation,
        test=test,
        candidates=candidates,
        max_distance=decision.get("max_distance"),
        calibration=calibration,
        seed=seed,
    )
    rows, pairs = test.query_rows(), test.labelled()
    anchor_rows = test.catalog.rows_of(pairs.anchor_ids)
    asked = queries if len(rows) == len(queries) else queries[rows]
    return Judged(
        judge(name, _Asked(rows, asked, pairs, candidates, anchor_rows)),
        candidates,
        queries,
        tuple(
            _variant(name, one, encoder, test, judge=judge, progress=progress)
            for one in modalities
        ),
        encoder,
    )


def _calibration(content: Mapping[str, Any]) -> Calibration | None:
    """Returns the curve from distance to probability, for pairs like those it is from.

    A decision's probabilities hold at the share of similar pairs among candidates; the
    pairs judged are taken to be like the labelled ones, with theirs.
    """
    if "calibration" not in content:
        return None
    decision = Decision.from_json(content)
    # A prior of 0 or 1 has no odds: of such pairs no other share can be had.
    if not (0 < decision.prior < 1 and 0 < decision.labelled_prior < 1):
        return decision.calibration
    return decision.calibration.at_prior(
        labelled=decision.prior, deployed=decision.labelled_prior
    )


def _query_embeddings(
    encoder: SavedEncoder, test: HeldOut, candidates: np.ndarray, progress: Progress
) -> np.ndarray:
    if test.queries is test.catalog:
        return candidates
    if all(id in test.catalog for id in test.queries.ids):
        return candidates[test.catalog.rows_of(test.queries.ids)]
    return test.embed(encoder, test.queries, progress)


def _variant(
    name: str,
    modality: str,
    encoder: SavedEncoder,
    test: HeldOut,
    *,
    judge: _Judge,
    progress: Progress,
) -> Variant:
    """Judges by one modality of the queries and anchors that have it."""
    all_rows, all_pairs = test.query_rows(), test.labelled()
    rows = all_rows[_has(test.queries, modality)[all_rows]]
    anchor_rows = test.catalog.rows_of(all_pairs.anchor_ids)
    pairs = all_pairs.where(_has(test.catalog, modality)[anchor_rows])
    variant = Variant(
        f"{name} ({modality} only)",
        modality,
        None,
        "",
        len(rows),
        len(all_rows) - len(rows),
        len(pairs),
        len(all_pairs) - len(pairs),
        0,
    )
    products = [
        *(alone(test.queries.product(int(row)), _VIEWS[modality]) for row in rows),
        *(alone(test.catalog[id], _VIEWS[modality]) for id in pairs.anchor_ids),
    ]
    if not products:
        return replace(variant, skipped=f"no query and no anchor has a {modality}")
    told = about(progress, f"Embedding queries by {modality}")
    embeddings = _encode_distinct(encoder, products, told)
    known = known_rows(embeddings)
    if not known.any():
        reason = f"the encoder knows nothing of any product by its {modality} alone"
        return replace(variant, skipped=reason, unknown=_distinct(products))
    first = np.arange(len(rows), len(embeddings))
    asked = _Asked(rows, embeddings[: len(rows)], pairs, embeddings, first)
    return replace(
        variant,
        evaluation=judge(variant.name, asked),
        unknown=_distinct([p for p, there in zip(products, known) if not there]),
    )


def _has(catalog: Catalog, modality: str) -> np.ndarray:
    """Returns [P] bool: which products have the modality."""
    return (catalog.images if modality == "picture" else catalog.titles) != ""


def _encode_distinct(
    encoder: SavedEncoder,
    products: Sequence[Product],
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """Returns [B, D] float32; who is asked with again is embedded once."""
    first: dict[tuple[str, str, str], int] = {}
    places = [first.setdefault(_key(one), len(first)) for one in products]
    distinct = [Product(id, title, image) for id, title, image in first]
    return encoder.encode(distinct, progress=progress)[places]


def _distinct(products: Sequence[Product]) -> int:
    return len({_key(one) for one in products})


def _key(product: Product) -> tuple[str, str, str]:
    return product.id, product.title, product.image


def _evaluation(
    name: str,
    asked: _Asked,
    *,
    test: HeldOut,
    candidates: np.ndarray,
    max_distance: float | None,
    calibration: Calibration | None,
    seed: int,
) -> Evaluation:
    other_rows = test.catalog.rows_of(asked.pairs.other_ids)
    anchor_ids = asked.pairs.anchor_ids
    groups = test.catalog.groups[test.catalog.rows_of(anchor_ids)]
    distances = pair_distances(
        asked.anchors, candidates, rows=(asked.anchor_rows, other_rows)
    )
    return evaluate_model(
        name,
        pair_distances=distances,
        pair_labels=asked.pairs.labels,
        pair_groups=np.where(groups == "", anchor_ids, groups).astype(str),
        retrieval=_retrieval(test, asked, candidates),
        max_distance=max_distance,
        pair_ids=np.stack([anchor_ids, asked.pairs.other_ids], axis=1),
        pair_probabilities=(
            None if calibration is None else calibration.probability(distances)
        ),
        seed=seed,
    )


def _retrieval(
    test: HeldOut, asked: _Asked, candidates: np.ndarray
) -> Retrieval | None:
    if not len(asked.rows):
        return None
    groups = test.catalog.column(test.group_column)
    # A product without a group is nobody's right answer.
    groups = np.where(groups == "", "\0none", groups).astype(str)
    return retrieval_metrics(
        asked.queries,
        candidates,
        test.queries.column(test.group_column)[asked.rows].astype(str),
        groups,
        query_ids=test.queries.ids[asked.rows].astype(str),
        candidate_ids=test.catalog.ids.astype(str),
    )
