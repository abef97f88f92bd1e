"""How `simprod index` makes a sharded index, of a catalogue or of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from simprod_tf.cli.console import bars, say
from simprod_tf.cli.engine_options import EngineChoice
from simprod_tf.errors import SimprodError
from simprod_tf.shards import SUCCESS

if TYPE_CHECKING:
    from simprod_tf.index.sharded import ShardedIndex
    from simprod_tf.pipeline.index_shard import ShardSettings


def index_shards(
    choice: EngineChoice,
    catalog: Path,
    out: Path | None,
    *,
    model: Path | None,
    num_shards: int | None,
    previous: Path | None,
    settings: ShardSettings,
    refused: Mapping[str, object],
) -> None:
    """Builds the index and says what was made.

    Args:
        choice: where it runs.
        catalog: a catalogue, which needs `model`, or embeddings.
        out: the index's folder; None where versions of it were asked for.
        model: a SavedModel.
        num_shards: None for one a million products.
        previous: an earlier sharded index.
        settings: how each shard is built.
        refused: options that do not go with shards, and what was given for them.

    Raises:
        SimprodError: one of these was given.
    """
    from simprod_tf.data.embedding_shards import is_embeddings
    from simprod_tf.pipeline.sharded_index import (
        index_catalog_shards,
        index_embeddings,
        require_index_place,
    )

    for option, given in refused.items():
        if given:
            raise _refusal(option)
    if out is None:
        raise _refusal("--publish")
    require_index_place(out)
    has_embeddings = is_embeddings(catalog)
    if has_embeddings and model is not None:
        raise typer.BadParameter(
            f"{catalog} holds embeddings already: leave out --model."
        )
    if not has_embeddings and model is None:
        raise typer.BadParameter(
            "give --model, the SavedModel that embeds, or embeddings of `simprod "
            f"encode` that are whole, with {SUCCESS}, in place of the catalogue."
        )
    with choice.open(out) as engine, bars() as progress:
        if model is None:
            made = index_embeddings(
                engine,
                catalog,
                out,
                num_shards=num_shards,
                settings=settings,
                previous=previous,
                progress=progress,
            )
        else:
            made = index_catalog_shards(
                engine,
                catalog,
                out,
                model=model,
                num_shards=num_shards,
                settings=settings,
                previous=previous,
                progress=progress,
            )
    _say(made.index)
    if made.num_set_aside:
        say(
            f"{made.num_set_aside} products left out; `simprod encode` lists them with "
            "the reasons"
        )
    if made.num_reused:
        say(f"{made.num_reused} shards taken over from {previous}")
    say(f"Written to {out}")


def _refusal(option: str) -> SimprodError:
    return SimprodError(
        f"{option} does not go with a sharded index, which holds embeddings of whole "
        "products alone: leave it out, or leave out --shards and --engine spark and "
        "index the catalogue itself."
    )


def _say(index: ShardedIndex) -> None:
    say(f"Index of {len(index)} products in {len(index.shards)} shards")
    for one in index.entries:
        found = "exact" if one.recall == 1 else f"recall@10 {one.recall:.3f}"
        say(f"{one.name}: {one.rows} products, {found}")
