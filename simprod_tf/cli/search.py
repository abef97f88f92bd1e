"""The sub-command search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import print_rows
from simprod_tf.cli.index import IndexPath
from simprod_tf.cli.matching import trained
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    import numpy as np

    from simprod_tf.index.base import Index
    from simprod_tf.matching.decision import Decision

ModelPath = Annotated[
    Optional[Path], typer.Option(help="The SavedModel that made the index.")
]


def search(
    index: IndexPath,
    id: Annotated[Optional[str], typer.Option(help="A product of the index.")] = None,
    image: Annotated[Optional[Path], typer.Option(help="A picture file.")] = None,
    title: Annotated[Optional[str], typer.Option(help="A title.")] = None,
    model: ModelPath = None,
    catalog: Annotated[
        Optional[Path], typer.Option(help="Show the titles from this catalogue.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many products.")] = 10,
    where: Annotated[
        Optional[str],
        typer.Option(
            help="Only products that satisfy this, in SQL: \"category = 'mugs' AND "
            'price < 20".'
        ),
    ] = None,
) -> None:
    """Find the products nearest to a product, a picture, a title, or both of these.

    Example: `simprod search index --title "blue mug 350 ml" --model saved_models/shop`
    """
    from simprod_tf.index.build import load_index

    if (id is None) == (image is None and title is None):
        raise typer.BadParameter("give --id, or --image and/or --title.")
    if id is None and model is None:
        raise typer.BadParameter("a picture or a title needs --model.")
    if id is not None:
        found = load_index(index)
        if id not in found:
            raise SimprodError(f"{index} holds no product {id!r}.")
        query = found.embeddings_of([id])
    else:
        found, query = _open_with_query(index, model, image=image, title=title)
    matches = found.search(query, k=k, exclude=[id], where=where)[0]
    decision = _decision(found)
    titles = _titles(catalog)
    rows = []
    for rank, match in enumerate(matches, start=1):
        similar = ""
        if decision is not None:
            similar = "yes" if match.distance <= decision.max_distance else "no"
        row = [str(rank), match.id, f"{match.distance:.4f}", similar]
        rows.append(row + ([titles.get(match.id, "")] if catalog else []))
    columns = ["rank", "id", "distance", "similar", *(["title"] if catalog else [])]
    print_rows(columns, rows)


def _open_with_query(
    folder: Path, model: Path | None, *, image: Path | None, title: str | None
) -> tuple[Index, np.ndarray]:
    """Returns the index, which must be of this encoder, and the query's embedding."""
    from simprod_tf.export import SavedEncoder
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline.embed import embed_query

    encoder = SavedEncoder(str(model))
    found = load_index(folder, encoder_fingerprint=encoder.fingerprint)
    query = embed_query(
        encoder, title=title or "", image="" if image is None else str(image)
    )
    return found, query


def _decision(index: Index) -> Decision | None:
    """Returns the decision on whole products that training made, if it made one."""
    chosen = trained(index)
    return None if chosen is None else chosen.whole


def _titles(path: Path | None) -> dict[str, str]:
    from simprod_tf.data.tables import read_table

    if path is None:
        return {}
    read = read_table(path)
    return dict(zip(read.strings("id"), read.strings("title")))
