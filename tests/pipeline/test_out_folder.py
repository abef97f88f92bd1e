"""What an output folder may replace."""

from __future__ import annotations

import pytest

from simprod_tf.errors import InputError
from simprod_tf.manifest import write_manifest
from simprod_tf.pipeline.out_folder import require_outside, require_replaceable


def test_a_new_an_empty_and_an_own_folder_may_be_replaced(tmp_path):
    require_replaceable(tmp_path / "new", "index")
    require_replaceable(tmp_path, "index")
    write_manifest(tmp_path, {"kind": "index"})
    require_replaceable(tmp_path, "index")
    # It only looks.
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_what_others_wrote_is_refused(tmp_path):
    (tmp_path / "catalog.csv").write_text("id,title\n")
    with pytest.raises(InputError, match=r"catalog\.csv: is a file; name a folder\."):
        require_replaceable(tmp_path / "catalog.csv", "index")
    with pytest.raises(InputError, match="no index and would be lost; name a new or"):
        require_replaceable(tmp_path, "index")
    write_manifest(tmp_path, {"kind": "trained encoder"})
    with pytest.raises(InputError, match="no index and would be lost"):
        require_replaceable(tmp_path, "index")


def test_what_lies_in_a_replaced_folder_is_refused(tmp_path):
    require_outside(tmp_path / "run", None, "logs")
    require_outside(tmp_path / "run", tmp_path / "run-logs", "logs")
    for inner in (tmp_path / "run", tmp_path / "run" / "logs", tmp_path / "run/../run"):
        with pytest.raises(
            InputError, match="logs would be lost there, since .*run is"
        ):
            require_outside(tmp_path / "run", inner, "logs")
