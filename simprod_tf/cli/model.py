"""Sub-commands around the encoder: export, evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer

from simprod_tf.cli.console import (
    bars,
    labelled_pairs,
    print_rows,
    read_products,
    say,
)
from simprod_tf.cli.data import CatalogPath, SkipBad


def export(
    run: Annotated[Path, typer.Argument(help="Folder that `simprod train` wrote.")],
    out: Annotated[
        Path, typer.Option(help="The model's folder; the next version goes into it.")
    ],
    decisions: Annotated[
        Optional[Path],
        typer.Option(
            help="A file of `simprod threshold`, whose probabilities the SavedModel "
            "gives; training's by default."
        ),
    ] = None,
    float16: Annotated[
        bool, typer.Option("--float16", help="Weights of half the size.")
    ] = False,
    batch_1: Annotated[
        bool,
        typer.Option("--batch-1", help="A frozen graph for one product a request."),
    ] = False,
    tflite: Annotated[
        bool, typer.Option("--tflite", help="A TFLite model, quantised, for devices.")
    ] = False,
) -> None:
    """Export a trained encoder as a SavedModel that TF Serving loads.

    Example: `simprod export runs/both --out saved_models/shop`
    """
    from simprod_tf.export import export_encoder
    from simprod_tf.matching.decisions import read_decisions
    from simprod_tf.trained import TrainedEncoder

    if float16 + batch_1 + tflite > 1:
        raise typer.BadParameter("give one of --float16, --batch-1 and --tflite.")
    if decisions is not None and (batch_1 or tflite):
        raise typer.BadParameter(
            "--decisions goes with the plain export and --float16: the others give no "
            "probabilities."
        )
    chosen = None if decisions is None else read_decisions(decisions)
    trained = TrainedEncoder.load(run)
    if tflite:
        from simprod_tf.export.tflite import export_tflite

        say(f"TFLite model written to {export_tflite(trained, out)}")
        return
    if batch_1:
        from simprod_tf.export.shrink import export_batch_1

        _tell(export_batch_1(trained, out))
        return
    if float16:
        from simprod_tf.export.shrink import export_float16

        folder = export_float16(trained, out, decisions=chosen)
    else:
        folder = export_encoder(trained, out, decisions=chosen)
    if not _tell(folder)["has_probability"]:
        say(
            "Its distances come without probabilities: it has no threshold of its own, "
            "and --decisions gives none."
        )


def _tell(folder: Path) -> dict[str, Any]:
    """Says what was written, and returns its manifest."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    names = [name for name in manifest["signatures"] if name != "serving_default"]
    say(f"SavedModel written to {folder}; signatures: {', '.join(names)}")
    return dict(manifest)


def evaluate(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Option(help="Folder for report.html.")],
    model: Annotated[
        list[str],
        typer.Option(
            help="A SavedModel, as `name=folder`; may be repeated. The last "
            "one is compared with the others."
        ),
    ],
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
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Judge SavedModels on held-out pairs and groups, and write a report.

    Example: `simprod evaluate shop/catalog.csv --model both=saved_models/shop --pairs
    shop/hand_pairs.csv --split runs/both/split.parquet --out evaluation`
    """
    from simprod_tf.data.split import read_split
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.pipeline.evaluate import evaluate_run
    from simprod_tf.pipeline.judge import MODALITIES, HeldOut

    models = dict(_named(text) for text in model)
    if split is None and queries is None:
        say("Judging on every product, those trained on too; --split holds them back.")
    with bars() as progress:
        products = read_products(catalog, skip_bad=skip_bad, progress=progress)
        asked = products
        if queries is not None:
            asked = read_products(queries, skip_bad=skip_bad, progress=progress)
        labelled = labelled_pairs(pairs, "hand", products.ids)
        if split is not None:
            ids = read_split(split).ids(side)
            known = np.array([id in products for id in ids], bool)
            asked = products.take(products.rows_of(ids[known]))
            labelled = labelled.within(ids) if labelled is not None else None
        files = [read_vectors(path) for path in features or ()]
        held_out = _held_out(HeldOut, products, asked, labelled, group_column, files)
        evaluations, notes = evaluate_run(
            models,
            held_out,
            out,
            modalities=MODALITIES if by_modality else (),
            seed=seed,
            progress=progress,
        )
    names = list(evaluations[0].metrics)
    print_rows(
        ["model", *names],
        [
            [e.name, *(str(e.metrics[n]) if n in e.metrics else "" for n in names)]
            for e in evaluations
        ],
    )
    for note in notes:
        say(note)
    say(f"Report: {out / 'report.html'}")


def _held_out(kind, products, *rest):  # type: ignore[no-untyped-def]
    try:
        return kind(products, *rest)
    except KeyError as error:
        raise typer.BadParameter(error.args[0]) from error


def _named(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    return (name, folder) if equals else (Path(text).name, text)
