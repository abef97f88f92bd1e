"""Two products of a catalogue, explained by a SavedModel: see matching.explain."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from simprod_tf.data.catalog import Catalog, Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.export import SavedEncoder
from simprod_tf.features.text import title_words
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.explain import EXPLAINED, Explanation, explain
from simprod_tf.matching.views import IMAGE, TEXT, WHOLE
from simprod_tf.pipeline.embed import alone, vector_tables

_WORDS = {IMAGE: "picture", TEXT: "title"}


def explain_pair(
    encoder: SavedEncoder,
    catalog: Catalog,
    ids: tuple[str, str],
    *,
    decisions: Decisions | None = None,
    files: Sequence[VectorTable] = (),
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

    Raises:
        SimprodError: an id is unknown (names those that are written much like it), both
            are the same, or the catalogue lacks the column of the categories.
        FingerprintError: the thresholds are of another encoder.
        InputError: a picture cannot be read.
    """
    if ids[0] == ids[1]:
        raise SimprodError(f"two products are needed, got {ids[0]!r} twice.")
    for id in ids:
        _require_known(catalog, id)
    pair = catalog.take(catalog.rows_of(ids))
    thresholds = {} if decisions is None else _thresholds(decisions, encoder, pair)
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
    words = title_words([this.title, that.title])
    return explain(
        this,
        that,
        distances=distances,
        thresholds=thresholds,
        tokens=(words[0], words[1]),
        missing=missing,
    )


def _thresholds(
    decisions: Decisions, encoder: SavedEncoder, pair: Catalog
) -> dict[str, float]:
    """Returns the threshold of each view for the first of the two as the query."""
    decisions.require_for(encoder.fingerprint)
    return {
        view: float(np.atleast_1d(limit)[0])
        for view, limit in decisions.limits(pair).items()
        if view in EXPLAINED
    }


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
