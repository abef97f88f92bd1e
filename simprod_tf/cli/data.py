"""Sub-commands that make tables: shop, pairs, convert."""

from __future__ import annotations

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
    layout: Annotated[
        str, typer.Argument(help="The data set's layout: a name from the list above.")
    ],
    folder: Annotated[Path, typer.Argument(help="The data set, as it is published.")],
    out: Annotated[Path, typer.Argument(help="Folder for what is written.")],
    size: Annotated[
        Optional[str],
        typer.Option(
            help="Of a product-matching or wdc set that comes in several, as small."
        ),
    ] = None,
) -> None:
    """Turn a public data set's own layout into catalogues, pairs and event logs.

    Nothing is downloaded: where a file is missing, the error says where to get it and
    under which terms. Nothing is written unless all of the set could be read.

    Layouts, and what each gives:

    - `grocery-store` (Grocery Store, 2019): a catalogue for each part

    - `product-matching` (Ditto, 2021), `er-magellan` (DeepMatcher, 2018), `wdc` (Web
    Data Commons, 2019 and later): one catalogue, and labelled pairs for each part

    - `shopee` (Shopee Price Match, 2021): a catalogue with groups

    - `stanford-online-products` (2016): a catalogue for each part

    - `in-shop` (DeepFashion, 2016): train, query and gallery

    - `retailrocket` (2016): an event log, and a catalogue of categories

    - `yoochoose` (RecSys Challenge 2015): an event log

    - `otto` (2022): an event log in Parquet; `simprod mine` reads OTTO's files as they
    are, too

    The parts of matching sets share records, so figures on them compare with published
    ones alone.

    Example: `simprod convert grocery-store GroceryStoreDataset grocery`

    Example: `simprod convert product-matching wdc-computers wdc --size small`

    Example: `simprod convert er-magellan Walmart-Amazon walmart`

    Example: `simprod convert wdc wdc-lspc computers --size medium`

    Example: `simprod convert shopee shopee-product-matching shopee`

    Example: `simprod convert stanford-online-products Stanford_Online_Products sop`

    Example: `simprod convert in-shop In-shop inshop`

    Example: `simprod convert retailrocket ecommerce-dataset retailrocket`

    Example: `simprod convert yoochoose yoochoose-data yoochoose`

    Example: `simprod convert otto otto-recsys otto`
    """
    from simprod_tf.data.formats.layouts import convert_folder, find_layout

    with options():
        find_layout(layout, size=size)
    with bars() as progress:
        done = convert_folder(layout, folder, out, size=size, progress=progress)
    for note in done.notes:
        say(note)
