"""Sub-command evaluate: SavedModels, groups and an index on held-out products."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from simprod_tf.cli.console import (
    bars,
    labelled_pairs,
    print_rows,
    read_products,
    say,
)
from simprod_tf.cli.data import CatalogPath, SkipBad

if TYPE_CHECKING:
    from simprod_tf.evaluation.evaluate import Evaluation
    from simprod_tf.pipeline.judge import HeldOut


def evaluate(
    catalog: CatalogPath,
    out: Annotated[
        Path, typer.Option(help="Folder for the numbers and, of models, report.html.")
    ],
    model: Annotated[
        Optional[list[str]],
        typer.Option(
            help="A SavedModel, as `name=folder`; may be repeated. The last "
            "one is compared with the others."
        ),
    ] = None,
    groups: Annotated[
        Optional[list[str]],
        typer.Option(
            help="Groups that `simprod match` wrote, as `name=file`; may be repeated. "
            "They are judged by the products' own."
        ),
    ] = None,
    pairs: Annotated[Optional[Path], typer.Option(help="Labelled test pairs.")] = None,
    split: Annotated[
        Optional[Path], typer.Option(help="Judge on one side of this split alone.")
    ] = None,
    side: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    queries: Annotated[
        Optional[Path],
        typer.Option(help="Another catalogue, whose products are searched for."),
    ] = None,
    group_column: Annotated[
        str, typer.Option(help="Products that share it are right answers.")
    ] = "group",
    features: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Precomputed vectors, where a model takes any: .npy with its "
            ".ids.txt, .npz or .parquet; repeatable."
        ),
    ] = None,
    by_modality: Annotated[
        bool,
        typer.Option(
            "--by-modality",
            help="Judge each model also on queries and anchors of which it gets the "
            "picture alone, or the title alone.",
        ),
    ] = False,
    slices: Annotated[
        Optional[list[str]],
        typer.Option(
            "--slice", help="A column, by whose values all is measured; repeatable."
        ),
    ] = None,
    fewest: Annotated[
        int, typer.Option("--slice-min", min=0, help="Smaller slices are marked.")
    ] = 30,
    train_pairs: Annotated[
        Optional[Path],
        typer.Option(
            help="Pairs that training saw: all is measured by seen and unseen products "
            "too. With --split its training products count as seen."
        ),
    ] = None,
    index: Annotated[
        Optional[Path],
        typer.Option(help="An index of the last model: its recall is measured."),
    ] = None,
    run: Annotated[
        Optional[list[str]],
        typer.Option(
            help="The training of a model, as `name=folder`; may be repeated. For "
            "learning curves and the coverage of words."
        ),
    ] = None,
    projector: Annotated[
        Optional[Path],
        typer.Option(help="Folder for the last model's embeddings, for TensorBoard."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Judge SavedModels on held-out pairs and groups, and write a report.

    Groups that `simprod match` found are judged likewise, with models or without. What
    comes out is kept row by row, for `simprod compare`.

    Example: `simprod evaluate shop/catalog.csv --model both=saved_models/shop --pairs
    shop/hand_pairs.csv --split runs/both/split.parquet --slice category --out
    evaluation`

    Example: `simprod evaluate shop/catalog.csv --groups groups.parquet --out judged`
    """
    from simprod_tf.data.leakage import SIDES
    from simprod_tf.data.pairs import read_pairs
    from simprod_tf.data.split import read_split
    from simprod_tf.data.tables import read_table
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline.evaluate import evaluate_run
    from simprod_tf.pipeline.judge import MODALITIES, HeldOut
    from simprod_tf.pipeline.out_folder import require_no_file
    from simprod_tf.pipeline.product_slices import Slicing

    models, tables, runs = (_named_all(one) for one in (model, groups, run))
    _check_names(models, tables, runs, index=index, projector=projector)
    if side not in SIDES:
        raise typer.BadParameter(f"--side is one of {', '.join(SIDES)}, got {side}.")
    for place in filter(None, (out, projector)):
        require_no_file(place)
    if models and split is None and queries is None:
        say("Judging on every product, those trained on too; --split holds them back.")
    with bars() as progress:
        products = read_products(catalog, skip_bad=skip_bad, progress=progress)
        asked = products
        if queries is not None:
            asked = read_products(queries, skip_bad=skip_bad, progress=progress)
        labelled = inside = labelled_pairs(pairs, "hand", products.ids)
        sides = None if split is None else read_split(split)
        seen: set[str] | None = None
        if sides is not None:
            ids = sides.ids(side)
            asked = products.take(
                products.rows_of([id for id in ids if id in products])
            )
            inside = None if labelled is None else labelled.within(ids)
            seen = set(sides.ids("train").tolist())
        if train_pairs is not None:
            known = read_pairs(train_pairs, source="hand")
            seen = {*(seen or ()), *known.anchor_ids, *known.other_ids}
        files = [read_vectors(path) for path in features or ()]
        held_out = _held_out(
            HeldOut, products, asked, inside, group_column, files, columns=slices or ()
        )
        evaluations, notes = evaluate_run(
            models,
            held_out,
            out,
            modalities=MODALITIES if by_modality else (),
            groups={name: _groups(read_table(path)) for name, path in tables.items()},
            index=None if index is None else load_index(index),
            slicing=Slicing(
                tuple(slices or ()), None if seen is None else frozenset(seen), fewest
            ),
            runs=runs,
            split=sides,
            labelled=labelled,
            projector=projector,
            seed=seed,
            progress=progress,
        )
    _print(evaluations)
    for note in notes:
        say(note)
    if models:
        say(f"Report: {out / 'report.html'}")
    say(f"Numbers: {out / 'evaluation.json'}; compare runs with `simprod compare`")


def _print(evaluations: Sequence[Evaluation]) -> None:
    """Prints a line a metric: there are too many for a line a model."""
    names = dict.fromkeys(name for one in evaluations for name in one.metrics)
    print_rows(
        ["metric", *(one.name for one in evaluations)],
        [
            [
                name,
                *(
                    str(e.metrics[name]) if name in e.metrics else ""
                    for e in evaluations
                ),
            ]
            for name in names
        ],
    )
    few = sum(row.few for one in evaluations for row in one.slices)
    if few:
        say(f"{few} slices have too few rows to conclude from, and are marked so")


def _held_out(kind: type[HeldOut], *rest: Any, columns: Sequence[str]) -> HeldOut:
    try:
        made = kind(*rest)
        for column in columns:
            made.catalog.column(column)
            made.queries.column(column)
    except KeyError as error:
        raise typer.BadParameter(error.args[0]) from error
    return made


def _groups(read: Any) -> Any:
    """Returns the table of a file of groups, which has `id` and `group`."""
    read.require(["id", "group"])
    return read.table


def _check_names(
    models: dict[str, Path],
    tables: dict[str, Path],
    runs: dict[str, Path],
    *,
    index: Path | None,
    projector: Path | None,
) -> None:
    if not models and not tables:
        raise typer.BadParameter("give --model or --groups: there is nothing to judge.")
    if not models and (index is not None or projector is not None):
        raise typer.BadParameter("--index and --projector need a --model.")
    twice = [name for name in tables if name in models]
    if twice:
        raise typer.BadParameter(
            f"a model and groups are both called {twice[0]!r}: give `name=file`."
        )
    strange = [name for name in runs if name not in models]
    if strange:
        raise typer.BadParameter(
            f"--run {strange[0]}: no --model has this name; the models are: "
            f"{', '.join(models) or 'none'}. Give the model's `name=folder`."
        )


def _named_all(texts: Sequence[str] | None) -> dict[str, Path]:
    """Returns paths by name; a path without a name has its own last part."""
    found: dict[str, Path] = {}
    for text in texts or ():
        name, equals, path = text.partition("=")
        if not equals:
            name, path = Path(text).name, text
        if name in found:
            raise typer.BadParameter(f"{name!r} stands for two paths: name them apart.")
        found[name] = Path(path)
    return found
