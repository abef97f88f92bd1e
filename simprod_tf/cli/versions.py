"""Sub-commands on published versions of an index: versions, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from simprod_tf.cli.console import print_rows, say

Root = Annotated[Path, typer.Argument(help="Folder of an index's versions.")]


def versions(root: Root) -> None:
    """List the published versions of an index; readers open the current one.

    Columns: `version`, `current`, `products`, `type`, `encoder`, `saved` (UTC).

    Example: `simprod versions indexes/shop`
    """
    from simprod_tf.index.versions import versions as published

    rows = [
        [
            str(one.number),
            "yes" if one.is_current else "",
            str(one.n),
            one.kind,
            one.encoder_fingerprint,
            f"{one.saved:%Y-%m-%d %H:%M:%S}",
        ]
        for one in published(root)
    ]
    columns = ["version", "current", "products", "type", "encoder", "saved"]
    print_rows(columns, rows)


def rollback(
    root: Root,
    to: Annotated[
        Optional[int],
        typer.Option(min=1, help="A version; by default the one current before."),
    ] = None,
) -> None:
    """Make an earlier version of an index current again; its files are verified.

    Example: `simprod rollback indexes/shop --to 3`
    """
    from simprod_tf.index import versions as published

    if to is None:
        to = published.rollback(root)
    else:
        published.switch(root, to)
    say(f"Version {to} in {root} is current")
