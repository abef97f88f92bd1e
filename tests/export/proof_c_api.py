"""TensorFlow's C API by ctypes: what TF Serving's loader does; no Python TensorFlow.

    python proof_c_api.py MODEL PRODUCTS.json OUT.npz SIGNATURE

The library is found beside Python's TensorFlow, which is not imported. What a
signature's tensors are called stands in the MetaGraphDef that loading gives; its few
fields of interest are read from protobuf's wire format here, since the classes for it
would import TensorFlow.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import numpy as np
from proof_io import finish, objects, read_products

# TF_DataType.
FLOAT, STRING, BOOL = 1, 7, 10
NUMBERS = {FLOAT: np.float32, BOOL: np.bool_}
# sizeof(TF_TString).
STRING_BYTES = 24
POINTERS = (
    "TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_NewBuffer",
    "TF_LoadSessionFromSavedModel", "TF_GraphOperationByName", "TF_AllocateTensor",
    "TF_TensorData", "TF_StringGetDataPointer",
)  # fmt: skip


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = [("operation", c_void_p), ("index", c_int)]


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("free", c_void_p)]


def library() -> ctypes.CDLL:
    """Returns the C API of the TensorFlow that is installed."""
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    found = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    for name in POINTERS:
        getattr(found, name).restype = c_void_p
    found.TF_Message.restype = c_char_p
    for name in ("TF_StringGetSize", "TF_TensorByteSize"):
        getattr(found, name).restype = c_size_t
    found.TF_Dim.restype = c_int64
    return found


class Model:
    """A SavedModel in a session of the C API."""

    def __init__(self, folder: str) -> None:
        self.tf = library()
        self.status = c_void_p(self.tf.TF_NewStatus())
        self.graph = c_void_p(self.tf.TF_NewGraph())
        options = c_void_p(self.tf.TF_NewSessionOptions())
        meta = c_void_p(self.tf.TF_NewBuffer())
        self.session = c_void_p(
            self.tf.TF_LoadSessionFromSavedModel(
                options, None, os.fsencode(folder), (c_char_p * 1)(b"serve"), 1,
                self.graph, meta, self.status,
            )
        )  # fmt: skip
        self.check()
        content = ctypes.cast(meta, POINTER(Buffer)).contents
        self.signatures = signatures(ctypes.string_at(content.data, content.length))

    def check(self) -> None:
        """Ends the process where the last call failed."""
        if self.tf.TF_GetCode(self.status):
            raise SystemExit(self.tf.TF_Message(self.status).decode())

    def run(self, key: str, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns every output of a signature."""
        takes, gives = self.signatures[key]
        fed = (Output * len(takes))(*(self.place(name) for name in takes.values()))
        tensors = (c_void_p * len(takes))(*(self.tensor(raw[name]) for name in takes))
        asked = (Output * len(gives))(*(self.place(name) for name in gives.values()))
        answers = (c_void_p * len(gives))()
        self.tf.TF_SessionRun(
            self.session, None, fed, tensors, len(takes), asked, answers, len(gives),
            None, 0, None, self.status,
        )  # fmt: skip
        self.check()
        return {name: self.array(one) for name, one in zip(gives, answers)}

    def place(self, name: str) -> Output:
        """Returns what "operation:index" means."""
        operation, _, index = name.partition(":")
        found = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
        return Output(found, int(index or 0))

    def tensor(self, values: np.ndarray) -> int:
        """Returns a TF_Tensor of numbers or of bytes."""
        kind = STRING
        size = STRING_BYTES * len(values)
        if values.dtype != object:
            kind = next(key for key, one in NUMBERS.items() if one == values.dtype)
            size = values.nbytes
        shape = (c_int64 * values.ndim)(*values.shape)
        made = self.tf.TF_AllocateTensor(kind, shape, values.ndim, c_size_t(size))
        start = self.tf.TF_TensorData(c_void_p(made))
        if kind != STRING:
            ctypes.memmove(start, np.ascontiguousarray(values).tobytes(), size)
            return made
        for i, value in enumerate(values):
            at = c_void_p(start + i * STRING_BYTES)
            self.tf.TF_StringInit(at)
            self.tf.TF_StringCopy(at, value, c_size_t(len(value)))
        return made

    def array(self, tensor: int) -> np.ndarray:
        """Returns a TF_Tensor as numpy."""
        one = c_void_p(tensor)
        rank = self.tf.TF_NumDims(one)
        shape = [self.tf.TF_Dim(one, i) for i in range(rank)]
        start = self.tf.TF_TensorData(one)
        kind = self.tf.TF_TensorType(one)
        if kind == STRING:
            starts = range(start or 0, (start or 0) + STRING_BYTES * np.prod(shape), 24)
            return objects([self.text(at) for at in starts]).reshape(shape)
        content = ctypes.string_at(start, self.tf.TF_TensorByteSize(one))
        return np.frombuffer(content, NUMBERS[kind]).reshape(shape)

    def text(self, at: int) -> bytes:
        """Returns the bytes of a TF_TString."""
        data = self.tf.TF_StringGetDataPointer(c_void_p(at))
        return ctypes.string_at(data, self.tf.TF_StringGetSize(c_void_p(at)))


def signatures(meta: bytes) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Returns, by signature, the inputs' and outputs' tensor names by their own."""
    found = {}
    # MetaGraphDef.signature_def = 5; a map's entry has key = 1, value = 2.
    for number, entry in fields(meta):
        if number == 5:
            key, signature = entry_of(entry)
            parts: tuple[dict[str, str], dict[str, str]] = ({}, {})
            # SignatureDef.inputs = 1, outputs = 2; TensorInfo.name = 1.
            for part, inner in fields(signature):
                if part in (1, 2):
                    name, info = entry_of(inner)
                    tensor = dict(fields(info)).get(1, b"")
                    parts[part - 1][name.decode()] = tensor.decode()
            found[key.decode()] = parts
    return found


def entry_of(content: bytes) -> tuple[bytes, bytes]:
    """Returns key and value of a map's entry."""
    parts = dict(fields(content))
    return parts.get(1, b""), parts.get(2, b"")


def fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields number and content of a message's length-delimited fields."""
    at = 0
    while at < len(content):
        tag, at = varint(content, at)
        kind = tag & 7
        if kind == 0:
            _, at = varint(content, at)
        elif kind == 2:
            length, at = varint(content, at)
            yield tag >> 3, content[at : at + length]
            at += length
        else:
            at += {1: 8, 5: 4}[kind]


def varint(content: bytes, at: int) -> tuple[int, int]:
    """Returns the number at that place and the place behind it."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def main(folder: str, products: str, out: str, *keys: str) -> None:
    """Runs the signatures over all products and over none."""
    raw = read_products(products)
    model = Model(folder)
    found = {}
    for key in keys:
        for size, prefix in ((None, key), (0, f"{key}/empty")):
            part = {name: column[:size] for name, column in raw.items()}
            for name, array in model.run(key, part).items():
                found[f"{prefix}/{name}"] = array
    assert "tensorflow" not in sys.modules
    finish(out, **found)


main(*sys.argv[1:])
