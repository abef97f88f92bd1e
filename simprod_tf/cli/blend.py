"""Sub-command blend: the index with embeddings drawn towards their neighbours'."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from simprod_tf.cli.console import bars, options, say
from simprod_tf.cli.index import IndexPath
from simprod_tf.errors import InputError


def blend(
    index: IndexPath,
    out: Annotated[Path, typer.Option(help="Folder for the blended index.")],
    k: Annotated[
        int, typer.Option("-k", min=1, help="Neighbours that take part, at most.")
    ] = 5,
    alpha: Annotated[
        float,
        typer.Option(
            min=0, help="A neighbour weighs its cosine to the power of this; 0: all 1."
        ),
    ] = 3.0,
    max_distance: Annotated[
        Optional[float],
        typer.Option(min=0, max=2, help="How far a neighbour may lie; by default any."),
    ] = None,
    iterations: Annotated[
        int, typer.Option(min=1, help="How often, each time with blended neighbours.")
    ] = 1,
) -> None:
    """Blend each product's embedding with its neighbours': an index of its own version.

    Alike products move together, and with them the distances: a threshold must be
    chosen anew. The new index has a fingerprint of its own; it answers `match`,
    `threshold` and `search --id`, and takes no products by `add`: blend again instead.

    Example: `simprod blend index --out blended`
    """
    from simprod_tf.index.build import load_index
    from simprod_tf.index.versions import is_root
    from simprod_tf.matching.blending import Blending
    from simprod_tf.pipeline.blend import blend_index
    from simprod_tf.pipeline.out_folder import require_replaceable

    with options():
        blending = Blending(k, alpha, max_distance, iterations)
    if out.resolve() == index.resolve():
        raise InputError(
            "is the index itself, which stays; name another folder.", path=out
        )
    if is_root(out):
        raise InputError("holds versions; name another folder.", path=out)
    require_replaceable(out, "index")
    found = load_index(index)
    with bars() as progress:
        made = blend_index(found, blending, progress=progress)
    made.save(out)
    also = "".join(f", {len(one)} by {name}" for name, one in made.views.items())
    say(f"{len(made)} products{also} blended with up to {k} neighbours each")
    say(
        f"Fingerprint {made.encoder_fingerprint}, of the index before "
        f"{found.encoder_fingerprint}"
    )
    say(f"Written to {out}")
    say(
        "It has no threshold, since blended distances are others: `simprod threshold "
        f"{out}` chooses one anew."
    )
