"""Sub-command threshold: the distance up to which products are similar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, say
from simprod_tf.cli.index import IndexPath
from simprod_tf.cli.matching import DeciderPath, Tables, Veto, kinds_of, load_decider
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    import numpy as np

    from simprod_tf.data.catalog import Catalog
    from simprod_tf.decider.decider import Decider
    from simprod_tf.index.base import Index
    from simprod_tf.pipeline.threshold import LabelledRows


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
    decider: DeciderPath = None,
    tables: Tables = "",
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

    Example: `simprod threshold index --pairs valid_pairs.csv --decider decider
    --catalog shop/catalog.csv --out decision.json`
    """
    from datetime import date

    from simprod_tf.data.catalog import read_catalog
    from simprod_tf.data.pairs import read_pairs
    from simprod_tf.index.build import load_index
    from simprod_tf.matching.decisions import write_decisions
    from simprod_tf.pipeline.decider import tables_of, threshold_views
    from simprod_tf.pipeline.threshold import (
        ThresholdSettings,
        choose_decisions,
        described,
        labelled_rows,
    )
    from simprod_tf.pipeline.veto import (
        DECIDER_VETO,
        DEFAULT_VETO,
        chosen_veto,
        conflicts_of,
        in_index_order,
    )

    if out.is_dir():
        raise typer.BadParameter(f"--out is a JSON file, got the folder {out}.")
    products = None
    if catalog is not None:
        products = read_catalog(catalog, check_pictures=False).catalog
    with options():
        settings = ThresholdSettings(
            precision,
            confidence,
            _prior(prior),
            k,
            veto=chosen_veto(
                kinds_of(veto),
                None,
                products,
                default=DEFAULT_VETO if decider is None else DECIDER_VETO,
            ),
            category=by,
        )
    found = load_index(index)
    if products is not None:
        products = in_index_order(found, products)
    labelled = labelled_rows(found, read_pairs(pairs, source="hand"))
    if labelled.left_out:
        say(f"{labelled.left_out} pairs left out: the index lacks a product of them")
    judge = load_decider(decider)
    if judge is not None:
        labelled = _unseen(labelled, judge, found)
    categories = _column(by, products, catalog) if by else None
    with bars() as progress, options():
        decisions = choose_decisions(
            threshold_views(
                judge,
                found,
                products,
                k=k,
                tables=tables_of(products, tables),
                progress=progress,
            ),
            labelled,
            settings,
            encoder_fingerprint=found.encoder_fingerprint,
            date=date.today().isoformat(),
            decider_fingerprint="" if judge is None else judge.fingerprint,
            categories=categories,
            conflicts=conflicts_of(products, settings.veto, progress),
            progress=progress,
        )
    write_decisions(decisions, out)
    for line in described(decisions):
        say(line)
    say(f"Written to {out}")


def _unseen(labelled: LabelledRows, decider: Decider, index: Index) -> LabelledRows:
    """Returns the labelled pairs that the decider was not trained on."""
    from simprod_tf.pipeline.decider import trained_on

    seen = trained_on(decider, index.ids, labelled.rows)
    if seen.all():
        raise SimprodError(
            f"the decider was trained on all of the {len(seen)} labelled pairs; a "
            "threshold takes pairs that it has not seen."
        )
    if seen.any():
        say(f"{seen.sum()} pairs left out: the decider was trained on them")
    return labelled.where(~seen)


def _prior(text: str) -> float | str:
    """Returns a number as one; what else it may be the settings know."""
    try:
        return float(text)
    except ValueError:
        return text


def _column(name: str, products: Catalog | None, path: Path | None) -> np.ndarray:
    """Returns [N] str, the column's value of each product."""
    if products is None:
        raise typer.BadParameter("--by needs --catalog.")
    try:
        return products.column(name)
    except KeyError as error:
        raise SimprodError(f"{path} has {error.args[0]}") from error
