"""Catalogue -> index, by a SavedModel; later products into it, and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.data.attributes import attributes_of
from simprod_tf.data.catalog import Catalog
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.export import SavedEncoder
from simprod_tf.index.base import Index
from simprod_tf.index.build import KINDS, build_index
from simprod_tf.index.tuning import ScannSettings
from simprod_tf.manifest import require_same_encoder
from simprod_tf.matching.views import IMAGE, TEXT, WHOLE
from simprod_tf.pipeline.embed import Embedded, embed_catalog, embed_view
from simprod_tf.pipeline.progress import Progress, silent


@dataclass(frozen=True)
class IndexSettings:
    """How a catalogue's index is built.

    Attributes:
        kind: "scann", "exact", "exact-tf", or "auto": ScaNN where it can be imported.
        views: "image" and "text": an index more each, of the products by that alone.
        attributes: columns of the catalogue that `where` may ask about.
        recall: of the 10 nearest products, the share that a search shall find.
        settings: an expert's, for ScaNN's tree.
        allow_low_recall: keep an index whose measured recall is below `recall`.
    """

    kind: str = "auto"
    views: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    recall: float = 0.99
    settings: ScannSettings | None = None
    allow_low_recall: bool = False

    def __post_init__(self) -> None:
        """Refuses a view or kind that there is not."""
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, got {self.kind!r}.")
        if unknown := set(self.views) - {IMAGE, TEXT}:
            raise ValueError(f"a view is {IMAGE} or {TEXT}, got {min(unknown)!r}.")


@dataclass(frozen=True, eq=False)
class Indexed:
    """What became of the products.

    Attributes:
        index: Of those of which something is known, its views attached.
        unknown: Ids of products that have no picture, and no word that the encoder
            knows: they are left out.
    """

    index: Index
    unknown: list[str]


@dataclass(frozen=True)
class Update:
    """How many products came new, were replaced and were removed."""

    new: int
    replaced: int
    removed: int


def index_catalog(
    encoder: SavedEncoder,
    catalog: Catalog,
    settings: IndexSettings,
    *,
    files: Sequence[VectorTable] = (),
    progress: Progress = silent,
) -> Indexed:
    """Returns the index of a catalogue; the encoder's decision goes with it.

    Raises:
        RecallError: the recall is not reached.
        SimprodError: nothing is known of any product, or a column is not there.
    """
    table = _attributes(catalog, settings.attributes)
    embedded = embed_catalog(encoder, catalog, files=files, progress=progress)
    if not embedded.known.any():
        raise SimprodError("the encoder knows nothing of any product in the catalogue.")
    extra = {"decision": encoder.manifest.get("decision")}
    index = _built(encoder, embedded, settings, table=table, extra=extra)
    views = {}
    for view in settings.views:
        seen = embed_view(encoder, catalog, view, progress=progress)
        # A product is known by its picture alone only if it is known at all.
        seen = Embedded(seen.ids, seen.embeddings, seen.known & embedded.known)
        if seen.known.any():
            views[view] = _built(encoder, seen, settings)
    index.attach(views)
    return Indexed(index, [str(id) for id in embedded.ids[~embedded.known]])


def update_index(
    index: Index,
    encoder: SavedEncoder,
    catalog: Catalog,
    *,
    files: Sequence[VectorTable] = (),
    progress: Progress = silent,
) -> Update:
    """Takes a catalogue's products into an index, in place of those with the same id.

    A product of which nothing is known is removed, if it was there. All of them are
    embedded before the index changes.

    Raises:
        FingerprintError: another encoder made the index.
        SimprodError: a column is not there.
    """
    require_same_encoder(encoder.fingerprint, index.encoder_fingerprint, what="index")
    held = index.attributes
    table = _attributes(catalog, () if held is None else held.column_names)
    seen = {WHOLE: embed_catalog(encoder, catalog, files=files, progress=progress)}
    for view in index.views:
        seen[view] = embed_view(encoder, catalog, view, progress=progress)
    before = len(index)
    known = seen[WHOLE].known
    unknown = [str(id) for id in catalog.ids[~known]]
    gone = remove_products(index, [id for id in unknown if id in index])
    for view, embedded in seen.items():
        _take_in(
            index if view == WHOLE else index.views[view],
            Embedded(embedded.ids, embedded.embeddings, embedded.known & known),
            table if view == WHOLE else None,
        )
    new = len(index) - before + gone
    return Update(new, int(known.sum()) - new, gone)


def remove_products(index: Index, ids: Sequence[str]) -> int:
    """Removes products from an index and its views; returns how many.

    Raises:
        KeyError: names a product that is not there; then none is removed.
    """
    index.remove(ids)
    for view in index.views.values():
        view.remove([id for id in ids if id in view])
    return len(ids)


def views_of(index: Index) -> dict[str, Index]:
    """Returns the index and its views by their names, as matching takes them."""
    return {WHOLE: index, **index.views}


def _take_in(index: Index, embedded: Embedded, table: pa.Table | None) -> None:
    """Adds what is known; removes what was there and is known no longer."""
    ids = [str(id) for id in embedded.ids]
    lost = [id for id, there in zip(ids, embedded.known) if not there and id in index]
    index.remove(lost)
    rows = np.flatnonzero(embedded.known)
    index.add(
        [ids[row] for row in rows],
        embedded.embeddings[rows],
        attributes=None if table is None else table.take(pa.array(rows)),
    )


def _built(
    encoder: SavedEncoder,
    embedded: Embedded,
    settings: IndexSettings,
    *,
    table: pa.Table | None = None,
    extra: Mapping[str, object] | None = None,
) -> Index:
    rows = np.flatnonzero(embedded.known)
    return build_index(
        [str(id) for id in embedded.ids[rows]],
        embedded.embeddings[rows],
        encoder_fingerprint=encoder.fingerprint,
        kind=settings.kind,
        attributes=None if table is None else table.take(pa.array(rows)),
        extra=extra,
        recall=settings.recall,
        settings=settings.settings,
        allow_low_recall=settings.allow_low_recall,
    )


def _attributes(catalog: Catalog, columns: Sequence[str]) -> pa.Table | None:
    if not columns:
        return None
    try:
        return attributes_of(catalog, columns)
    except ValueError as error:
        raise SimprodError(str(error)) from error
