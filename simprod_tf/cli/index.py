"""Sub-commands that make and change an index: index, add, remove, compact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.errors import InputError, SimprodError

if TYPE_CHECKING:
    from simprod_tf.index.base import Index
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
    catalog: CatalogPath,
    model: ModelPath,
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
) -> None:
    """Embed a catalogue and build its index of nearest neighbours.

    From 20,000 products on, ScaNN's settings are chosen so that the recall holds,
    measured against an exact search.

    Example: `simprod index shop/catalog.csv --model saved_models/shop --out index
    --view image --view text --attribute category --attribute price`
    """
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.export import SavedEncoder
    from simprod_tf.index.versions import is_root, require_root
    from simprod_tf.pipeline.index import IndexSettings, index_catalog
    from simprod_tf.pipeline.out_folder import require_replaceable

    if (out is None) == (publish is None):
        raise typer.BadParameter("give --out or --publish, one of them.")
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
    _say_unknown(made.unknown)
    for name in sorted(set(settings.views) - set(made.index.views)):
        say(f"No view by {name}: the encoder knows nothing of any product by it alone.")
    say(f"Index of {_described(made.index)}")
    if publish is not None:
        _publish(made.index, publish, keep=keep)
    elif out is not None:
        _save(made.index, out)


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
        state = _state(index)
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
    _say_unknown(done.unknown)
    say(
        f"{done.new} products are new, {done.replaced} replaced"
        + (f", {done.removed} of those left out removed" if done.removed else "")
    )
    _write_back(found, index, state=state, keep=keep)


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
    state = _state(index)
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
    _write_back(found, index, state=state, keep=keep)


def compact(index: IndexPath, keep: Keep = 5) -> None:
    """Train an index anew on the products that it holds, after many changes.

    Example: `simprod compact index`
    """
    from simprod_tf.index.build import load_index

    state = _state(index)
    found = load_index(index)
    for name, one in {"index": found, **found.views}.items():
        say(f"{name}: {_drifted(one)}")
        one.compact()
    say(f"Trained anew: {_described(found)}")
    _write_back(found, index, state=state, keep=keep)


def _drifted(index: Index) -> str:
    drift = index.drift()
    changed = f"{drift.changed:.1%} of the products came since the training"
    if index.is_exact:
        return f"{changed}; nothing is missed, the search is exact"
    return (
        f"{changed}; recall@10 {drift.recall:.3f}, "
        f"of those {drift.recall_of_changed:.3f}"
    )


def _state(place: Path) -> tuple[Path, str | None]:
    """Returns what tells whether somebody else has changed an index meanwhile."""
    from simprod_tf.index.versions import resolved
    from simprod_tf.manifest import MANIFEST_NAME, file_sha256

    folder = resolved(place)
    manifest = folder / MANIFEST_NAME
    return folder, file_sha256(manifest) if manifest.is_file() else None


def _write_back(
    index: Index, place: Path, *, state: tuple[Path, str | None], keep: int
) -> None:
    """Saves a changed index where it came from; says when it should be compacted.

    Raises:
        InputError: it is no longer what it was when it was loaded.
    """
    from simprod_tf.index.versions import is_root

    if _state(place) != state:
        raise InputError(
            "another process has changed this index meanwhile, which would be lost; "
            "nothing was written. Run the command again.",
            path=place,
        )
    if is_root(place):
        _publish(index, place, keep=keep)
    else:
        _save(index, place)
    drifts = [one.drift() for one in (index, *index.views.values())]
    fallen = [one.fallen_to for one in drifts if one.fallen_to is not None]
    if fallen:
        say(
            f"Its recall has fallen to {min(fallen):.3f}: `simprod compact {place}` "
            "trains it anew."
        )


def _save(index: Index, place: Path) -> None:
    index.save(place)
    say(f"Written to {place}")


def _publish(index: Index, root: Path, *, keep: int) -> None:
    from simprod_tf.index.versions import prune, publish

    number = publish(index, root)
    gone = prune(root, keep=keep)
    say(
        f"Version {number} is current in {root}"
        + (f"; deleted: {', '.join(map(str, gone))}" if gone else "")
    )


def _described(index: Index) -> str:
    from simprod_tf.index.scann import ScannIndex

    parts = [f"{len(index)} products"]
    tuned = index.tuned if isinstance(index, ScannIndex) else None
    if tuned is None:
        parts.append("exact")
    else:
        parts.append(
            f"recall@10 {tuned.recall:.3f} measured on {tuned.num_queries} of them"
        )
    parts += [f"{len(one)} by {name} alone" for name, one in index.views.items()]
    return ", ".join(parts)


def _say_unknown(unknown: Sequence[str]) -> None:
    if unknown:
        say(
            f"{len(unknown)} products left out, since they have no picture and no word "
            f"that the encoder knows: {', '.join(unknown[:5])}"
            + (", ..." if len(unknown) > 5 else "")
        )


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
