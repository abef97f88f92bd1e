"""A SavedModel of ours, loaded with the manifest that stands beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.export.versions import latest_version
from simprod_tf.manifest import read_manifest


def load_exported(folder: str | Path, *, kind: str) -> tuple[Path, dict[str, Any], Any]:
    """Returns the version's folder, its manifest, and the loaded module.

    The module must be kept: a signature lives only as long as it does.

    Args:
        folder: of a model, whose newest version is taken, or of a version.
        kind: that the manifest must state.

    Raises:
        ModelError: there is none, or it cannot be loaded.
    """
    version = latest_version(folder)
    manifest = read_manifest(version, kind=kind)
    try:
        return version, manifest, tf.saved_model.load(str(version))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ModelError(f"{version} cannot be loaded: {error}.") from error
