"""`simprod versions` and `simprod rollback`."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.versions import current_folder, publish


@pytest.fixture
def root(tmp_path):
    """Versions 1 to 3, each with as many products as its number says."""
    for version in (1, 2, 3):
        ids = [str(row) for row in range(version)]
        vectors = np.eye(version, dtype=np.float32)
        index = ExactIndex.build(ids, vectors, encoder_fingerprint=f"f{version}")
        publish(index, tmp_path / "root")
    return tmp_path / "root"


def test_versions_lists_them(simprod, rows_of, root):
    rows = rows_of(simprod("versions", root))
    saved = [row.pop("saved") for row in rows]
    assert all(len(one) == len("2024-05-17 12:30:00") for one in saved)
    assert rows == [
        {
            "version": str(number),
            "current": "yes" if number == 3 else "",
            "products": str(number),
            "type": "exact",
            "encoder": f"f{number}",
        }
        for number in (1, 2, 3)
    ]


def test_rollback_goes_to_the_version_before_or_to_a_stated_one(simprod, root):
    done = simprod("rollback", root)
    assert done.returncode == 0, done.stderr
    assert f"Version 2 in {root} is current" in done.stderr
    assert current_folder(root).name == "2"
    done = simprod("rollback", root, "--to", 1)
    assert done.returncode == 0, done.stderr
    assert current_folder(root).name == "1"


def test_what_cannot_be_rolled_back_is_one_line(simprod, root, tmp_path):
    done = simprod("rollback", root, "--to", 7)
    assert done.returncode == 1
    assert "there is no version 7; the versions are: 1, 2, 3" in done.stderr
    done = simprod("versions", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "there is no such folder of index versions" in done.stderr
    assert "Traceback" not in done.stderr
