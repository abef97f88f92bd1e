"""`.npy` dicts of arrays: read without running them, whoever wrote them."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import ModelError
from simprod_tf.model.caffe_weights import read_npy
from simprod_tf.model.weights import import_weights


def layers(dtype=np.float32):
    rng = np.random.default_rng(0)
    return {
        "conv1": [rng.normal(size=(2, 2, 3, 4)).astype(dtype), np.zeros(4, dtype)],
        "fc6": [rng.normal(size=(5, 6)).astype(dtype), np.ones(6, dtype)],
    }


def save_pickle(path, content: bytes):
    """Writes a `.npy` of one object whose pickle is `content`."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_a_dict_of_pairs_gives_arrays_by_layer(tmp_path, dtype):
    np.save(tmp_path / "w.npy", layers(dtype), allow_pickle=True)
    found = read_npy(tmp_path / "w.npy")
    assert list(found) == ["conv1/w", "conv1/b", "fc6/w", "fc6/b"]
    for name, expected in (("conv1/w", layers(dtype)["conv1"][0]), ("fc6/b", 1)):
        assert np.array_equal(found[name], np.broadcast_to(expected, found[name].shape))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_the_protocols_that_numpy_writes_are_read(tmp_path, protocol):
    content = np.empty((), object)
    content[()] = {name: dict(zip("wb", pair)) for name, pair in layers().items()}
    save_pickle(tmp_path / "w.npy", pickle.dumps(content, protocol))
    found = read_npy(tmp_path / "w.npy")
    assert np.array_equal(found["conv1/w"], layers()["conv1"][0])


def test_python_2s_bytes_are_read(tmp_path):
    # {"conv1": [W, b]} as Python 2 pickled it: strings of bytes, protocol 2.
    def array(values):
        raw = np.asarray(values, "<f4").tobytes()
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            b"(K\x01K" + bytes([len(values)]) + b"\x85"
            b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
            b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(raw)]) + raw + b"tb"
        )

    content = b"\x80\x02}U\x05conv1]" + array([1, 2, -3.5]) + b"a" + array([4]) + b"as."
    save_pickle(tmp_path / "w.npy", content)
    found = read_npy(tmp_path / "w.npy")
    assert found["conv1/w"].tolist() == [1.0, 2.0, -3.5]
    assert found["conv1/b"].tolist() == [4.0]


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, protocol):
    touched = tmp_path / "touched"
    evil = {"conv1": Evil(os.system, f"touch {touched}")}
    save_pickle(tmp_path / "w.npy", pickle.dumps(evil, protocol))
    with pytest.raises(ModelError, match=r"w.npy names (posix|nt).system, which could"):
        read_npy(tmp_path / "w.npy")
    with pytest.raises(ModelError, match="could run code"):
        import_weights(tmp_path / "w.npy")
    assert not touched.exists()


@pytest.mark.parametrize(
    "call",
    [
        (eval, "1"),
        (getattr, "a", "upper"),
        (np.load, "x.npy"),
        (Path, "x"),
        (np.ctypeslib.load_library, "libc", "/"),
    ],
)
def test_other_names_are_refused(tmp_path, call):
    save_pickle(tmp_path / "w.npy", pickle.dumps({"conv1": Evil(*call)}))
    with pytest.raises(ModelError, match="only arrays in plain containers are read"):
        read_npy(tmp_path / "w.npy")


@pytest.mark.parametrize(
    "call",
    [
        # Names that arrays need, used for something else.
        b"cnumpy\nndarray\n((I99999\nI99999\ntS'f8'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I9\ntS'b'\ntR.",
        b"cnumpy\ndtype\n(S'V99999'\ntR.",
        b"c_codecs\nencode\n(S'a'\nS'hex'\ntR.",
        b"Psomewhere\n.",
    ],
)
def test_known_names_do_no_more_than_arrays_need(tmp_path, call):
    save_pickle(tmp_path / "w.npy", call)
    with pytest.raises(ModelError, match="damaged or cut short"):
        read_npy(tmp_path / "w.npy")


def test_a_file_cut_short_is_named_at_any_length(tmp_path):
    path = tmp_path / "w.npy"
    np.save(path, layers(), allow_pickle=True)
    whole = path.read_bytes()
    for length in (7, 30, 127, 128, 140, 200, 400, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="w.npy is damaged or cut short"):
            read_npy(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3)), r"expected a dict of layers, got float64 of shape \(2, 3\)"),
        ([1, 2], "expected a dict of layers"),
        ({1: [np.zeros(1), np.zeros(1)]}, "expected a dict of layers"),
        ({"conv1": [np.zeros(1)]}, r"conv1 must be \[W, b\] or a dict of arrays"),
        ({"conv1": ["a", "b"]}, "conv1/w must be an array of floats, got str"),
        ({"conv1": {"w": np.zeros(1), "b": 3}}, "conv1/b must be .* got int"),
    ],
)
def test_other_content_is_refused(tmp_path, content, message):
    array = content
    if not isinstance(content, np.ndarray):
        array = np.empty((), object)
        array[()] = content
    np.save(tmp_path / "w.npy", array, allow_pickle=True)
    with pytest.raises(ModelError, match=message):
        read_npy(tmp_path / "w.npy")
