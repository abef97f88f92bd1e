"""Sub-command compare: two evaluations, metric by metric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from simprod_tf.cli.console import print_rows, say


def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder of `simprod evaluate`.")],
    run_b: Annotated[Path, typer.Argument(help="Another, or the same one.")],
    model_a: Annotated[
        Optional[str],
        typer.Option(help="A model of the first by name; the last one by default."),
    ] = None,
    model_b: Annotated[
        Optional[str], typer.Option(help="A model of the second, likewise.")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option(help="JSON file for the differences.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
) -> None:
    """Compare two runs on the same test set: each difference with its 95% interval.

    Both are resampled together, so what makes a test set hard or easy cancels out.
    Differences are those of the second run to the first. Runs that were judged on other
    rows are refused.

    Example: `simprod compare evaluation_1 evaluation_2 --out differences.json`
    """
    from simprod_tf.atomic import write_json
    from simprod_tf.evaluation.compare import compare_stored
    from simprod_tf.evaluation.stored import read_run

    if out is not None and out.suffix != ".json":
        raise typer.BadParameter(f"--out is a .json file, got {out.name}.")
    first, second = read_run(run_a, model_a), read_run(run_b, model_b)
    found = compare_stored(first, second, seed=seed)
    names = _labels(first.evaluation.name, second.evaluation.name)
    print_rows(
        ["metric", *names, "difference", f"{names[1]} is"],
        [
            [
                one.metric,
                str(one.first),
                str(one.second),
                str(one.difference),
                one.verdict,
            ]
            for one in found
        ],
    )
    say(
        "Differences with 95% intervals, each by itself: of 20 metrics of two equal "
        "runs, one is expected to look different."
    )
    if out is not None:
        content = {
            "first": {"folder": str(run_a), "model": first.evaluation.name},
            "second": {"folder": str(run_b), "model": second.evaluation.name},
            "seed": seed,
            "metrics": [one.to_json() for one in found],
        }
        write_json(out, content)
        say(f"Written to {out}")


def _labels(first: str, second: str) -> tuple[str, str]:
    """Returns what the columns are called, apart where both models have one name."""
    return (first, second) if first != second else (f"{first} (a)", f"{second} (b)")
