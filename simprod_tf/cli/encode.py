"""The sub-command `encode`: a catalogue's embeddings, as a folder of Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, say
from simprod_tf.cli.engine_options import EngineChoice, EngineName, Master, SparkConf


def encode(
    catalog: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSONL or Parquet with `id` and any of `title`, `image` (a path, "
            "or the picture's bytes), or a folder of such files."
        ),
    ],
    model: Annotated[Path, typer.Option(help="SavedModel: its folder or a version's.")],
    out: Annotated[Path, typer.Option(help="Folder for the embeddings.")],
    dtype: Annotated[
        str, typer.Option(help="float32, or float16 for half the room.")
    ] = "float32",
    rows_per_unit: Annotated[
        int,
        typer.Option(
            min=1, help="Products that are embedded, and lost if interrupted, together."
        ),
    ] = 4096,
    max_set_aside: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Stop where a larger share of the products cannot be embedded.",
        ),
    ] = 0.2,
    previous: Annotated[
        Optional[Path],
        typer.Option(
            help="Embeddings of an earlier run: only what is new or has changed since "
            "is embedded, and listed in OUT/changed.parquet."
        ),
    ] = None,
    engine: EngineName = "embedded",
    master: Master = None,
    spark_conf: SparkConf = None,
) -> None:
    """Embed a catalogue of any size, a piece at a time, for `simprod index`.

    Products that cannot be embedded are listed, with reasons, in
    OUT/set_aside.parquet. After an interruption the same command goes on.

    Example: `simprod encode catalog/ --model saved_models/shop --out embeddings`

    Example: `simprod encode catalog/ --model saved_models/shop --out today
    --previous yesterday --engine spark --master spark://host:7077`
    """
    from simprod_tf.pipeline.encode import EncodeSettings, encode_catalog

    choice = EngineChoice(engine, master, spark_conf)
    with options():
        settings = EncodeSettings(dtype, rows_per_unit, max_set_aside)
    with choice.open(out) as place, bars() as progress:
        done = encode_catalog(
            place,
            catalog,
            model=model,
            out=out,
            settings=settings,
            previous=previous,
            progress=progress,
        )
    say(f"Embeddings of {done.rows:,} products written to {out}")
    if previous is not None:
        say(
            f"{done.num_reused:,} of them taken from {previous}; the others are listed "
            f"in {out / 'changed.parquet'}"
        )
    if done.num_set_aside:
        say(
            f"{done.num_set_aside:,} products set aside, with reasons, in "
            f"{out / 'set_aside.parquet'}"
        )
