"""Sub-command match: which products are similar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, say
from simprod_tf.cli.engine_options import EngineChoice, EngineName, Master, SparkConf
from simprod_tf.cli.index import IndexPath
from simprod_tf.errors import InputError, SimprodError

if TYPE_CHECKING:
    from simprod_tf.data.tables import ReadTable
    from simprod_tf.decider.decider import Decider
    from simprod_tf.index.base import Index
    from simprod_tf.index.sharded import ShardedIndex
    from simprod_tf.matching.decisions import Decisions
    from simprod_tf.pipeline.match_settings import (
        GroupSettings,
        MatchOutputs,
        MatchSettings,
    )

Veto = Annotated[
    Optional[list[str]],
    typer.Option(
        help="Refuse pairs that conflict in quantity, pack, model, brand or condition; "
        "repeatable. By default, with --catalog, all but brand; with --decider none; "
        "`none` for none."
    ),
]
DeciderPath = Annotated[
    Optional[Path],
    typer.Option(
        help="Folder of `simprod decider train`: it decides upon the candidates, and "
        "proposes some; needs --catalog."
    ),
]
Tables = Annotated[
    str,
    typer.Option(
        help="A column of the catalogue: only products of different values of it can "
        "be similar."
    ),
]


def match(
    index: IndexPath,
    out: Annotated[
        Path,
        typer.Option(
            help="Table to write: .parquet, .csv, or a folder of Parquet shards."
        ),
    ],
    k: Annotated[
        int, typer.Option("-k", min=1, help="Neighbours of a product, in each view.")
    ] = 10,
    decision: Annotated[
        Optional[Path],
        typer.Option(
            help="JSON file of `simprod threshold`; by default what training chose, "
            "of a decider the probability with the best F1 on its own pairs."
        ),
    ] = None,
    max_distance: Annotated[
        Optional[float],
        typer.Option(
            min=0,
            max=2,
            help="A threshold of your own, for whole products; with --decider 1 - the "
            "least probability.",
        ),
    ] = None,
    catalog: Annotated[
        Optional[Path],
        typer.Option(help="The catalogue: for keys, vetoes, thresholds by category."),
    ] = None,
    union: Annotated[
        bool,
        typer.Option(
            help="Accept a pair by its pictures or titles alone, too: with --decision, "
            "on an index with views."
        ),
    ] = False,
    keys: Annotated[
        bool, typer.Option(help="A shared GTIN or model number makes a candidate.")
    ] = False,
    accept_keys: Annotated[
        bool, typer.Option(help="... and is accepted, whatever the distance.")
    ] = False,
    veto: Veto = None,
    mutual: Annotated[
        bool, typer.Option(help="Only pairs that are each among the other's nearest.")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="similar, or all: refused candidates as well.")
    ] = "similar",
    pairs: Annotated[
        Optional[Path],
        typer.Option(
            help="Labelled pairs to judge the result by; they change nothing."
        ),
    ] = None,
    only: Annotated[
        Optional[Path],
        typer.Option(help="A table with a column `id`: match these products alone."),
    ] = None,
    groups: Annotated[
        Optional[Path], typer.Option(help="Also write groups of the same product.")
    ] = None,
    previous: Annotated[
        Optional[Path],
        typer.Option(
            help="Groups of an earlier run: names persist; with --only, the products "
            "join these groups or found new ones."
        ),
    ] = None,
    bridges: Annotated[
        Optional[Path], typer.Option(help="Accepted pairs that lie between groups.")
    ] = None,
    linkage: Annotated[
        str, typer.Option(help="Of groups: average, complete or single.")
    ] = "average",
    max_group_size: Annotated[
        int, typer.Option(min=1, help="How many products a group may hold.")
    ] = 50,
    decider: DeciderPath = None,
    tables: Tables = "",
    engine: EngineName = "embedded",
    master: Master = None,
    spark_conf: SparkConf = None,
) -> None:
    """Write the similar-products table: every product with those like it.

    Columns: `query_id`, `id`, `rank`, `distance`, `probability`, `decision`, `reasons`.
    Groups: `id`, `group`. With a decider, `distance` is 1 - the probability that it
    states; `probability` is calibrated for the candidates by --decision. It looks at
    each pair among its rivals: candidates of all products are found, whatever --only
    asks for.

    Example: `simprod match index --out similar.parquet --groups groups.parquet`

    Example: `simprod match index --decision decision.json --catalog shop/catalog.csv
    --pairs shop/hand_pairs.csv --out similar.csv`

    Example: `simprod match index --only new.csv --previous groups.parquet --groups
    groups.parquet --out similar_to_new.parquet`

    Example: `simprod match index --decider decider --decision decision.json --catalog
    shop/catalog.csv --out similar.parquet`

    Example: `simprod match index --out similar --groups groups --engine spark --master
    spark://host:7077`
    """
    from simprod_tf.data.catalog import read_catalog
    from simprod_tf.data.pairs import read_pairs
    from simprod_tf.data.tables import require_writable_suffix
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline import match as run

    choice = EngineChoice(engine, master, spark_conf)
    if groups is None and (bridges is not None or previous is not None):
        raise typer.BadParameter("--bridges and --previous go with --groups.")
    _require_apart(out, groups, bridges)
    if only is not None and previous is None:
        _require_new(groups)
    outputs = run.MatchOutputs(out, groups, bridges)
    with options():
        grouping = run.GroupSettings(linkage, max_group_size)
        settings = run.MatchSettings(
            k=k,
            max_distance=max_distance,
            union=union,
            keys=keys,
            accept_keys=accept_keys,
            mutual=mutual,
            veto=kinds_of(veto),
            keep=keep,
            tables=tables,
        )
    if _is_on_shards(index, outputs, choice):
        _match_shards(
            choice,
            _ShardedFiles(index, decision, catalog, only, previous),
            outputs,
            settings,
            grouping=grouping,
            refused={"--decider": decider, "--pairs": pairs},
        )
        return
    for path in filter(None, (out, groups, bridges)):
        require_writable_suffix(path)
    found = load_index(index)
    judge = load_decider(decider)
    inputs = run.MatchInputs(
        found,
        decisions=_decisions(found, decision, needed=max_distance is None)
        if judge is None or decision is not None
        else None,
        catalog=None
        if catalog is None
        else read_catalog(catalog, check_pictures=False).catalog,
        pairs=None if pairs is None else read_pairs(pairs, source="hand"),
        queries=None if only is None else _known(_read(only, "id"), found),
        previous=None if previous is None else _read(previous, "id", "group").table,
        decider=judge,
    )
    with bars() as progress, options():
        matched = run.match_run(
            inputs,
            outputs,
            settings,
            grouping=grouping,
            progress=progress,
        )
    _say(run.described(matched), outputs)


@dataclass(frozen=True)
class _ShardedFiles:
    """What matching on shards reads, by the names of the options."""

    index: Path
    decision: Path | None
    catalog: Path | None
    only: Path | None
    previous: Path | None


def _is_on_shards(index: Path, outputs: MatchOutputs, choice: EngineChoice) -> bool:
    """Returns whether it is matched shard by shard; an ordinary index is one shard."""
    from simprod_tf.index.sharded import is_sharded_index

    paths = (outputs.matches, outputs.groups, outputs.bridges)
    to_folder = any(path is not None and not path.suffix for path in paths)
    return choice.is_spark or to_folder or is_sharded_index(index)


def _match_shards(
    choice: EngineChoice,
    files: _ShardedFiles,
    outputs: MatchOutputs,
    settings: MatchSettings,
    *,
    grouping: GroupSettings,
    refused: Mapping[str, Path | None],
) -> None:
    from simprod_tf.index.sharded import ShardedIndex
    from simprod_tf.pipeline import sharded_match as run

    for option, path in refused.items():
        if path is not None:
            raise run.needs_one_memory(option)
    run.require_sharded(settings)
    index = ShardedIndex.open(files.index)
    needed = settings.max_distance is None
    inputs = run.ShardedInputs(
        index,
        _decisions(index, files.decision, needed=needed),
        files.catalog,
        files.only,
        files.previous,
    )
    with choice.open(outputs.matches) as engine, bars() as progress:
        matched = run.match_shards(
            engine, inputs, outputs, settings, grouping=grouping, progress=progress
        )
    _say(run.described_shards(matched), outputs)


def _say(lines: list[str], outputs: MatchOutputs) -> None:
    for line in lines:
        say(line)
    paths = (outputs.matches, outputs.groups, outputs.bridges)
    say(f"Written to {', '.join(str(path) for path in paths if path)}")


def _require_apart(*outputs: Path | None) -> None:
    """Refuses one place for two outputs, of which the last one would stay."""
    places = [str(one.absolute()) for one in outputs if one is not None]
    if len(set(places)) < len(places):
        raise typer.BadParameter("--out, --groups and --bridges are places apart.")


def _require_new(groups: Path | None) -> None:
    """Refuses to put the groups of some products in the place of those of all."""
    if groups is not None and groups.exists():
        raise SimprodError(
            f"with --only, {groups} would hold the groups of these products alone; "
            "give the groups of all as --previous, or another place."
        )


def load_decider(folder: Path | None) -> Decider | None:
    """Returns the decider of a folder, None where none is named."""
    if folder is None:
        return None
    from simprod_tf.decider.decider import Decider

    return Decider.load(folder)


def trained(index: Index | ShardedIndex) -> Decisions | None:
    """Returns what training chose."""
    from simprod_tf.matching.decisions import trained_decisions

    return trained_decisions(index.extra.get("decision"), index.encoder_fingerprint)


def _decisions(
    index: Index | ShardedIndex, path: Path | None, *, needed: bool
) -> Decisions | None:
    """Returns the decisions of a file, or what training chose."""
    from simprod_tf.matching.decisions import read_decisions

    if path is not None:
        return read_decisions(path)
    chosen = trained(index)
    if chosen is not None or not needed:
        return chosen
    refused = (index.extra.get("decision") or {}).get("refused", "")
    raise SimprodError(
        "the encoder of the index has no threshold; choose one with `simprod "
        f"threshold`, or give --max-distance. {refused}"
    )


def kinds_of(veto: list[str] | None) -> tuple[str, ...] | None:
    """Returns the kinds of conflict that were stated; () for `none`."""
    if veto is None:
        return None
    return () if veto == ["none"] else tuple(dict.fromkeys(veto))


def _read(path: Path, *columns: str) -> ReadTable:
    """Returns a table that must have these columns."""
    from simprod_tf.data.tables import read_table

    read = read_table(path)
    read.require(columns)
    return read


def _known(read: ReadTable, index: Index) -> list[str]:
    """Returns the ids of a table, all of which the index must hold."""
    ids = read.strings("id")
    for row, id in zip(read.rows, ids):
        if id not in index:
            raise InputError(
                f"the index holds no product {id!r}; `simprod add` takes it in.",
                path=read.path,
                row=row,
            )
    return ids
