"""Catalogue -> embeddings by a SavedModel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simprod_tf.data.catalog import Catalog, Product
from simprod_tf.data.vectors import VectorTable, column_vectors
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.export import SavedEncoder
from simprod_tf.features.product_inputs import ProductInputs
from simprod_tf.matching.views import IMAGE
from simprod_tf.pipeline.progress import Progress, about, silent


@dataclass(frozen=True, eq=False)
class Embedded:
    """A catalogue's embeddings; `known` is False where nothing of a product is known.

    Attributes:
        ids: [P] str.
        embeddings: [P, D] float32, unit length; zeros where not known.
        known: [P] bool.
    """

    ids: np.ndarray
    embeddings: np.ndarray
    known: np.ndarray


def embed_catalog(
    encoder: SavedEncoder,
    catalog: Catalog,
    *,
    files: Sequence[VectorTable] = (),
    progress: Progress = silent,
) -> Embedded:
    """Returns the embedding of every product of the catalogue.

    Args:
        encoder: A SavedModel.
        catalog: The products.
        files: Precomputed vectors that the encoder takes and the catalogue lacks.
        progress: Told how far the work is.

    Raises:
        SimprodError: vectors that the encoder takes are not given.
    """
    embeddings = encoder.encode(
        list(catalog),
        tables=vector_tables(encoder.inputs, catalog, files),
        progress=about(progress, "Embedding products"),
    )
    return Embedded(catalog.ids, embeddings, np.linalg.norm(embeddings, axis=1) > 0.5)


def embed_view(
    encoder: SavedEncoder, catalog: Catalog, view: str, *, progress: Progress = silent
) -> Embedded:
    """Returns the embeddings of the products by their picture, or title, alone.

    Args:
        encoder: A SavedModel.
        catalog: The products; those without a picture, or title, are not known.
        view: "image" or "text".
        progress: Told how far the work is.
    """
    rows = np.flatnonzero((catalog.images if view == IMAGE else catalog.titles) != "")
    embeddings = np.zeros((len(catalog), encoder.dim), np.float32)
    embeddings[rows] = encoder.encode(
        [alone(catalog.product(int(row)), view) for row in rows],
        progress=about(progress, f"Embedding products by {view}"),
    )
    return Embedded(catalog.ids, embeddings, np.linalg.norm(embeddings, axis=1) > 0.5)


def alone(product: Product, view: str) -> Product:
    """Returns the product with its picture alone ("image"), or its title ("text")."""
    if view == IMAGE:
        return Product(product.id, image=product.image)
    return Product(product.id, title=product.title)


def vector_tables(
    inputs: ProductInputs, catalog: Catalog, files: Sequence[VectorTable]
) -> dict[str, VectorTable]:
    """Returns the vectors that an encoder takes, from files or the catalogue, by name.

    Raises:
        SimprodError: some are not there.
    """
    tables = {one.name: one for one in files}
    for wanted in inputs.vectors:
        if wanted.name in tables:
            continue
        if not wanted.column:
            raise SimprodError(
                f"the encoder takes vectors {wanted.name!r} of length {wanted.dim}: "
                f"give their file, such as --features {wanted.name}.npy."
            )
        try:
            tables[wanted.name] = column_vectors(catalog, wanted.column)
        except ValueError as error:
            raise SimprodError(str(error)) from error
    return tables


def embed_query(encoder: SavedEncoder, *, title: str, image: str) -> np.ndarray:
    """Returns the [1, D] embedding of a picture file, a title, or both.

    Raises:
        InputError: the picture cannot be used.
        SimprodError: nothing of the query is known.
    """
    if image and not Path(image).is_file():
        raise InputError("there is no such picture.", path=image)
    embedding = encoder.encode([Product("query", title, image)])
    if not np.any(embedding):
        raise SimprodError(
            f"the encoder knows nothing of the query (title {title!r}, picture "
            f"{image!r}): it has learned none of the words, and sees pictures only if "
            "it was trained with some."
        )
    return embedding
