"""ScaNN's library and its files: trained, written and read without its pickles.

Importing this module does not import ScaNN: that loads TensorFlow, whose C++ library
it is built on.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.index.folder import EMBEDDINGS_NAME
from simprod_tf.index.tuning import ScannSettings

FOLDER_NAME = "scann"
_SCANN_ASSETS = "scann_assets.pbtxt"
_ASSETS_NAME = "assets.txt"
_DATASET_NAME = "dataset.npy"
_TRAINING_SAMPLE = 250_000
_ASSET = re.compile(r'asset_type: (\w+)\s+asset_path: "(?:[^\n]*/)?([^"/\n]+)"')
_WAY_OUT = (
    "ScaNN cannot be imported ({}). It exists for Linux on x86-64 with TensorFlow "
    "2.15: pip install 'scann~=1.3.0'. Without it, use kind=\"exact\" in build_index "
    "or load_index: slower, and it misses nothing."
)


def brute_searcher(embeddings: np.ndarray) -> Any:
    """Returns ScaNN's searcher that compares with all of [N, D] float32."""
    builder = require_scann().builder(embeddings, 10, "dot_product")
    return builder.score_brute_force().build().searcher


def tree_searcher(embeddings: np.ndarray, settings: ScannSettings) -> Any:
    """Returns ScaNN's tree with quantised codes over [N, D] float32, trained.

    Raises:
        ModelError: ScaNN cannot do it with these settings.
    """
    builder = require_scann().builder(embeddings, 10, "dot_product")
    tree = builder.tree(
        num_leaves=settings.num_leaves,
        num_leaves_to_search=settings.leaves_to_search,
        training_sample_size=min(len(embeddings), _TRAINING_SAMPLE),
        soar_lambda=settings.soar_lambda,
        overretrieve_factor=None if settings.soar_lambda is None else 2.0,
    )
    hashed = tree.score_ah(
        2, anisotropic_quantization_threshold=settings.anisotropic_threshold
    )
    try:
        return hashed.reorder(settings.reordered).build().searcher
    except RuntimeError as error:
        raise ModelError(
            f"ScaNN cannot divide {len(embeddings)} products into "
            f"{settings.num_leaves} leaves: {error}. Give other settings, or none."
        ) from error


def write_searcher(searcher: Any, folder: Path) -> None:
    """Writes ScaNN's files into the index folder, but for its copy of the embeddings.

    ScaNN writes absolute paths, so that a moved index would not load; the folder holds
    names alone.
    """
    place = folder / FOLDER_NAME
    place.mkdir()
    searcher.serialize(str(place))
    (place / _DATASET_NAME).unlink()
    theirs = place / _SCANN_ASSETS
    found = _ASSET.findall(theirs.read_text(encoding="utf-8"))
    theirs.unlink()
    lines = [f"{type_} {name}\n" for type_, name in found]
    (place / _ASSETS_NAME).write_text("".join(lines), encoding="utf-8")


def read_searcher(folder: Path) -> Any:
    """Returns ScaNN's searcher from the index folder, whose files are verified.

    Raises:
        ModelError: ScaNN cannot read them.
    """
    place = (folder / FOLDER_NAME).resolve()
    # Not its load_searcher: that reads a pickle where it finds one.
    library = require_scann().scann_pybind
    try:
        return library.ScannNumpy(str(place), _assets(place))
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"ScaNN cannot read {place}: {error}.") from error


def _assets(folder: Path) -> str:
    """Returns what ScaNN reads as scann_assets.pbtxt, with paths as they are now."""
    entries = []
    for line in (folder / _ASSETS_NAME).read_text(encoding="utf-8").splitlines():
        type_, name = line.split()
        at_home = name != _DATASET_NAME
        path = folder / name if at_home else folder.parent / EMBEDDINGS_NAME
        text = str(path).replace("\\", "\\\\").replace('"', '\\"')
        entries.append(f'assets {{ asset_type: {type_} asset_path: "{text}" }}\n')
    return "".join(entries)


def require_scann() -> Any:
    """Returns ScaNN's Python module, which loads TensorFlow."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingLibraryError(_WAY_OUT.format(error)) from error
    try:
        from scann.scann_ops.py import scann_ops_pybind
    except (ImportError, tf.errors.NotFoundError) as error:
        # NotFoundError: its op library was built for another TensorFlow.
        raise MissingLibraryError(_WAY_OUT.format(error)) from error
    return scann_ops_pybind
