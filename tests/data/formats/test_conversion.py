"""How a converter's files reach their folder."""

from __future__ import annotations

import pytest

from simprod_tf.data.formats.conversion import whole_files
from simprod_tf.errors import InputError


def test_files_move_into_the_folder_when_all_are_written(tmp_path):
    out = tmp_path / "deep" / "out"
    with whole_files(out) as place:
        (place / "a.csv").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a.csv"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("stop", [InputError("bad", path="x"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_folder_as_it_was(tmp_path, stop):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.csv").write_text("old")
    with pytest.raises(type(stop)), whole_files(out) as place:
        (place / "a.csv").write_text("new")
        raise stop
    assert (out / "a.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_no_folder_to_write_into(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: is a file; name a folder"):
        with whole_files(tmp_path / "out"):
            pass
