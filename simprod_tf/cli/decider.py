"""Sub-commands on the pair decider: decider train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import (
    Bars,
    bars,
    labelled_pairs,
    options,
    read_products,
    say,
)
from simprod_tf.cli.data import SkipBad
from simprod_tf.cli.matching import Tables

if TYPE_CHECKING:
    from simprod_tf.pipeline.decider_training import DeciderInputs, TrainedDecider

app = typer.Typer(
    name="decider",
    no_args_is_help=True,
    help="Learn to decide upon candidate pairs by all that is known of both.",
)


@app.callback()
def decider() -> None:
    """Learn to decide upon candidate pairs by all that is known of both."""


@app.command()
def train(
    catalog: Annotated[
        Path, typer.Argument(help="CSV, JSONL or Parquet with the products.")
    ],
    pairs: Annotated[
        Path, typer.Option(help="Labelled pairs to learn from: CSV or Parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the decider.")],
    valid: Annotated[
        Optional[Path],
        typer.Option(help="Labelled pairs to judge it on; nothing is learned there."),
    ] = None,
    mined: Annotated[
        Optional[Path],
        typer.Option(help="Further pairs of `simprod mine`, which count by weight."),
    ] = None,
    index: Annotated[
        Optional[Path],
        typer.Option(
            help="The index of the catalogue: its embeddings are looked at, too, and "
            "the decider then takes indexes of that encoder alone."
        ),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="With --index: candidates, as in `match`.")
    ] = 10,
    tables: Tables = "",
    attention: Annotated[
        Optional[Path],
        typer.Option(
            help="With --valid: also fit the cross-attention model on the titles and "
            "columns of text, in some minutes, write its SavedModel into this folder, "
            "and tell which of the two is better."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Learn from labelled pairs whether two candidates are the same product.

    The decider looks at words, numbers with units, model numbers, prices, attributes,
    with --index at the embeddings, and at the rivals that both products have in the
    catalogue. `threshold`, `match` and `explain` take it by --decider; choose the
    threshold on pairs that it was not trained on.

    Example: `simprod decider train shop/catalog.csv --pairs train_pairs.csv --valid
    valid_pairs.csv --out decider`

    Example: `simprod decider train shop/catalog.csv --pairs shop/hand_pairs.csv --index
    index --out decider`
    """
    from simprod_tf.data.pairs import read_pairs
    from simprod_tf.decider.decider import DeciderSettings
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline.decider_training import (
        DeciderInputs,
        described,
        train_decider,
    )
    from simprod_tf.pipeline.out_folder import require_outside, require_replaceable

    if attention is not None and valid is None:
        raise typer.BadParameter("--attention is judged on --valid: give both.")
    require_replaceable(out, "decider")
    if attention is not None:
        from simprod_tf.pipeline.decider_attention import require_attention_place

        require_outside(out, attention, "the attention model")
        require_attention_place(attention)
    with bars() as progress, options():
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=False,
            check_pictures=False,
        )
        inputs = DeciderInputs(
            products,
            read_pairs(pairs, source="hand"),
            mined=labelled_pairs(mined, "mined", products.ids),
            valid=None if valid is None else read_pairs(valid, source="hand"),
            index=None if index is None else load_index(index),
            tables=tables,
            k=k,
        )
        trained = train_decider(inputs, DeciderSettings(seed=seed), progress=progress)
        trained.decider.save(out)
        lines = described(trained)
        if attention is not None:
            lines += _attention(inputs, trained, attention, seed, progress)
    for line in lines:
        say(line)
    say(f"Fingerprint {trained.decider.fingerprint}")
    say(f"Written to {out}")


def _attention(
    inputs: DeciderInputs, trained: TrainedDecider, out: Path, seed: int, progress: Bars
) -> list[str]:
    """Fits the attention model and returns how good it is, in sentences."""
    from simprod_tf.pipeline.decider_attention import compared, train_attention
    from simprod_tf.pipeline.decider_training import measured

    made = train_attention(inputs, out, seed=seed, progress=progress)
    lines = [measured(made.judged)]
    if trained.judged is not None and inputs.valid is not None:
        lines.append(compared(trained.judged, made.judged, inputs.valid, seed=seed))
    return [*lines, f"Attention model written to {made.folder}"]
