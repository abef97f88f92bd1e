"""Sub-command export-index: the index as a SavedModel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from simprod_tf.cli.console import say
from simprod_tf.cli.matching import IndexPath


def export_index(
    index: IndexPath,
    out: Annotated[
        Path, typer.Option(help="The model's folder; the next version goes into it.")
    ],
    model: Annotated[
        Optional[Path],
        typer.Option(
            help="The SavedModel that made the index: with it, pictures and titles can "
            "be asked for."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Products a query.")] = 10,
    scann: Annotated[
        bool,
        typer.Option(
            "--scann", help="Search with ScaNN, for servers that have its ops."
        ),
    ] = False,
    recall: Annotated[
        float,
        typer.Option(
            min=0.01, max=1, help="Of the nearest products, the share ScaNN shall find."
        ),
    ] = 0.99,
) -> None:
    """Export an index as a SavedModel that TF Serving loads: query to ids, distances.

    Example: `simprod export-index index --out saved_models/neighbours --model
    saved_models/shop`
    """
    from simprod_tf.export.neighbours import (
        export_exact_neighbours,
        export_scann_neighbours,
    )
    from simprod_tf.index.build import load_index

    # Exact: the embeddings alone are needed, ScaNN is trained anew.
    found = load_index(index, kind="exact")
    if scann:
        folder = export_scann_neighbours(
            found, out, encoder_folder=model, k=k, recall=recall
        )
    else:
        folder = export_exact_neighbours(found, out, encoder_folder=model, k=k)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    how = "exact, stock TensorFlow ops"
    if scann:
        tuned = manifest["scann"]["tuned"]
        reached = 1.0 if tuned is None else tuned["recall"]
        how = f"ScaNN's ops, recall {reached:.3f}"
    names = [name for name in manifest["signatures"] if name != "serving_default"]
    say(
        f"SavedModel of {manifest['n']} products ({how}) written to {folder}; "
        f"signatures: {', '.join(names)}"
    )
