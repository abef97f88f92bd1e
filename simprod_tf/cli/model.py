"""Sub-command export: a trained encoder as a SavedModel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from simprod_tf.cli.console import say


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
