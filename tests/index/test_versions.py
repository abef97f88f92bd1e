"""Versions of an index: published whole, switched at once, readers never fail."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import FingerprintError, InputError, ModelError, SimprodError
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.versions import (
    current_folder,
    load_resolved,
    open_current,
    prune,
    publish,
    resolved,
    rollback,
    switch,
    versions,
)

SCRIPT = Path(__file__).with_name("version_process.py")
_spec = importlib.util.spec_from_file_location("version_process", SCRIPT)
process = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(process)
index_of, version_of = process.index_of, process.version_of
read_until = process.read_until


def small(version):
    """An index of three products; the first id names its version."""
    return ExactIndex.build(
        [f"v{version}", "b", "c"],
        np.eye(3, dtype=np.float32),
        encoder_fingerprint=f"f{version}",
    )


def numbers(root):
    return [one.number for one in versions(root)]


def current(root):
    return int(current_folder(root).name)


@pytest.fixture
def root(tmp_path):
    """Versions 1, 2 and 3, of which 3 is current."""
    for version in (1, 2, 3):
        assert publish(small(version), tmp_path / "root") == version
    return tmp_path / "root"


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_version_published_last_is_opened(root):
    assert open_current(root).ids == ("v3", "b", "c")
    assert current_folder(root) == root / "3"


def test_versions_tell_what_each_holds(root):
    found = versions(root)
    assert [one.number for one in found] == [1, 2, 3]
    assert [one.is_current for one in found] == [False, False, True]
    assert [one.encoder_fingerprint for one in found] == ["f1", "f2", "f3"]
    assert {(one.n, one.kind) for one in found} == {(3, "exact")}
    assert [one.folder for one in found] == [root / "1", root / "2", root / "3"]
    age = datetime.now(timezone.utc) - found[0].saved
    assert timedelta(minutes=-1) < age < timedelta(minutes=5)


def test_numbers_count_beyond_nine(root):
    for version in range(4, 12):
        publish(small(version), root)
    assert numbers(root) == list(range(1, 12))


def test_rollback_goes_back_step_by_step(root):
    assert rollback(root) == 2
    assert open_current(root).ids[0] == "v2"
    assert rollback(root) == 1
    with pytest.raises(InputError, match=r"no version was current before version 1"):
        rollback(root)
    assert current(root) == 1


def test_rollback_goes_to_the_version_current_before_not_to_the_number_before(root):
    switch(root, 1)
    assert rollback(root) == 3


def test_rollback_steps_over_a_version_that_is_gone(root):
    shutil.rmtree(root / "2")
    assert rollback(root) == 1


def test_a_switch_to_the_current_version_leaves_its_history(root):
    switch(root, 3)
    assert rollback(root) == 2


def test_a_version_is_published_after_a_rollback_with_a_number_of_its_own(root):
    rollback(root)
    assert prune(root) == [3]
    # 3 is free in the folder, but a reader may still be busy with the old one.
    assert publish(small(4), root) == 4
    assert rollback(root) == 2


def test_the_history_stays_short(root):
    for version in range(4, 20):
        publish(small(version), root)
    before = json.loads((root / "current").read_text())["before"]
    assert before == list(range(9, 19))


@pytest.mark.parametrize("version", [0, 4, 99])
def test_switch_to_no_version_is_refused(root, version):
    with pytest.raises(
        InputError, match=rf"no version {version}; the versions are: 1, 2, 3"
    ):
        switch(root, version)
    assert current(root) == 3


def test_a_damaged_version_does_not_become_current(root):
    path = root / "2" / "embeddings.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for attempt in (lambda: switch(root, 2), lambda: rollback(root)):
        with pytest.raises(ModelError, match=r"2/embeddings\.npy is not the file"):
            attempt()
    assert current(root) == 3


@pytest.mark.parametrize(
    ("keep", "gone"), [(2, [1, 2, 3]), (3, [1, 2]), (4, [1]), (5, []), (9, [])]
)
def test_prune_keeps_the_newest(root, keep, gone):
    for version in (4, 5):
        publish(small(version), root)
    assert prune(root, keep=keep) == gone
    assert numbers(root) == [one for one in range(1, 6) if one not in gone]
    assert rollback(root) == 4


def test_prune_spares_the_current_version_and_the_one_before_however_old(root):
    for version in (4, 5):
        publish(small(version), root)
    switch(root, 2)
    switch(root, 1)
    assert prune(root, keep=2) == [3, 4, 5]
    assert (current(root), rollback(root)) == (1, 2)


def test_prune_keeps_two_at_least(root):
    with pytest.raises(ValueError, match="keep must be at least 2 .* got 1"):
        prune(root, keep=1)


def test_an_open_version_lives_on_when_it_is_pruned(tmp_path):
    publish(index_of(1), tmp_path)
    opened = open_current(tmp_path)
    for version in (2, 3):
        publish(index_of(version), tmp_path)
    assert prune(tmp_path) == [1]
    assert version_of(opened) == 1


def test_resolved_is_the_current_version_of_a_root_and_else_the_folder_itself(root):
    assert resolved(root) == root / "3"
    assert resolved(root / "1") == root / "1"
    assert resolved(str(root / "nowhere")) == root / "nowhere"


def test_a_root_can_be_moved(root, tmp_path):
    root.rename(tmp_path / "moved")
    assert open_current(tmp_path / "moved").ids[0] == "v3"


def test_an_index_of_another_encoder_is_refused(root):
    assert len(open_current(root, encoder_fingerprint="f3")) == 3
    with pytest.raises(FingerprintError, match="belongs to encoder f3, but encoder f2"):
        open_current(root, encoder_fingerprint="f2")


def test_a_version_replaced_under_its_reader_is_opened_anew(root):
    tried = []

    def load(folder):
        tried.append(folder.name)
        if len(tried) == 1:
            publish(small(4), root)
            publish(small(5), root)
            assert prune(root) == [1, 2, 3]
        return open_current(root).ids[0] if folder.exists() else missing(folder)

    def missing(folder):
        raise ModelError(f"{folder} is gone")

    assert load_resolved(root, load) == "v5"
    assert tried == ["3", "5"]


def test_opening_gives_up_on_a_root_that_never_stands_still(root):
    def load(folder):
        switch(root, 1 if folder.name == "2" else 2)
        raise FileNotFoundError(folder)

    with pytest.raises(SimprodError, match="replaced and deleted 20 times"):
        load_resolved(root, load)


def test_damage_of_the_current_version_is_no_reason_to_try_again(root):
    (root / "3" / "embeddings.npy").unlink()
    with pytest.raises(ModelError, match=r"3/embeddings\.npy is missing"):
        open_current(root)


def test_nothing_published_is_said(tmp_path):
    with pytest.raises(ModelError, match="has no current version of an index"):
        open_current(tmp_path)
    with pytest.raises(InputError, match="no such folder of index versions"):
        rollback(tmp_path / "nowhere")
    assert versions(tmp_path) == []


def test_one_index_is_told_from_a_folder_of_versions(root):
    with pytest.raises(ModelError, match="3 is one index, expected a folder of versio"):
        open_current(root / "3")


def test_a_file_is_no_folder_of_versions(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text("id\n")
    with pytest.raises(InputError, match="is a file, expected a folder of versions"):
        current_folder(path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": "x"}'])
def test_a_damaged_current_file_tells_the_way_out(root, content):
    (root / "current").write_text(content)
    with pytest.raises(ModelError, match=r"current is damaged .* rollback ROOT --to N"):
        open_current(root)
    (root / "current").unlink()
    switch(root, 2)
    assert open_current(root).ids[0] == "v2"


def test_a_damaged_manifest_is_named_in_the_list(root):
    (root / "2" / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match=r"2/manifest\.json cannot be read"):
        versions(root)


def test_a_place_of_something_else_is_left_alone(tmp_path):
    small(1).save(tmp_path / "index")
    (tmp_path / "model" / "1").mkdir(parents=True)
    (tmp_path / "model" / "1" / "saved_model.pb").touch()
    (tmp_path / "file").touch()
    for name, reason in (
        ("index", "which is no version of an index"),
        ("model", "holds '1', which is no version of an index"),
        ("file", "is a file; name a folder for the versions"),
    ):
        with pytest.raises(InputError, match=reason):
            publish(small(2), tmp_path / name)


def test_a_second_writer_is_refused_and_changes_nothing(root):
    with open(root / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for write in (
            lambda: publish(small(4), root),
            lambda: switch(root, 1),
            lambda: rollback(root),
            lambda: prune(root),
        ):
            with pytest.raises(InputError, match="another process is publishing"):
                write()
    assert (numbers(root), current(root)) == ([1, 2, 3], 3)
    # The lock file of a writer that is gone holds nobody up.
    assert publish(small(4), root) == 4


def test_threads_that_publish_at_once_get_a_number_each_or_are_refused(tmp_path):
    given, refused = [], []

    def write():
        for _ in range(5):
            try:
                given.append(publish(small(1), tmp_path / "root"))
            except InputError as error:
                refused.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) + len(refused) == 20
    assert sorted(given) == numbers(tmp_path / "root") == list(range(1, len(given) + 1))


def test_a_failed_save_leaves_the_old_version_and_nothing_else(root):
    class FullDisk(ExactIndex):
        def _write_searcher(self, folder):
            raise OSError("No space left on device")

    index = FullDisk.build(["a"], np.eye(1, dtype=np.float32), encoder_fingerprint="f")
    with pytest.raises(OSError, match="No space"):
        publish(index, root)
    assert {path.name for path in root.iterdir()} == {"1", "2", "3", "current", ".lock"}
    assert current(root) == 3


def test_threads_read_whole_versions_while_one_is_published(tmp_path):
    root, results = tmp_path / "root", []
    publish(index_of(1), root)
    began = threading.Barrier(4)

    def read():
        results.append(read_until(root, 21, began.wait))

    readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for reader in readers:
        reader.start()
    began.wait(timeout=60)
    for version in range(2, 22):
        publish(index_of(version), root)
        prune(root)
    for reader in readers:
        reader.join(timeout=60)
    # One that failed has no result.
    assert len(results) == 3
    assert all(seen[0] == 1 and seen == sorted(seen) for seen in results)
    assert numbers(root) == [20, 21]


def test_processes_read_whole_versions_while_one_is_published(tmp_path):
    root = tmp_path / "root"
    publish(index_of(1), root)
    readers = [start("read", root, 21) for _ in range(3)]
    for reader in readers:
        assert reader.stdout.readline() == "reading\n", reader.stderr.read()
    for version in range(2, 22):
        publish(index_of(version), root)
        prune(root)
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        seen = json.loads(out)
        assert (seen[0], seen[-1]) == (1, 21)
        assert seen == sorted(seen)


@pytest.mark.parametrize("where", ["hang-in-save", "hang-before-switch"])
def test_a_writer_killed_in_its_midst_leaves_the_old_version(tmp_path, where):
    root = tmp_path / "root"
    publish(index_of(1), root)
    writer = start(where, root)
    assert writer.stdout.readline() == "hanging\n", writer.stderr.read()
    with pytest.raises(InputError, match="another process is publishing"):
        rollback(root)
    writer.kill()
    writer.communicate()
    assert version_of(open_current(root)) == 1
    left = 2 if where == "hang-before-switch" else 1
    assert publish(index_of(9), root) == left + 1
    assert version_of(open_current(root)) == 9
    assert not [path for path in os.listdir(root) if path.startswith(".2")]
    assert rollback(root) == 1


@pytest.mark.slow
def test_processes_read_while_others_publish_and_are_killed(tmp_path):
    root, last = tmp_path / "root", 10**6
    publish(index_of(1), root)
    readers = [start("read", root, last) for _ in range(3)]
    rng = np.random.default_rng(0)
    for _ in range(10):
        writer = start("publish", root)
        assert writer.stdout.readline() == "publishing\n", writer.stderr.read()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=float(rng.uniform(0.05, 0.6)))
        writer.kill()
        writer.communicate()
        version_of(open_current(root))
    publish(index_of(last), root)
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        # The line that told of the beginning stands there still.
        assert json.loads(out.splitlines()[-1])[-1] == last
    prune(root)
    assert len(versions(root)) == 2
    assert {one for one in os.listdir(root) if one.startswith(".")} == {".lock"}
