"""Sub-commands that decide which products are similar: threshold, match."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, say
from simprod_tf.cli.index import IndexPath
from simprod_tf.errors import InputError, SimprodError

if TYPE_CHECKING:
    import numpy as np

    from simprod_tf.data.catalog import Catalog
    from simprod_tf.data.tables import ReadTable
    from simprod_tf.index.base import Index
    from simprod_tf.matching.decisions import Decisions

Veto = Annotated[
    Optional[list[str]],
    typer.Option(
        help="Refuse pairs that conflict in quantity, pack, model, brand or condition; "
        "repeatable. By default, with --catalog, all but brand; `none` for none."
    ),
]


def threshold(
    index: IndexPath,
    pairs: Annotated[
        Path,
        typer.Option(help="Labelled pairs that training did not see: CSV or Parquet."),
    ],
    out: Annotated[Path, typer.Option(help="JSON file for the decision.")],
    precision: Annotated[
        float, typer.Option(help="Share of similar pairs among those accepted.")
    ] = 0.95,
    confidence: Annotated[
        float, typer.Option(help="How often the promise must hold.")
    ] = 0.95,
    prior: Annotated[
        str,
        typer.Option(
            help="Share of similar pairs among the candidates: a number, `estimate` "
            "(from the index), or `labelled`, that of the labelled pairs."
        ),
    ] = "estimate",
    k: Annotated[
        int, typer.Option("-k", min=1, help="Candidates a product, as in `match`.")
    ] = 10,
    veto: Veto = None,
    by: Annotated[
        str, typer.Option(help="A column by whose values thresholds may differ.")
    ] = "",
    catalog: Annotated[
        Optional[Path],
        typer.Option(help="The catalogue: for vetoes, and the column of --by."),
    ] = None,
) -> None:
    """Choose the distance up to which products are similar, for a stated precision.

    The precision is promised by a lower confidence bound; where the labelled pairs do
    not suffice, nothing is promised, and the number is named that would be needed.

    The labelled pairs that count are those that `match` decides upon: candidates that
    no conflict vetoes. On an index with views, pictures and titles alone have
    thresholds of their own.

    Example: `simprod threshold index --pairs shop/hand_pairs.csv --precision 0.8 --out
    decision.json`

    Example: `simprod threshold index --pairs valid_pairs.csv --by category --catalog
    shop/catalog.csv --prior 0.1 --out decision.json`
    """
    from datetime import date

    from simprod_tf.data.catalog import read_catalog
    from simprod_tf.data.pairs import read_pairs
    from simprod_tf.index.build import load_index
    from simprod_tf.matching.decisions import write_decisions
    from simprod_tf.matching.views import Views, views_of
    from simprod_tf.pipeline.threshold import (
        ThresholdSettings,
        choose_decisions,
        described,
        labelled_rows,
    )
    from simprod_tf.pipeline.veto import chosen_veto, conflicts_of, in_index_order

    products = None
    if catalog is not None:
        products = read_catalog(catalog, check_pictures=False).catalog
    with options():
        settings = ThresholdSettings(
            precision,
            confidence,
            _prior(prior),
            k,
            veto=chosen_veto(_kinds(veto), None, products),
            category=by,
        )
    found = load_index(index)
    if products is not None:
        products = in_index_order(found, products)
    labelled = labelled_rows(found, read_pairs(pairs, source="hand"))
    if labelled.left_out:
        say(f"{labelled.left_out} pairs left out: the index lacks a product of them")
    categories = _column(by, products, catalog) if by else None
    with bars() as progress, options():
        decisions = choose_decisions(
            Views(views_of(found)),
            labelled,
            settings,
            encoder_fingerprint=found.encoder_fingerprint,
            date=date.today().isoformat(),
            categories=categories,
            conflicts=conflicts_of(products, settings.veto, progress),
            progress=progress,
        )
    write_decisions(decisions, out)
    for line in described(decisions):
        say(line)
    say(f"Written to {out}")


def match(
    index: IndexPath,
    out: Annotated[Path, typer.Option(help="Table to write: .parquet or .csv.")],
    k: Annotated[
        int, typer.Option("-k", min=1, help="Neighbours of a product, in each view.")
    ] = 10,
    decision: Annotated[
        Optional[Path],
        typer.Option(
            help="JSON file of `simprod threshold`; by default what training chose."
        ),
    ] = None,
    max_distance: Annotated[
        Optional[float],
        typer.Option(min=0, max=2, help="A threshold of your own, for whole products."),
    ] = None,
    catalog: Annotated[
        Optional[Path],
        typer.Option(help="The catalogue: for keys, vetoes, thresholds by category."),
    ] = None,
    union: Annotated[
        bool,
        typer.Option(
            help="Accept a pair by its pictures or titles alone, too: with --decision, "
            "on an index with views."
        ),
    ] = False,
    keys: Annotated[
        bool, typer.Option(help="A shared GTIN or model number makes a candidate.")
    ] = False,
    accept_keys: Annotated[
        bool, typer.Option(help="... and is accepted, whatever the distance.")
    ] = False,
    veto: Veto = None,
    mutual: Annotated[
        bool, typer.Option(help="Only pairs that are each among the other's nearest.")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="similar, or all: refused candidates as well.")
    ] = "similar",
    pairs: Annotated[
        Optional[Path],
        typer.Option(
            help="Labelled pairs to judge the result by; they change nothing."
        ),
    ] = None,
    only: Annotated[
        Optional[Path],
        typer.Option(help="A table with a column `id`: match these products alone."),
    ] = None,
    groups: Annotated[
        Optional[Path], typer.Option(help="Also write groups of the same product.")
    ] = None,
    previous: Annotated[
        Optional[Path],
        typer.Option(
            help="Groups of an earlier run: names persist; with --only, the products "
            "join these groups or found new ones."
        ),
    ] = None,
    bridges: Annotated[
        Optional[Path], typer.Option(help="Accepted pairs that lie between groups.")
    ] = None,
    linkage: Annotated[
        str, typer.Option(help="Of groups: average, complete or single.")
    ] = "average",
    max_group_size: Annotated[
        int, typer.Option(min=1, help="How many products a group may hold.")
    ] = 50,
) -> None:
    """Write the similar-products table: every product with those like it.

    Columns: `query_id`, `id`, `rank`, `distance`, `probability`, `decision`, `reasons`.
    Groups: `id`, `group`.

    Example: `simprod match index --out similar.parquet --groups groups.parquet`

    Example: `simprod match index --decision decision.json --catalog shop/catalog.csv
    --pairs shop/hand_pairs.csv --out similar.csv`

    Example: `simprod match index --only new.csv --previous groups.parquet --groups
    groups.parquet --out similar_to_new.parquet`
    """
    from simprod_tf.data.catalog import read_catalog
    from simprod_tf.data.pairs import read_pairs
    from simprod_tf.data.tables import require_writable_suffix
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline import match as run

    if groups is None and (bridges is not None or previous is not None):
        raise typer.BadParameter("--bridges and --previous go with --groups.")
    for path in filter(None, (out, groups, bridges)):
        require_writable_suffix(path)
    found = load_index(index)
    with options():
        grouping = run.GroupSettings(linkage, max_group_size)
        settings = run.MatchSettings(
            k=k,
            max_distance=max_distance,
            union=union,
            keys=keys,
            accept_keys=accept_keys,
            mutual=mutual,
            veto=_kinds(veto),
            keep=keep,
        )
    inputs = run.MatchInputs(
        found,
        decisions=_decisions(found, decision, needed=max_distance is None),
        catalog=None
        if catalog is None
        else read_catalog(catalog, check_pictures=False).catalog,
        pairs=None if pairs is None else read_pairs(pairs, source="hand"),
        queries=None if only is None else _known(_read(only, "id"), found),
        previous=None if previous is None else _read(previous, "id", "group").table,
    )
    with bars() as progress, options():
        matched = run.match_run(
            inputs,
            run.MatchOutputs(out, groups, bridges),
            settings,
            grouping=grouping,
            progress=progress,
        )
    for line in run.described(matched):
        say(line)
    say(f"Written to {', '.join(str(one) for one in (out, groups, bridges) if one)}")


def trained(index: Index) -> Decisions | None:
    """Returns what training chose."""
    from simprod_tf.matching.decisions import trained_decisions

    return trained_decisions(index.extra.get("decision"), index.encoder_fingerprint)


def _decisions(index: Index, path: Path | None, *, needed: bool) -> Decisions | None:
    """Returns the decisions of a file, or what training chose."""
    from simprod_tf.matching.decisions import read_decisions

    if path is not None:
        return read_decisions(path)
    chosen = trained(index)
    if chosen is not None or not needed:
        return chosen
    refused = (index.extra.get("decision") or {}).get("refused", "")
    raise SimprodError(
        "the encoder of the index has no threshold; choose one with `simprod "
        f"threshold`, or give --max-distance. {refused}"
    )


def _prior(text: str) -> float | str:
    """Returns a number as one; what else it may be the settings know."""
    try:
        return float(text)
    except ValueError:
        return text


def _kinds(veto: list[str] | None) -> tuple[str, ...] | None:
    """Returns the kinds of conflict that were stated; () for `none`."""
    if veto is None:
        return None
    return () if veto == ["none"] else tuple(dict.fromkeys(veto))


def _column(name: str, products: Catalog | None, path: Path | None) -> np.ndarray:
    """Returns [N] str, the column's value of each product."""
    if products is None:
        raise typer.BadParameter("--by needs --catalog.")
    try:
        return products.column(name)
    except KeyError as error:
        raise SimprodError(f"{path} has {error.args[0]}") from error


def _read(path: Path, *columns: str) -> ReadTable:
    """Returns a table that must have these columns."""
    from simprod_tf.data.tables import read_table

    read = read_table(path)
    read.require(columns)
    return read


def _known(read: ReadTable, index: Index) -> list[str]:
    """Returns the ids of a table, all of which the index must hold."""
    ids = read.strings("id")
    for row, id in zip(read.rows, ids):
        if id not in index:
            raise InputError(
                f"the index holds no product {id!r}; `simprod add` takes it in.",
                path=read.path,
                row=row,
            )
    return ids
