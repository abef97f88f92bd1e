"""A pair decider on the products of an index: what it is given, and its view of them.

Matching knows a decider as one more view, which proposes candidates by words and whose
distance is 1 - probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.decider.products import DeciderProducts
from simprod_tf.errors import FingerprintError, SimprodError
from simprod_tf.index.base import Index
from simprod_tf.matching.candidate_graph import (
    HeldDistances,
    ListedView,
    candidate_edges,
    listed_views,
)
from simprod_tf.matching.keys import KeyGroups
from simprod_tf.matching.views import DECIDER, Views, views_of
from simprod_tf.pipeline.progress import Progress, about, silent

if TYPE_CHECKING:
    from simprod_tf.decider.decider import BoundDecider, Decider


@dataclass(frozen=True, eq=False)
class DecidedViews:
    """An index's views with a decider's, and the decider on their products.

    Attributes:
        views: of the index, their neighbours held, and "decider".
        edges: [E, 2] int32 rows, all pairs that may be candidates, each once.
        bound: the decider, which knows them.
    """

    views: Views
    edges: np.ndarray
    bound: BoundDecider

    def asked_once(
        self, rows: np.ndarray | None, *, progress: Progress = silent
    ) -> Views:
        """Returns the views with each pair decided upon once, at once.

        Args:
            rows: of the products whose pairs are needed; None for all.
            progress: told how far the work is.
        """
        edges = self.edges
        if rows is not None:
            wanted = np.zeros(len(self.views), bool)
            wanted[rows] = True
            edges = edges[wanted[edges].any(axis=1)]
        held = HeldDistances(
            edges,
            self.bound.distances,
            num_products=len(self.views),
            progress=about(progress, "Deciding pairs"),
        )
        return self.views.replaced({DECIDER: ListedView(self.bound.lexical, held)})


def decided_views(
    decider: Decider,
    index: Index,
    catalog: Catalog | None,
    *,
    k: int,
    keys: KeyGroups | None = None,
    tables: np.ndarray | None = None,
    more: np.ndarray | None = None,
    progress: Progress = silent,
) -> DecidedViews:
    """Returns the views of an index, and the decider as one of them.

    All candidates of all products are found first, since the decider looks at a pair
    among its rivals: it decides alike whichever products are asked for.

    Args:
        decider: the decider.
        index: the products, with their views.
        catalog: in the order of the index's rows.
        k: neighbours in each view.
        keys: exact keys, where these propose candidates.
        tables: [N] str; only products of different tables can be similar.
        more: [M, 2] rows of pairs that shall be decided upon, candidates or not.
        progress: told how far the work is.

    Raises:
        FingerprintError: the decider was trained with another encoder than the index's.
        SimprodError: there is no catalogue, the index lacks a view, or tables are
            given to a decider that was trained without, or the reverse.
    """
    if catalog is None:
        raise SimprodError(
            "a pair decider reads the catalogue's titles and attributes: give "
            "--catalog."
        )
    require_fitting(decider, index, tables=tables)
    products = decider_products(catalog, index, views=decider.views, tables=tables)
    views = listed_views(
        Views(views_of(index)),
        k=k,
        tables=tables,
        progress=about(progress, "Finding candidates"),
    )
    edges = candidate_edges(views, k=k, keys=keys, tables=tables)
    bound = decider.bind(
        products,
        edges if more is None else np.concatenate([edges, more]),
        progress=about(progress, "Reading candidates"),
    )
    asked = HeldDistances(
        np.empty((0, 2), np.int32), bound.distances, num_products=len(views)
    )
    views = views.replaced({DECIDER: ListedView(bound.lexical, asked)})
    both = candidate_edges(views, k=k, keys=keys, tables=tables)
    return DecidedViews(views, both, bound)


def threshold_views(
    decider: Decider | None,
    index: Index,
    catalog: Catalog | None,
    *,
    k: int,
    tables: np.ndarray | None,
    progress: Progress = silent,
) -> Views:
    """Returns the views that thresholds are chosen on, as `decided_views` has them."""
    if decider is not None:
        return decided_views(
            decider, index, catalog, k=k, tables=tables, progress=progress
        ).views
    views = Views(views_of(index))
    if tables is None:
        return views
    told = about(progress, "Finding candidates")
    return listed_views(views, k=k, tables=tables, progress=told)


def trained_on(decider: Decider, ids: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """Returns [P] bool: which of the pairs [P, 2] of rows the decider has learned."""
    names = np.asarray(ids, object)[rows]
    return decider.trained_on(names[:, 0], names[:, 1])


def decider_products(
    catalog: Catalog,
    index: Index | None = None,
    *,
    views: Sequence[str] | None = None,
    tables: np.ndarray | None = None,
) -> DeciderProducts:
    """Returns what a decider is given of products.

    Args:
        catalog: N products; where there is an index, in the order of its rows.
        index: of it come the embeddings; a product that a view lacks has zeros there.
        views: which of the index's views; None for all.
        tables: [N] str, or None.
    """
    embeddings = {}
    if index is not None:
        found = views_of(index)
        for view in found if views is None else views:
            one = found[view]
            whole = np.zeros((len(index), one.dim), np.float32)
            whole[index.rows_of(one.ids)] = one.embeddings
            embeddings[view] = whole
    made_by = index.encoder_fingerprint if index is not None and embeddings else ""
    return DeciderProducts(catalog, embeddings, made_by, tables)


def require_fitting(
    decider: Decider, index: Index | None, *, tables: np.ndarray | None
) -> None:
    """Refuses an index or tables that are not such as the decider was trained with.

    Raises:
        FingerprintError: another encoder made the embeddings; names both.
        SimprodError: the decider needs embeddings or tables, and there are none, or it
            knows of no tables.
    """
    if decider.record_linkage != (tables is not None):
        raise SimprodError(
            "the pair decider was trained to link tables: name their column by "
            "--tables."
            if decider.record_linkage
            else "the pair decider was trained without tables: leave --tables out, or "
            "train it with them."
        )
    if not decider.views:
        return
    if index is None:
        raise SimprodError(
            "the pair decider was trained with an index, and looks at its embeddings: "
            "give --index."
        )
    if decider.encoder_fingerprint != index.encoder_fingerprint:
        raise FingerprintError(
            "The pair decider was trained with the encoder "
            f"{decider.encoder_fingerprint}, got an index of "
            f"{index.encoder_fingerprint}; give the index of that encoder, or train "
            "the decider again: `simprod decider train --index`."
        )
    missing = [view for view in decider.views if view not in views_of(index)]
    if missing:
        raise SimprodError(
            f"the pair decider looks at the view {missing[0]!r}, which the index lacks;"
            f" `simprod index --view {missing[0]}` makes it."
        )


def tables_of(catalog: Catalog | None, column: str) -> np.ndarray | None:
    """Returns [N] str, the column of the products' tables; None where it is "".

    Raises:
        SimprodError: there is no catalogue, or no such column, or one table alone.
    """
    if not column:
        return None
    if catalog is None:
        raise SimprodError("tables are a column of the catalogue: give --catalog.")
    try:
        tables = catalog.column(column)
    except KeyError as error:
        raise SimprodError(f"tables: the catalogue has {error.args[0]}") from error
    if len(set(tables)) < 2:
        raise SimprodError(
            f"all products are of one table by {column!r}, so that none could be "
            "similar; leave --tables out, or name another column."
        )
    return tables.astype(str)
