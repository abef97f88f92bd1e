"""Sub-command split: makes a split without leaks, or judges one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, labelled_pairs, options, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    from simprod_tf.data.leakage import LeakageReport


def split(
    catalog: CatalogPath,
    out: Annotated[
        Optional[Path], typer.Option(help="Split to write: .csv or .parquet.")
    ] = None,
    check: Annotated[
        Optional[Path],
        typer.Option(help="Judge this split, and make none: a table of `id, side`."),
    ] = None,
    hand_pairs: Annotated[
        Optional[Path],
        typer.Option(help="Labelled pairs; those that are similar stay on one side."),
    ] = None,
    validation: Annotated[
        float, typer.Option(help="Share of products to validate on.")
    ] = 0.15,
    test: Annotated[float, typer.Option(help="Share of products to test on.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    max_bits: Annotated[
        int,
        typer.Option(
            help="Pictures are near-identical if their hashes differ in at most so "
            "many of 256 bits."
        ),
    ] = 20,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="With --check: exit 0 all the same.")
    ] = False,
    skip_bad: SkipBad = False,
) -> None:
    """Split a catalogue for training, validation and test, so that nothing leaks.

    Products that share a group, a title, a picture (nearly the same one, too) or a
    hand label "similar" stay on one side. What the sides share is printed; `--check`
    prints it for a split that is there already, and exits with 1 if it leaks.

    Example: `simprod split shop/catalog.csv --hand-pairs shop/hand_pairs.csv --out
    split.csv`

    Example: `simprod split shop/catalog.csv --check split.csv`
    """
    from simprod_tf.data.leakage import leakage_report
    from simprod_tf.data.picture_hash import check_max_bits, near_duplicates
    from simprod_tf.data.split import (
        check_shares,
        read_split,
        split_catalog,
        write_split,
    )
    from simprod_tf.data.tables import require_writable_suffix

    if (out is None) == (check is None):
        raise typer.BadParameter("give --out to make a split, or --check to judge one.")
    if out is not None:
        require_writable_suffix(out)
    with options():
        check_shares(validation, test)
        check_max_bits(max_bits)
    judged = None if check is None else read_split(check)
    with bars() as progress:
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=False,
            # Hashing reads them all; what cannot be read is counted in the report.
            check_pictures=False,
        )
        pairs = labelled_pairs(hand_pairs, "hand", products.ids)
        near = near_duplicates(
            products,
            max_bits=max_bits,
            progress=lambda done, total: progress("Hashing pictures", done, total),
        )
        found = judged or split_catalog(
            products,
            hand_pairs=pairs,
            near=near,
            validation=validation,
            test=test,
            seed=seed,
        )
        report = leakage_report(products, found, hand_pairs=pairs, near=near)
    if out is not None:
        write_split(found, out)
        say(f"Split written to {out}")
    typer.echo(_told(report))
    if report.leaks and not allow_leaks:
        raise SimprodError(f"the split leaks: {report.summary}; make a new split.")


def _told(report: LeakageReport) -> str:
    sizes = ", ".join(f"{side} {n:,}" for side, n in report.products.items())
    return f"products: {sizes}\n{report}"
