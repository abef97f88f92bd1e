"""Sub-commands that make tables: shop, pairs, convert."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, read_products, say
from simprod_tf.errors import SimprodError

SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Set bad rows aside, with reasons, and go on without them."
    ),
]
CatalogPath = Annotated[
    Path,
    typer.Argument(
        help="CSV, JSONL or Parquet with `id` and any of `title`, `image`, `group`."
    ),
]


def shop(
    out: Annotated[Path, typer.Argument(help="Folder to write the shop into.")],
    products: Annotated[int, typer.Option(help="Products in the catalogue.")] = 1500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop.")] = 7,
) -> None:
    """Write a synthetic shop: catalogue, pictures, event log, hand-labelled pairs.

    Example: `simprod shop shop --products 600`
    """
    from simprod_tf.data.synthetic import ShopSettings, make_shop

    with options():
        settings = ShopSettings(products=products, seed=seed)
    with bars() as progress:
        make_shop(
            out,
            settings,
            progress=lambda done, total, what: progress(what, done, total),
        )
    say(
        f"A shop of {products} products: {out}/catalog.csv, events.parquet, "
        "hand_pairs.csv"
    )


def pairs(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Option(help="Pairs to write: .csv or .parquet.")],
    num_pairs: Annotated[
        int, typer.Option(min=2, help="About how many pairs.")
    ] = 10_000,
    near_column: Annotated[
        Optional[str],
        typer.Option(help="Half of the dissimilar pairs share this column's value."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Draw labelled pairs from the catalogue's own groups of the same product.

    Example: `simprod pairs shop/catalog.csv --near-column category --out pairs.csv`
    """
    from simprod_tf.data.group_pairs import draw_group_pairs
    from simprod_tf.data.pairs import write_pairs

    with bars() as progress:
        products = read_products(catalog, skip_bad=skip_bad, progress=progress)
    try:
        drawn = draw_group_pairs(
            products, num_pairs=num_pairs, near_column=near_column, seed=seed
        )
    except (KeyError, ValueError) as error:
        raise SimprodError(f"{catalog}: {error.args[0]}") from error
    write_pairs(drawn, out)
    say(
        f"{len(drawn):,} pairs, {drawn.num_positives:,} of them similar, written to "
        f"{out}"
    )


def convert(
    layout: Annotated[str, typer.Argument(help="grocery-store or product-matching.")],
    folder: Annotated[Path, typer.Argument(help="The data set, as it is published.")],
    out: Annotated[Path, typer.Argument(help="Folder for the catalogues and pairs.")],
    size: Annotated[
        Optional[str],
        typer.Option(
            help="Of a product-matching set that comes in several: what follows "
            "`train.txt.`, as small."
        ),
    ] = None,
) -> None:
    """Turn a public data set's own layout into catalogues and pairs.

    A product-matching set gives one catalogue and the labelled pairs of each part.
    Its parts share records, so figures on them compare with published ones alone.

    Example: `simprod convert grocery-store GroceryStoreDataset grocery`

    Example: `simprod convert product-matching wdc-computers wdc --size small`
    """
    from simprod_tf.data.formats import grocery_store

    if layout == "product-matching":
        _convert_product_matching(folder, out, size)
        return
    if layout != "grocery-store":
        raise typer.BadParameter(
            f"layout must be grocery-store or product-matching, got {layout!r}."
        )
    if size is not None:
        raise typer.BadParameter("--size is for product-matching alone.")
    for path in grocery_store.convert(folder, out):
        say(f"Catalogue written to {path}")


def _convert_product_matching(folder: Path, out: Path, size: str | None) -> None:
    from simprod_tf.data.formats.product_matching import convert as convert_set

    found = convert_set(folder, out, size=size)
    say(
        f"Catalogue of {found.catalog.num_rows:,} products written to "
        f"{out / 'catalog.csv'}; the title is their {found.title_attribute!r}"
    )
    for part, labelled in found.pairs.items():
        left_out = f"; left out: {_counted(labelled.dropped)}"
        say(
            f"{labelled} written to {out / f'pairs_{part}.csv'}"
            f"{left_out if labelled.dropped else ''}"
        )
    for part, overlap in found.overlaps.items():
        say(
            f"{part} shares {overlap.records:,} of its {overlap.of_records:,} records "
            f"and {overlap.pairs:,} of its {overlap.of_pairs:,} pairs with train"
        )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {n:,}" for name, n in counts.items())
