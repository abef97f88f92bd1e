"""Choosing the kind of index, with and without ScaNN."""

from __future__ import annotations

import logging
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import MissingLibraryError
from simprod_tf.index import ExactIndex, ScannIndex, build_index, load_index

VECTORS = np.eye(3, dtype=np.float32)
IDS = ["a", "b", "c"]


@pytest.fixture
def no_scann(monkeypatch: pytest.MonkeyPatch) -> None:
    # None makes Python's import raise ModuleNotFoundError.
    monkeypatch.setitem(sys.modules, "scann.scann_ops.py", None)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("auto", ScannIndex), ("scann", ScannIndex), ("exact", ExactIndex)],
)
def test_build_index_chooses(kind: str, expected: type) -> None:
    index = build_index(
        IDS, VECTORS, encoder_fingerprint="f", kind=kind, extra={"note": 1}
    )
    assert type(index) is expected
    assert index.extra == {"note": 1}


def test_auto_without_scann_is_exact_and_says_so(
    no_scann: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="simprod_tf"):
        index = build_index(IDS, VECTORS, encoder_fingerprint="f")
    assert type(index) is ExactIndex
    assert "Building an exact index instead: ScaNN cannot be imported" in caplog.text


def test_without_tensorflow_scann_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'scann~=1\.3\.0'"):
        build_index(IDS, VECTORS, encoder_fingerprint="f", kind="scann")


def test_scann_for_another_tensorflow_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf

    def fail(name: str) -> None:
        raise tf.errors.NotFoundError(None, None, "undefined symbol")

    # An import may look for module attributes of its own on the way.
    broken = types.ModuleType("scann.scann_ops.py")
    broken.__getattr__ = fail  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "scann.scann_ops.py", broken)
    with pytest.raises(MissingLibraryError, match="undefined symbol"):
        build_index(IDS, VECTORS, encoder_fingerprint="f", kind="scann")


def test_a_scann_folder_can_be_searched_without_scann(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ScannIndex.build(IDS, VECTORS, encoder_fingerprint="f").save(tmp_path / "index")
    monkeypatch.setitem(sys.modules, "scann.scann_ops.py", None)
    with pytest.raises(MissingLibraryError, match='kind="exact" in build_index or'):
        load_index(tmp_path / "index")
    index = load_index(tmp_path / "index", kind="exact")
    assert [m.id for m in index.search(VECTORS[1:2], k=1)[0]] == ["b"]


def test_kinds_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'exact-tf', 'scann'\], got 'faiss'"):
        build_index(IDS, VECTORS, encoder_fingerprint="f", kind="faiss")
    ExactIndex.build(IDS, VECTORS, encoder_fingerprint="f").save(tmp_path / "index")
    with pytest.raises(ValueError, match="was saved without ScaNN"):
        load_index(tmp_path / "index", kind="scann")


def test_importing_the_index_loads_no_tensorflow() -> None:
    code = (
        "import sys, simprod_tf.index, simprod_tf.index.exact, simprod_tf.matching; "
        "assert not {'tensorflow', 'scann'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
