"""Weights of image networks as files: our own `.npz`, and imports of others' formats.

Preprocessing is part of the weights: pixels that are scaled or ordered otherwise give
features that look sound and are not.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.atomic import whole_file
from simprod_tf.errors import ModelError
from simprod_tf.manifest import file_sha256
from simprod_tf.model.architecture import (
    ARCHITECTURES,
    required_arrays,
    usual_preprocessing,
    weight_shapes,
)
from simprod_tf.model.array_layout import as_ours, guess_architecture
from simprod_tf.model.caffe_weights import read_npy
from simprod_tf.model.keras_weights import read_h5
from simprod_tf.model.preprocessing import (
    CAFFE_NORM,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    ResponseNorm,
    caffe_preprocessing,
)
from simprod_tf.model.torch_weights import read_state_dict

log = logging.getLogger(__name__)

KIND = "simprod weights"
VERSION = 1
MANIFEST_KEY = "manifest"

NPZ, NPY = "npz", "npy"
TORCH, KERAS = "torch state dict", "keras h5"


@dataclass(frozen=True, eq=False)
class Weights:
    """A network's weights with all that decides what it computes.

    Attributes:
        architecture: "krizhevsky2012", "torchvision", "small" or "squeezenet".
        preprocessing: What the weights expect of pixels.
        arrays: `<layer>/kernel` and `<layer>/bias`, float32, as
            `simprod_tf.model.architecture` says; not all layers need be there.
        source: Where they come from: file, sha256, format; a licence where known.
        response_norm: Its constants; None is the architecture's own, or none.
    """

    architecture: str
    preprocessing: Preprocessing
    arrays: Mapping[str, np.ndarray]
    source: Mapping[str, Any] = field(default_factory=dict)
    response_norm: ResponseNorm | None = None

    def __post_init__(self) -> None:
        """Checks names, shapes and values; makes the arrays float32."""
        if self.architecture not in ARCHITECTURES:
            raise ModelError(
                f"{self.origin}: architecture must be one of "
                f"{', '.join(ARCHITECTURES)}, got {self.architecture!r}."
            )
        self._check_size()
        self._check_names()
        shapes = weight_shapes(self.architecture)
        arrays = {
            name: self._checked(name, self.arrays[name], shape)
            for name, shape in shapes.items()
            if name in self.arrays
        }
        object.__setattr__(self, "arrays", arrays)

    @property
    def origin(self) -> str:
        """The file's name, for messages."""
        return str(self.source.get("file", "weights"))

    def _check_size(self) -> None:
        needed = usual_preprocessing(self.architecture).image_size
        found = self.preprocessing.image_size
        if self.architecture != "squeezenet" and found != needed:
            raise ModelError(
                f"{self.origin}: {self.architecture} takes {needed} pixels, "
                f"but its preprocessing says image_size {found}."
            )

    def _check_names(self) -> None:
        known = weight_shapes(self.architecture)
        unknown = sorted(set(self.arrays) - set(known))
        if unknown:
            raise ModelError(
                f"{self.origin}: {self.architecture} has no {', '.join(unknown)}."
            )
        wanted = required_arrays(self.architecture)
        # A kernel without its bias, or the reverse, is a damaged file.
        layers = {name.partition("/")[0] for name in self.arrays}
        layers |= {name.partition("/")[0] for name in wanted}
        for name in known:
            if name.partition("/")[0] in layers and name not in self.arrays:
                raise ModelError(f"{self.origin} has no {name}.")

    def _checked(
        self, name: str, array: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        if array.shape != shape:
            raise ModelError(
                f"{self.origin}: {name} must have shape {shape} in "
                f"{self.architecture}, got {array.shape}."
            )
        if array.dtype.kind != "f":
            raise ModelError(
                f"{self.origin}: {name} must be of floats, got {array.dtype}."
            )
        array = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(array).all():
            raise ModelError(f"{self.origin}: {name} holds values that are not finite.")
        return array


def set_layer_weights(model: tf.keras.Model, weights: Weights) -> None:
    """Sets the weights of each layer of `model` that has any; all must be there."""
    for layer in model.layers:
        if layer.weights:
            kinds = ("kernel", "bias")
            layer.set_weights(
                [weights.arrays[f"{layer.name}/{kind}"] for kind in kinds]
            )


def write_weights(weights: Weights, path: str | os.PathLike[str]) -> None:
    """Writes weights as our `.npz`, whole or not at all.

    The manifest (architecture, preprocessing, source) is a text inside the file, so
    that the two cannot be separated.
    """
    norm = weights.response_norm
    manifest = {
        "kind": KIND,
        "version": VERSION,
        "architecture": weights.architecture,
        "preprocessing": weights.preprocessing.to_json(),
        "response_norm": norm.to_json() if norm else None,
        "source": dict(weights.source),
    }
    text = np.array(json.dumps(manifest, ensure_ascii=False))
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{MANIFEST_KEY: text}, **weights.arrays)


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Returns the weights that `write_weights` wrote.

    Raises:
        ModelError: no such file, damaged, or not our own (see `import_weights`).
    """
    arrays = _read_npz(path)
    if MANIFEST_KEY not in arrays:
        raise ModelError(
            f"{path} has no manifest, so its preprocessing is not known; "
            "`simprod weights convert` makes our own file of it."
        )
    return _with_manifest(path, arrays)


def import_weights(
    path: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    preprocessing: Preprocessing | None = None,
    response_norm: ResponseNorm | None = None,
) -> Weights:
    """Returns the weights of a file of any known format, told by its content.

    Formats, and what is assumed of those that do not say how pixels are prepared:
        our own `.npz`: as its manifest says.
        PyTorch state dict (`.pth`): torchvision's: RGB, ImageNet mean and deviation;
            for krizhevsky2012 the paper's constants of response normalisation.
        `.npy` of a dict, as Caffe's AlexNet is passed on for TensorFlow: BGR minus
            (104, 117, 123), 227 pixels, Caffe's constants of response normalisation.
        `.npz` of `<layer>/w` or `<layer>/kernel`, `<layer>/b` or `<layer>/bias`, or
            `Conv_0/kernel` ...: Caffe's for krizhevsky2012 and squeezenet, else the
            preset's own. Caffe's (out, in, h, w) and (out, in) are told by shape.
        Keras `.h5` or `.weights.h5` of a model of ours: the preset's own.
    Nothing in a file is executed. Classifiers' layers (fc8) are left out.

    Args:
        path: The file.
        architecture: What it must be; told by the shapes if None.
        preprocessing: Instead of what is assumed above.
        response_norm: Likewise.

    Raises:
        ModelError: the file is none of these, damaged, or of another architecture.
        MissingLibraryError: a `.pth` file, and PyTorch is not installed.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture must be one of {', '.join(ARCHITECTURES)}, "
            f"got {architecture!r}."
        )
    kind = _format_of(path)
    arrays = _READERS[kind](path)
    if MANIFEST_KEY in arrays:
        weights = _with_manifest(path, arrays)
    else:
        weights = _by_convention(path, arrays, kind)
    _require_architecture(path, weights.architecture, architecture)
    if preprocessing is not None:
        weights = replace(weights, preprocessing=preprocessing)
    if response_norm is not None:
        weights = replace(weights, response_norm=response_norm)
    log.info("%s: %s, %s", path, weights.architecture, weights.preprocessing)
    return weights


def _by_convention(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], kind: str
) -> Weights:
    """Returns weights of a file that does not say how pixels are prepared."""
    architecture = guess_architecture(arrays, path)
    preprocessing, response_norm = _convention(architecture, kind)
    return Weights(
        architecture,
        preprocessing,
        as_ours(arrays, architecture, path),
        {"file": Path(path).name, "sha256": file_sha256(path), "format": kind},
        response_norm,
    )


def _require_architecture(
    path: str | os.PathLike[str], found: str, expected: str | None
) -> None:
    if expected is not None and found != expected:
        raise ModelError(f"{path} holds weights of {found}, expected {expected}.")


def _convention(
    architecture: str, kind: str
) -> tuple[Preprocessing, ResponseNorm | None]:
    """Returns what weights of this architecture, in this format, usually expect."""
    own = usual_preprocessing(architecture)
    if architecture != "krizhevsky2012" or kind == KERAS:
        return own, None
    if kind == TORCH:
        # torchvision has no such network: its preprocessing, the paper's constants.
        return replace(own, mean=IMAGENET_MEAN, std=IMAGENET_STD), None
    return caffe_preprocessing(own.image_size, own.resize_to), CAFFE_NORM


def _format_of(path: str | os.PathLike[str]) -> str:
    """Returns the format of a file by its first bytes: suffixes are often wrong."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ModelError(f"{path} cannot be read as weights: {error}.") from error
    if not start:
        raise ModelError(f"{path} cannot be read as weights: the file is empty.")
    # The second is an archive of nothing.
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_format(path)
    for magic, kind in ((b"\x93NUMPY", NPY), (b"\x89HDF\r\n", KERAS), (b"\x80", TORCH)):
        if start.startswith(magic):
            return kind
    raise ModelError(
        f"{path} cannot be read as weights: expected .npz, .npy, PyTorch's .pth or "
        f"Keras' .h5, but it begins with {start!r}."
    )


def _zip_format(path: str | os.PathLike[str]) -> str:
    """Tells PyTorch's files from numpy's: both are zip archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is damaged or cut short: {error}.") from error
    return TORCH if any(name.endswith("/data.pkl") for name in names) else NPZ


def _read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ModelError(f"{path} is a single array, not an .npz.")
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read as weights: {error}.") from error


def _with_manifest(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]
) -> Weights:
    try:
        manifest = json.loads(str(arrays[MANIFEST_KEY]))
        if manifest["kind"] != KIND or manifest["version"] != VERSION:
            raise ModelError(
                f"{path}: expected a manifest of {KIND}, version {VERSION}, got "
                f"{manifest['kind']}, version {manifest['version']}."
            )
        norm = manifest["response_norm"]
        fields = (
            manifest["architecture"],
            Preprocessing.from_json(manifest["preprocessing"]),
            {name: array for name, array in arrays.items() if name != MANIFEST_KEY},
            dict(manifest["source"]),
            ResponseNorm(**norm) if norm else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: its manifest is damaged: {type(error).__name__}: {error}."
        ) from error
    try:
        return Weights(*fields)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


_READERS = {
    NPZ: _read_npz,
    NPY: read_npy,
    TORCH: read_state_dict,
    KERAS: read_h5,
}
