"""The sub-command demo: all stages on the synthetic shop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from simprod_tf.cli.console import bars, options

if TYPE_CHECKING:
    from simprod_tf.pipeline.demo import DemoResult

# What fits a terminal.
_SHOWN = (
    *("pr_auc", "roc_auc", "precision", "recall", "f1"),
    *("recall_at_1", "recall_at_10", "map_at_r"),
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything.")] = Path("demo"),
    products: Annotated[int, typer.Option(help="Products in the shop.")] = 1500,
    seed: Annotated[int, typer.Option(help="Of the shop.")] = 7,
    epochs: Annotated[
        Optional[int], typer.Option(help="Of each training, at most.")
    ] = None,
) -> None:
    """Run the main job on a synthetic shop, from catalogue and event log to a report.

    Run again it goes on where it was interrupted.

    Example: `simprod demo --out demo --products 600`
    """
    with bars() as progress:
        progress("Loading TensorFlow", 0, 1)
        from simprod_tf.data.synthetic import ShopSettings
        from simprod_tf.pipeline.demo import run_demo

        progress("Loading TensorFlow", 1, 1)
        with options():
            shop = ShopSettings(products=products, seed=seed)
        result = run_demo(out, shop, epochs=epochs, progress=progress)
    _print_summary(result)


def _print_summary(result: DemoResult) -> None:
    from simprod_tf.evaluation.metric_names import metric_name

    out = Console()
    table = Table(
        title="Held-out products and hand-labelled pairs (synthetic)",
        caption="Beside each value its 95 % interval, by resampling groups. "
        "The report has all metrics.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("metric", no_wrap=True)
    for model in result.models:
        table.add_column(model["name"], justify="right")
    for name in _SHOWN:
        values = [_cell(model["metrics"].get(name)) for model in result.models]
        table.add_row(metric_name(name).label, *values)
    out.print(table)
    for note in result.notes:
        out.print(note, highlight=False)
    folder, decision = result.folder, result.decision
    up_to = "the 10 nearest of each, since no threshold held its precision"
    if "refused" not in decision:
        up_to = (
            f"up to distance {decision['max_distance']:.3f}, precision at least "
            f"{decision['precision_lower_bound']:.2f} on {decision['num_pairs']} "
            "validation pairs"
        )
    out.print(f"\n{result.matches} matches ({up_to}): {folder / 'matches'}")
    for note in result.match_notes:
        out.print(note, highlight=False)
    # As it was called: the command need not be on the path.
    out.print(f"Search it:   {sys.argv[0]} search {folder / 'index'} --id p000001")
    out.print(f"The report:  {result.report}")


def _cell(metric: dict[str, float] | None) -> str:
    if metric is None or metric["value"] is None:
        return ""
    low, high = (f"{metric[end]:.2f}".lstrip("0") for end in ("low", "high"))
    return f"{metric['value']:.3f} {low}-{high}"
