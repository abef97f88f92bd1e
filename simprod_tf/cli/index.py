"""Sub-commands that make and change an index: index, add, remove, compact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.cli.engine_options import EngineChoice, EngineName, Master, SparkConf
from simprod_tf.cli.index_place import (
    described,
    drifted,
    publish_version,
    save,
    say_unknown,
    state_of,
    write_back,
)
from simprod_tf.errors import InputError, SimprodError

if TYPE_CHECKING:
    from simprod_tf.index.tuning import ScannSettings

IndexPath = Annotated[
    Path,
    typer.Argument(help="Folder that `simprod index` wrote: an index, or versions."),
]
ModelPath = Annotated[Path, typer.Option(help="SavedModel: its folder or a version's.")]
Features = Annotated[
    Optional[list[Path]],
    typer.Option(help="Precomputed vectors that the encoder takes; repeatable."),
]
Keep = Annotated[int, typer.Option(min=2, help="How many versions stay, at most.")]


def index(
    catalog: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSONL or Parquet with id, title, image; with --shards a folder "
            "of such files, too. Or embeddings of `simprod encode`."
        ),
    ],
    model: Annotated[
        Optional[Path],
        typer.Option(
            help="SavedModel: its folder or a version's; not with embeddings."
        ),
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder for the index.")] = None,
    publish: Annotated[
        Optional[Path],
        typer.Option(help="Folder of versions: add the next one and switch to it."),
    ] = None,
    keep: Keep = 5,
    kind: Annotated[
        str, typer.Option(help="auto, scann, exact, or exact-tf for a GPU.")
    ] = "auto",
    view: Annotated[
        Optional[list[str]],
        typer.Option(
            help="image or text: also index the products by that alone, for "
            "`simprod match`; repeatable."
        ),
    ] = None,
    attribute: Annotated[
        Optional[list[str]],
        typer.Option(help="A column that --where may ask about; repeatable."),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(help="Share of the 10 nearest products that a search shall find."),
    ] = 0.99,
    leaves: Annotated[
        Optional[int],
        typer.Option(help="ScaNN, for experts: leaves of the tree; give all three."),
    ] = None,
    leaves_to_search: Annotated[
        Optional[int], typer.Option(help="ScaNN: leaves that a search looks into.")
    ] = None,
    reordered: Annotated[
        Optional[int], typer.Option(help="ScaNN: points that are compared anew.")
    ] = None,
    allow_low_recall: Annotated[
        bool, typer.Option(help="Keep an index that misses its recall.")
    ] = False,
    features: Features = None,
    skip_bad: SkipBad = False,
    shards: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            help="Build a sharded index, for `simprod match`; by default, from "
            "embeddings or with --engine spark, a shard a million products.",
        ),
    ] = None,
    previous: Annotated[
        Optional[Path],
        typer.Option(
            help="An earlier sharded index: shards that have not changed are taken "
            "over."
        ),
    ] = None,
    engine: EngineName = "embedded",
    master: Master = None,
    spark_conf: SparkConf = None,
) -> None:
    """Embed a catalogue and build its index of nearest neighbours.

    From 20,000 products on, ScaNN's settings are chosen so that the recall holds,
    measured against an exact search.

    Example: `simprod index shop/catalog.csv --model saved_models/shop --out index
    --view image --view text --attribute category --attribute price`

    Example: `simprod index embeddings --out index --shards 8 --engine spark`
    """
    from simprod_tf.data.embedding_shards import is_embeddings
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.export import SavedEncoder
    from simprod_tf.index.versions import is_root, require_root
    from simprod_tf.pipeline.index import IndexSettings, index_catalog
    from simprod_tf.pipeline.out_folder import require_replaceable

    choice = EngineChoice(engine, master, spark_conf)
    if (out is None) == (publish is None):
        raise typer.BadParameter("give --out or --publish, one of them.")
    if is_embeddings(catalog) or shards or previous or choice.is_spark:
        from simprod_tf.cli.index_shards import index_shards
        from simprod_tf.pipeline.index_shard import ShardSettings

        with options():
            tree = _scann_settings(leaves, leaves_to_search, reordered)
            built = ShardSettings(kind, recall, tree, allow_low_recall)
        index_shards(
            choice,
            catalog,
            out,
            model=model,
            num_shards=shards,
            previous=previous,
            settings=built,
            refused={
                "--view": view,
                "--attribute": attribute,
                "--features": features,
            },
        )
        return
    if model is None:
        raise typer.BadParameter("give --model, the SavedModel that embeds.")
    with options():
        settings = IndexSettings(
            kind=kind,
            views=tuple(dict.fromkeys(view or ())),
            attributes=tuple(dict.fromkeys(attribute or ())),
            recall=recall,
            settings=_scann_settings(leaves, leaves_to_search, reordered),
            allow_low_recall=allow_low_recall,
        )
    if publish is not None:
        require_root(publish)
    elif out is not None:
        if is_root(out):
            raise InputError(
                "holds versions of an index; add the next one with --publish.", path=out
            )
        require_replaceable(out, "index")
    with bars() as progress:
        encoder = SavedEncoder(model)
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not encoder.inputs.has_more,
        )
        made = index_catalog(
            encoder,
            products,
            settings,
            files=[read_vectors(path) for path in features or ()],
            progress=progress,
        )
    say_unknown(made.unknown)
    for name in sorted(set(settings.views) - set(made.index.views)):
        say(f"No view by {name}: the encoder knows nothing of any product by it alone.")
    say(f"Index of {described(made.index)}")
    if publish is not None:
        publish_version(made.index, publish, keep=keep)
    elif out is not None:
        save(made.index, out)


def add(
    index: IndexPath,
    catalog: CatalogPath,
    model: ModelPath,
    keep: Keep = 5,
    features: Features = None,
    skip_bad: SkipBad = False,
) -> None:
    """Take a catalogue's products into an index, in place of those with the same id.

    The catalogue needs the columns that the index was given as --attribute. Into a
    folder of versions goes a new version.

    Example: `simprod add index new_products.csv --model saved_models/shop`
    """
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.export import SavedEncoder
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline.index import update_index

    with bars() as progress:
        encoder = SavedEncoder(model)
        state = state_of(index)
        found = load_index(index, encoder_fingerprint=encoder.fingerprint)
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not encoder.inputs.has_more,
        )
        done = update_index(
            found,
            encoder,
            products,
            files=[read_vectors(path) for path in features or ()],
            progress=progress,
        )
    say_unknown(done.unknown)
    say(
        f"{done.new} products are new, {done.replaced} replaced"
        + (f", {done.removed} of those left out removed" if done.removed else "")
    )
    write_back(found, index, state=state, keep=keep)


def remove(
    index: IndexPath,
    id: Annotated[
        Optional[list[str]], typer.Option(help="A product's id; repeatable.")
    ] = None,
    ids: Annotated[
        Optional[Path], typer.Option(help="A table with a column `id`, of products.")
    ] = None,
    keep: Keep = 5,
) -> None:
    """Remove products from an index.

    Example: `simprod remove index --id p000001 --id p000002`
    """
    from simprod_tf.data.tables import read_table
    from simprod_tf.index.build import load_index

    if not id and ids is None:
        raise typer.BadParameter("give --id or --ids.")
    wanted = list(id or ())
    if ids is not None:
        table = read_table(ids)
        table.require(["id"])
        wanted += [one for one in table.strings("id") if one]
    state = state_of(index)
    found = load_index(index)
    wanted = list(dict.fromkeys(wanted))
    missing = [one for one in wanted if one not in found]
    if missing:
        raise SimprodError(
            f"{index} holds no product {missing[0]!r}"
            + (f", nor {len(missing) - 1} others" if len(missing) > 1 else "")
            + "; nothing was removed."
        )
    found.remove(wanted)
    say(f"Removed: {len(wanted)} products; left: {len(found)}")
    write_back(found, index, state=state, keep=keep)


def compact(index: IndexPath, keep: Keep = 5) -> None:
    """Train an index anew on the products that it holds, after many changes.

    Example: `simprod compact index`
    """
    from simprod_tf.index.build import load_index

    state = state_of(index)
    found = load_index(index)
    for name, one in {"index": found, **found.views}.items():
        say(f"{name}: {drifted(one)}")
        one.compact()
    say(f"Trained anew: {described(found)}")
    write_back(found, index, state=state, keep=keep)


def _scann_settings(
    leaves: int | None, leaves_to_search: int | None, reordered: int | None
) -> ScannSettings | None:
    from simprod_tf.index.tuning import ScannSettings

    if leaves is None and leaves_to_search is None and reordered is None:
        return None
    if leaves is None or leaves_to_search is None or reordered is None:
        raise ValueError(
            "ScaNN's settings are --leaves, --leaves-to-search and --reordered: give "
            "all three, or none to have them chosen."
        )
    return ScannSettings(leaves, leaves_to_search, reordered)
