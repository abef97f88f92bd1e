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
from simprod_tf.matching.explain import (
    BOTH,
    IMAGE,
    MODALITIES,
    TEXT,
    Explanation,
    explain,
)
from simprod_tf.pipeline.embed import vector_tables

_WORDS = {IMAGE: "picture", TEXT: "title"}


def explain_pair(
    encoder: SavedEncoder,
    catalog: Catalog,
    ids: tuple[str, str],
    *,
    max_distance: float | None = None,
    files: Sequence[VectorTable] = (),
) -> Explanation:
    """Returns what speaks for and against two products being similar.

    Both are embedded whole, with the picture alone and with the title alone; all three
    distances are held against the one threshold, which was chosen for whole products.

    Args:
        encoder: A SavedModel; of it `encode` and `inputs` are used.
        catalog: Holds the products.
        ids: The two, which must differ.
        max_distance: The threshold, if there is one.
        files: Precomputed vectors that the encoder takes and the catalogue lacks.

    Raises:
        SimprodError: an id is unknown (names those that are written much like it), or
            both are the same.
        InputError: a picture cannot be read.
    """
    if ids[0] == ids[1]:
        raise SimprodError(f"two products are needed, got {ids[0]!r} twice.")
    for id in ids:
        _require_known(catalog, id)
    pair = catalog.take(catalog.rows_of(ids))
    this, that = pair
    tables = vector_tables(encoder.inputs, pair, files)
    embeddings = {BOTH: encoder.encode([this, that], tables=tables)}
    missing = {}
    for modality in _WORDS:
        lacking = [one.id for one in (this, that) if not _content(one, modality)]
        if lacking:
            missing[modality] = f"{_listed(lacking)} no {_WORDS[modality]}"
        else:
            alone = [_alone(one, modality) for one in (this, that)]
            embeddings[modality] = encoder.encode(alone)
    distances = {}
    for modality, both in embeddings.items():
        unknown = [id for id, one in zip(ids, both) if not np.any(one)]
        if unknown:
            missing[modality] = _unknown(unknown, modality)
        else:
            distances[modality] = float(np.linalg.norm(both[0] - both[1]))
    words = title_words([this.title, that.title])
    return explain(
        this,
        that,
        distances=distances,
        thresholds=dict.fromkeys(MODALITIES, max_distance),
        tokens=(words[0], words[1]),
        missing=missing,
    )


def _require_known(catalog: Catalog, id: str) -> None:
    if id in catalog:
        return
    near = difflib.get_close_matches(id, [str(one) for one in catalog.ids], n=3)
    hint = f"; near to it are: {', '.join(near)}" if near else ""
    raise SimprodError(f"the catalogue holds no product {id!r}{hint}.")


def _content(product: Product, modality: str) -> str:
    return product.image if modality == IMAGE else product.title


def _alone(product: Product, modality: str) -> Product:
    """Returns the product with its picture alone, or its title alone."""
    if modality == IMAGE:
        return Product(product.id, image=product.image)
    return Product(product.id, title=product.title)


def _listed(ids: list[str]) -> str:
    return f"{' and '.join(ids)} {'has' if len(ids) == 1 else 'have'}"


def _unknown(ids: list[str], modality: str) -> str:
    by = f" by the {_WORDS[modality]} alone" if modality in _WORDS else ""
    return f"the encoder knows nothing of {' and '.join(ids)}{by}"
