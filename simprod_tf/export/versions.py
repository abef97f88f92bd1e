"""The versions of a model, side by side in its folder as TF Serving has them."""

from __future__ import annotations

from pathlib import Path

from simprod_tf.errors import ModelError


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
