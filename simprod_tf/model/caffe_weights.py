"""Caffe's weights as `.npy`: a pickled dict of arrays, read without running any of it.

This is how Caffe's AlexNet is passed on for TensorFlow: {"conv1": [W, b], ...}, written
by Python 2 or 3. A pickle can call anything that it names; the reader below knows the
few names that an array needs, and refuses all others.
"""

from __future__ import annotations

import os
import pickle
from typing import Any, BinaryIO, NoReturn

import numpy as np

from simprod_tf.errors import ModelError

MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
# What a damaged pickle makes the unpickler raise.
DAMAGED = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)


def read_npy(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns `<layer>/<kind>` arrays of a `.npy` with a dict of layers.

    A layer is [W, b], or a dict of its arrays by name.

    Raises:
        ModelError: the file is damaged, names anything but arrays and plain
            containers, or is no dict of layers.
    """
    layers = _read_dict(path)
    arrays: dict[str, np.ndarray] = {}
    for layer, parts in layers.items():
        if isinstance(parts, (list, tuple)):
            parts = dict(zip(("w", "b"), parts)) if len(parts) == 2 else None
        if not isinstance(parts, dict):
            raise ModelError(f"{path}: {layer} must be [W, b] or a dict of arrays.")
        for kind, array in parts.items():
            arrays[f"{layer}/{kind}"] = _numbers(array, f"{layer}/{kind}", path)
    return arrays


def _read_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            shape, dtype = _header(file)
            is_pickle = dtype.kind == "O"
            content = _ArrayUnpickler(file, path).load() if is_pickle else None
        except DAMAGED as error:
            raise ModelError(
                f"{path} is damaged or cut short: {type(error).__name__}: {error}."
            ) from error
    if isinstance(content, np.ndarray) and content.shape == shape == ():
        content = content.item()
    if not isinstance(content, dict) or not all(
        isinstance(key, str) for key in content
    ):
        raise ModelError(
            f"{path}: expected a dict of layers, got {dtype} of shape {shape}."
        )
    return content


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"version {version} of .npy is not known")
    shape, _, dtype = read[version](file)
    return shape, dtype


def _numbers(array: Any, name: str, path: str | os.PathLike[str]) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        found = getattr(array, "dtype", type(array).__name__)
        raise ModelError(f"{path}: {name} must be an array of floats, got {found}.")
    return array


class _ArrayName:
    """Stands for `numpy.ndarray` in a pickle, which may name it but not call it."""


def _new_array(kind: type, shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
    """Returns the empty array that the pickle's next step fills."""
    if kind is not _ArrayName or shape != (0,):
        raise pickle.UnpicklingError("an array is begun in an unknown way")
    return np.ndarray((0,), code if isinstance(code, str) else code.decode("latin1"))


def _dtype(code: str, *rest: Any) -> np.dtype:
    """Returns the type of numbers, or of objects, that a short code names."""
    if not isinstance(code, str) or code.lstrip("<>|=") not in _DTYPES:
        raise pickle.UnpicklingError(f"dtype {code!r} is not known")
    # A copy: unpickling sets the byte order of what it is given.
    return np.dtype(code, False, True)


def _latin1(text: str, encoding: str) -> bytes:
    """Returns the bytes that Python 3 writes as text in pickles for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not known")
    return text.encode("latin1")


_DTYPES = {"f2", "f4", "f8", "O", "O4", "O8"}
_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ArrayName,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _latin1,
    **{(module, "_reconstruct"): _new_array for module in MULTIARRAY},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows arrays and plain containers; latin1 reads Python 2's bytes as they are."""

    def __init__(self, file: BinaryIO, path: str | os.PathLike[str]) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name in the pickle, if it is a known one."""
        if (module, name) not in _NAMES:
            raise ModelError(
                f"{self._path} names {module}.{name}, which could run code; "
                "only arrays in plain containers are read."
            )
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuses references to things outside the file."""
        raise pickle.UnpicklingError("the file refers to another")
