"""Sub-commands on embeddings: index, search, match."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, print_rows, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    import numpy as np

    from simprod_tf.index.base import Index
    from simprod_tf.matching.threshold import Decision

IndexPath = Annotated[Path, typer.Argument(help="Folder that `simprod index` wrote.")]
ModelPath = Annotated[
    Optional[Path], typer.Option(help="The SavedModel that made the index.")
]


def index(
    catalog: CatalogPath,
    model: Annotated[Path, typer.Option(help="SavedModel: its folder or a version's.")],
    out: Annotated[Path, typer.Option(help="Folder for the index.")],
    kind: Annotated[str, typer.Option(help="auto, scann or exact.")] = "auto",
    features: Annotated[
        Optional[list[Path]],
        typer.Option(help="Precomputed vectors that the encoder takes; repeatable."),
    ] = None,
    skip_bad: SkipBad = False,
) -> None:
    """Embed a catalogue and build its index of nearest neighbours.

    Example: `simprod index shop/catalog.csv --model saved_models/shop --out index`
    """
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.export import SavedEncoder
    from simprod_tf.pipeline.embed import index_catalog
    from simprod_tf.pipeline.out_folder import require_replaceable

    if kind not in ("auto", "scann", "exact"):
        raise typer.BadParameter(f"kind must be auto, scann or exact, got {kind!r}.")
    require_replaceable(out, "index")
    with bars() as progress:
        encoder = SavedEncoder(model)
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not encoder.inputs.has_more,
        )
        built, unknown = index_catalog(
            encoder,
            products,
            out,
            kind=kind,
            files=[read_vectors(path) for path in features or ()],
            progress=progress,
        )
    if unknown:
        say(
            f"{len(unknown)} products left out, since they have no picture and no word "
            f"that the encoder knows: {', '.join(unknown[:5])}"
            + (", ..." if len(unknown) > 5 else "")
        )
    exact = "exact" if built.is_exact else "approximate"
    say(f"Index of {len(built)} products ({exact}) written to {out}")


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
    matches = found.search(query, k=k, exclude=[id])[0]
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


def match(
    index: IndexPath,
    out: Annotated[Path, typer.Option(help="Table to write: .parquet or .csv.")],
    k: Annotated[int, typer.Option("-k", min=1, help="At most, per product.")] = 10,
    max_distance: Annotated[
        Optional[float],
        typer.Option(
            min=0, max=2, help="By default the threshold that training chose."
        ),
    ] = None,
    mutual: Annotated[
        bool, typer.Option(help="Only pairs that are each among the other's nearest.")
    ] = False,
    groups: Annotated[
        Optional[Path], typer.Option(help="Also write groups of the same product.")
    ] = None,
) -> None:
    """Write the similar-products table: every product with those like it.

    Columns: `query_id`, `id`, `rank`, `distance`, `probability`.

    Example: `simprod match index --out similar.parquet`
    """
    from simprod_tf.data.tables import require_writable_suffix, write_table
    from simprod_tf.index.build import load_index
    from simprod_tf.matching.grouping import group_matches
    from simprod_tf.matching.matcher import find_matches

    for path in filter(None, (out, groups)):
        require_writable_suffix(path)
    found = load_index(index)
    decision = _decision(found)
    if max_distance is None:
        if decision is None:
            refused = (found.extra.get("decision") or {}).get("refused", "")
            raise SimprodError(
                f"the encoder of {index} has no threshold; give --max-distance. "
                f"{refused}"
            )
        max_distance = decision.max_distance
    with bars() as progress:
        table = find_matches(
            found,
            k=k,
            max_distance=max_distance,
            decision=decision,
            mutual=mutual,
            progress=lambda done, total: progress("Matching products", done, total),
        )
    write_table(table, out)
    say(f"{table.num_rows} matches up to distance {max_distance:.3f} written to {out}")
    if groups is not None:
        grouped = group_matches(table)
        write_table(grouped.table, groups)
        say(f"{grouped.table.num_rows} products in groups written to {groups}")


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
    from simprod_tf.matching.threshold import Decision

    content = index.extra.get("decision")
    if not content or "refused" in content:
        return None
    return Decision.from_json(content)


def _titles(path: Path | None) -> dict[str, str]:
    from simprod_tf.data.tables import read_table

    if path is None:
        return {}
    read = read_table(path)
    return dict(zip(read.strings("id"), read.strings("title")))
