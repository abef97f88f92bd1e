"""Where a stage may write its folder: nothing of anybody else's is replaced."""

from __future__ import annotations

import os
from pathlib import Path

from simprod_tf.errors import InputError, ModelError
from simprod_tf.manifest import read_manifest


def require_replaceable(folder: str | Path, kind: str) -> None:
    """Refuses a place that holds anything but what this stage itself wrote.

    Args:
        folder: The output's place; what is there is replaced as a whole.
        kind: What the manifest of an earlier output says.

    Raises:
        InputError: it is a file, or a folder with other files in it.
    """
    place = Path(folder)
    if not place.exists():
        return
    if not place.is_dir():
        raise InputError("is a file; name a folder.", path=place)
    if not any(place.iterdir()):
        return
    try:
        read_manifest(place, kind=kind)
    except ModelError as error:
        raise InputError(
            f"holds files that are no {kind} and would be lost; name a new or empty "
            "folder.",
            path=place,
        ) from error


def require_no_file(folder: str | Path) -> None:
    """Refuses a place for a folder's files, of which some may be there, that is a file.

    Raises:
        InputError: it is one.
    """
    if Path(folder).is_file():
        raise InputError("is a file; name a folder.", path=folder)


def require_outside(folder: str | Path, path: str | Path | None, what: str) -> None:
    """Refuses a `path` within the folder that is replaced at the end.

    Raises:
        InputError: what is written there would be lost.
    """
    if path is None:
        return
    # Not resolve(): the two may not exist yet.
    out, inner = (Path(os.path.abspath(one)) for one in (folder, path))
    if inner == out or out in inner.parents:
        raise InputError(
            f"{what} would be lost there, since {folder} is replaced at the end; name "
            "a folder outside.",
            path=path,
        )
