"""Two products of a catalogue, explained by a SavedModel: see matching.explain."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simprod_tf.data.catalog import Catalog, Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.export import SavedEncoder
from simprod_tf.features.text import title_words
from simprod_tf.index.base import Index
from simprod_tf.manifest import require_same_encoder
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.explain import EXPLAINED, Contribution, Explanation, explain
from simprod_tf.matching.views import DECIDER, IMAGE, TEXT, WHOLE
from simprod_tf.pipeline.decider import (
    decided_views,
    decider_products,
    require_fitting,
    tables_of,
)
from simprod_tf.pipeline.embed import alone, vector_tables
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.veto import in_index_order

if TYPE_CHECKING:
    from simprod_tf.decider.decider import BoundDecider, Decider

_WORDS = {IMAGE: "picture", TEXT: "title"}


@dataclass(frozen=True, eq=False)
class DecidedBy:
    """A decider, and what it looks at beside the two products.

    Attributes:
        decider: the decider.
        index: proposes rivals of the two, and holds the embeddings that the decider
            was trained with, if it was; None for rivals by words alone.
        k: neighbours in each of the index's views, as in matching.
        tables: the column of the products' tables, or "".
    """

    decider: Decider
    index: Index | None = None
    k: int = 10
    tables: str = ""


@dataclass(frozen=True, eq=False)
class _Finding:
    """What a decider says of the two."""

    distance: float
    contributions: Sequence[Contribution]


def explain_pair(
    encoder: SavedEncoder,
    catalog: Catalog,
    ids: tuple[str, str],
    *,
    decisions: Decisions | None = None,
    files: Sequence[VectorTable] = (),
    decided_by: DecidedBy | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Returns what speaks for and against two products being similar.

    Both are embedded whole, with the picture alone and with the title alone; each
    distance is held against the threshold of its view, if that has one.

    Args:
        encoder: A SavedModel; of it `encode`, `inputs` and `fingerprint` are used.
        catalog: Holds the products.
        ids: The two, which must differ.
        decisions: The thresholds, if there are any. Where they go by category, that of
            the first product counts, as it does for a query.
        files: Precomputed vectors that the encoder takes and the catalogue lacks.
        decided_by: A pair decider that decides instead of the distance; without
            `decisions` up to the probability that was best on its own pairs.
        progress: Told how far the decider is with the catalogue.

    Raises:
        SimprodError: an id is unknown (names those that are written much like it), both
            are the same, or the catalogue lacks the column of the categories.
        FingerprintError: thresholds, decider or index are of another encoder.
        InputError: a picture cannot be read.
    """
    if ids[0] == ids[1]:
        raise SimprodError(f"two products are needed, got {ids[0]!r} twice.")
    for id in ids:
        _require_known(catalog, id)
    pair = catalog.take(catalog.rows_of(ids))
    thresholds = _thresholds(decisions, encoder, pair, decided_by)
    finding = _finding(decided_by, encoder, catalog, ids, progress)
    this, that = pair
    tables = vector_tables(encoder.inputs, pair, files)
    embeddings = {WHOLE: encoder.encode([this, that], tables=tables)}
    missing = {}
    for view in _WORDS:
        lacking = [one.id for one in (this, that) if not _content(one, view)]
        if lacking:
            missing[view] = f"{_listed(lacking)} no {_WORDS[view]}"
        else:
            embeddings[view] = encoder.encode([alone(one, view) for one in pair])
    distances = {}
    for view, both in embeddings.items():
        unknown = [id for id, one in zip(ids, both) if not np.any(one)]
        if unknown:
            missing[view] = _unknown(unknown, view)
        else:
            distances[view] = float(np.linalg.norm(both[0] - both[1]))
    if finding is not None:
        distances[DECIDER] = finding.distance
    words = title_words([this.title, that.title])
    return explain(
        this,
        that,
        distances=distances,
        thresholds=thresholds,
        tokens=(words[0], words[1]),
        missing=missing,
        contributions=() if finding is None else finding.contributions,
    )


def _thresholds(
    decisions: Decisions | None,
    encoder: SavedEncoder,
    pair: Catalog,
    decided_by: DecidedBy | None,
) -> dict[str, float]:
    """Returns the threshold of each view for the first of the two as the query."""
    decider = None if decided_by is None else decided_by.decider
    if decisions is None:
        return {} if decider is None else {DECIDER: 1 - decider.best_f1_probability}
    decisions.require_for(
        encoder.fingerprint, decider="" if decider is None else decider.fingerprint
    )
    return {
        view: float(np.atleast_1d(limit)[0])
        for view, limit in decisions.limits(pair).items()
        if view in (*EXPLAINED, DECIDER)
    }


def _finding(
    decided_by: DecidedBy | None,
    encoder: SavedEncoder,
    catalog: Catalog,
    ids: tuple[str, str],
    progress: Progress,
) -> _Finding | None:
    if decided_by is None:
        return None
    index = decided_by.index
    if index is not None:
        require_same_encoder(
            encoder.fingerprint, index.encoder_fingerprint, what="the index"
        )
        catalog = in_index_order(index, catalog)
        for id in ids:
            if id not in catalog:
                raise SimprodError(
                    f"the index holds no product {id!r}; `simprod add` takes it in."
                )
    starts, ends = (catalog.rows_of([id]) for id in ids)
    pair = np.stack([starts, ends], axis=1)
    bound = _bound(decided_by, catalog, pair, progress)
    return _Finding(
        float(bound.distances(starts, ends)[0]), bound.explain(starts, ends)[0]
    )


def _bound(
    decided_by: DecidedBy, catalog: Catalog, pair: np.ndarray, progress: Progress
) -> BoundDecider:
    """Returns the decider on the catalogue as matching has it, and on the pair."""
    decider, index = decided_by.decider, decided_by.index
    tables = tables_of(catalog, decided_by.tables)
    if tables is not None and len({*tables[pair[0]]}) == 1:
        raise SimprodError(
            f"both products are of the table {str(tables[pair[0, 0]])!r}, and the pair "
            "decider links different ones."
        )
    if index is None:
        require_fitting(decider, None, tables=tables)
        told = about(progress, "Reading candidates")
        return decider.bind(
            decider_products(catalog, tables=tables), pair, progress=told
        )
    found = decided_views(
        decider,
        index,
        catalog,
        k=decided_by.k,
        tables=tables,
        more=pair,
        progress=progress,
    )
    return found.bound


def _require_known(catalog: Catalog, id: str) -> None:
    if id in catalog:
        return
    near = difflib.get_close_matches(id, [str(one) for one in catalog.ids], n=3)
    hint = f"; near to it are: {', '.join(near)}" if near else ""
    raise SimprodError(f"the catalogue holds no product {id!r}{hint}.")


def _content(product: Product, view: str) -> str:
    return product.image if view == IMAGE else product.title


def _listed(ids: list[str]) -> str:
    return f"{' and '.join(ids)} {'has' if len(ids) == 1 else 'have'}"


def _unknown(ids: list[str], view: str) -> str:
    by = f" by the {_WORDS[view]} alone" if view in _WORDS else ""
    return f"the encoder knows nothing of {' and '.join(ids)}{by}"
