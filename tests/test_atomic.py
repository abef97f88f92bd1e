"""Files and folders are whole or absent."""

from __future__ import annotations

import json

import pytest

from simprod_tf.atomic import whole_file, whole_folder, write_json


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with whole_file(path) as temporary:
        temporary.write_text("a")
        assert temporary.suffix == ".csv"
        assert not path.exists()
    assert path.read_text() == "a"
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "index"
    path.mkdir()
    (path / "old").write_text("old")
    with whole_folder(path) as temporary:
        (temporary / "new").write_text("new")
        assert (path / "old").exists()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "index"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_folder(path) as temporary:
        (temporary / "half").write_text("half")
        raise KeyboardInterrupt
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "ü"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"a": "ü", "b": 1}
