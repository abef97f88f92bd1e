"""The versions of a model, side by side in its folder as TF Serving has them."""

from __future__ import annotations

from pathlib import Path

from simprod_tf.errors import ModelError
from simprod_tf.manifest import read_manifest


def model_versions(folder: str | Path) -> list[int]:
    """Returns the version numbers in a model's folder, rising."""
    root = Path(folder)
    if not root.is_dir():
        return []
    return sorted(int(p.name) for p in root.iterdir() if p.name.isdigit())


def latest_version(folder: str | Path) -> Path:
    """Returns the folder of the newest version; a version's own folder stays itself."""
    root = Path(folder)
    if (root / "saved_model.pb").is_file():
        return root
    versions = model_versions(root)
    if not versions:
        raise ModelError(f"{folder} holds no SavedModel; `simprod export` makes one.")
    return root / str(versions[-1])


def next_version(folder: str | Path, kind: str) -> Path:
    """Returns the folder of the next version, among versions of this kind alone.

    Raises:
        ModelError: the newest is of another kind, as whose next version a server
            would take this one.
    """
    root = Path(folder)
    versions = model_versions(root)
    written = [one for one in versions if any((root / str(one)).iterdir())]
    if written:
        read_manifest(root / str(written[-1]), kind=kind)
    return root / str(versions[-1] + 1 if versions else 1)
