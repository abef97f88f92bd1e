"""Catalogue -> index, by a SavedModel; later products into it, and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.data.attributes import attributes_of
from simprod_tf.data.catalog import Catalog
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import RecallError, SimprodError
from simprod_tf.export import SavedEncoder
from simprod_tf.index.base import Index
from simprod_tf.index.build import KINDS, build_index
from simprod_tf.index.tuning import ScannSettings, Tuning
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
        """Refuses a view or kind that there is not, before anything is embedded."""
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, got {self.kind!r}.")
        if unknown := set(self.views) - {IMAGE, TEXT}:
            raise ValueError(f"a view is {IMAGE} or {TEXT}, got {min(unknown)!r}.")
        if self.settings is not None and self.kind not in ("auto", "scann"):
            raise ValueError(
                f"settings of ScaNN are for kind scann or auto, got {self.kind!r}."
            )
        Tuning(self.recall)


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
    """What became of a catalogue's products.

    Attributes:
        new: How many came new.
        replaced: How many took the place of those with the same id.
        removed: How many of the unknown ones were there before.
        unknown: Ids of products of which nothing is known; the index holds none.
    """

    new: int
    replaced: int
    removed: int
    unknown: tuple[str, ...] = ()


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
        RecallError: the recall is not reached; names the view.
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
            views[view] = _built_view(encoder, seen, settings, view=view)
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

    A product of which nothing is known is removed, if it was there; so it is from a
    view, where its picture or title is gone. All of them are embedded before the index
    changes.

    Raises:
        FingerprintError: another encoder made the index.
        SimprodError: a column of the index is not there, or a value is of another type.
    """
    require_same_encoder(
        encoder.fingerprint, index.encoder_fingerprint, what="The index"
    )
    held = index.attributes
    table = None if held is None else _attributes_like(catalog, held.schema)
    seen = {WHOLE: embed_catalog(encoder, catalog, files=files, progress=progress)}
    for view in index.views:
        seen[view] = embed_view(encoder, catalog, view, progress=progress)
    before = len(index)
    known = seen[WHOLE].known
    unknown = [str(id) for id in catalog.ids[~known]]
    gone = [id for id in unknown if id in index]
    index.remove(gone)
    for view, embedded in seen.items():
        _take_in(
            index if view == WHOLE else index.views[view],
            Embedded(embedded.ids, embedded.embeddings, embedded.known & known),
            table if view == WHOLE else None,
        )
    new = len(index) - before + len(gone)
    return Update(new, int(known.sum()) - new, len(gone), tuple(unknown))


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


def _built_view(
    encoder: SavedEncoder, embedded: Embedded, settings: IndexSettings, *, view: str
) -> Index:
    try:
        return _built(encoder, embedded, settings)
    except RecallError as error:
        raise RecallError(f"by {view} alone, {error}") from error


def _attributes_like(catalog: Catalog, schema: pa.Schema) -> pa.Table:
    """Returns the attributes that an index holds, of its types, whatever the values.

    Where sizes are text, since there are "L" and "42", a lone 42 is text as well.
    """
    try:
        guessed = attributes_of(catalog, schema.names)
    except ValueError as error:
        raise SimprodError(
            f"the index has the attributes {', '.join(schema.names)}: {error}"
        ) from error
    columns = []
    for field in schema:
        column = guessed.column(field.name)
        if pa.types.is_string(field.type):
            texts = catalog.column(field.name)
            column = pa.array([text or None for text in texts], pa.string())
        columns.append(_cast(column, field, catalog))
    return pa.table(columns, schema=schema)


def _cast(
    column: pa.Array | pa.ChunkedArray, field: pa.Field, catalog: Catalog
) -> pa.Array | pa.ChunkedArray:
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        for id, value in zip(catalog.ids, column):
            try:
                value.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise SimprodError(
                    f"product {str(id)!r} has {field.name} {value.as_py()!r}, but the "
                    f"index holds {field.name} as {field.type}; correct it, or build "
                    "the index again."
                ) from error
        raise


def _attributes(catalog: Catalog, columns: Sequence[str]) -> pa.Table | None:
    if not columns:
        return None
    try:
        return attributes_of(catalog, columns)
    except ValueError as error:
        raise SimprodError(str(error)) from error
