"""The store: changes are durable once made, searches see all of a change or nothing."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import FingerprintError, InputError
from simprod_tf.index.build import load_index
from simprod_tf.index.versions import current_folder, publish, versions
from simprod_tf.serving.similar.changes import added, removed
from simprod_tf.serving.similar.log_file import LogError
from simprod_tf.serving.similar.readers_writer_lock import ReadersWriterLock
from simprod_tf.serving.similar.store import StoreOptions, _Pending
from simprod_tf.serving.similar.trio import OutdatedError

SCRIPT = Path(__file__).with_name("similar_process.py")
_spec = importlib.util.spec_from_file_location("similar_process", SCRIPT)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)
adding, open_store, product = shop.adding, shop.open_store, shop.product


@pytest.fixture
def root(tmp_path):
    """Version 1 of an index of twenty products, `old 0` to `old 19`."""
    shop.publish_shop(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def store(root):
    one = open_store(root, checkpoint_on_close=False)
    yield one
    one.close()


def after_a_kill(root, tmp_path, **options):
    """Opens a copy of what is on disk now, as a kill would leave it."""
    copy = tmp_path / f"killed-{random.random()}"
    shutil.copytree(root, copy)
    return open_store(copy, checkpoint_on_close=False, **options)


def state(store):
    """Returns the ids with the embeddings that the index holds."""
    index = store.trio.index
    return {id: index.embedding(id).tolist() for id in index.ids}


def current(root):
    return int(current_folder(root).name)


def test_an_added_product_is_found_and_survives(store, root, tmp_path):
    outcome = store.change(adding("new", "old 3", trio=store.trio))
    assert (outcome.count, outcome.num_products, outcome.version) == (1, 21, 1)
    again = after_a_kill(root, tmp_path)
    wanted = store.trio.encoder.vector("new")
    assert again.trio.index.search(wanted[None], k=1)[0][0].id == "new"
    assert state(again) == state(store)


def test_a_removed_product_is_gone_and_stays_so(store, root, tmp_path):
    assert store.change(removed(["old 3", "old 5"])).count == 2
    assert "old 3" not in store.trio.index
    assert set(state(after_a_kill(root, tmp_path))) == set(state(store))
    assert len(store.trio.index) == 18


def test_a_missing_product_is_named_and_nothing_is_removed(store):
    with pytest.raises(KeyError, match="holds no product 'nobody'"):
        store.change(removed(["old 3", "nobody"]))
    assert len(store.trio.index) == 20
    assert store.num_records == 0


def test_a_missing_product_may_be_passed_over(store):
    outcome = store.change(removed(["old 3", "nobody"], allow_missing=True))
    assert outcome.count == 1


def test_a_replaced_product_has_its_last_embedding(store, root, tmp_path):
    for title in ("first", "second"):
        store.change(adding(product("new", title=title), trio=store.trio))
    again = after_a_kill(root, tmp_path)
    wanted = store.trio.encoder.vector("second")
    np.testing.assert_array_equal(again.trio.index.embedding("new"), wanted)


def test_attributes_are_there_again(tmp_path):
    prices = {"price": [1.0, 2.0], "colour": ["red", "blue"]}
    root = tmp_path / "root"
    publish(shop.index_of(["a", "b"], attributes=prices), root)
    store = open_store(root, checkpoint_on_close=False)
    store.change(adding(product("c", price=3, colour="red"), trio=store.trio))
    store.change(adding(product("d"), trio=store.trio))
    for one in (store, after_a_kill(root, tmp_path)):
        index = one.trio.index
        assert [index.ids[row] for row in index.rows_where("price > 1")] == ["b", "c"]
        assert [index.ids[row] for row in index.rows_where("price IS NULL")] == ["d"]


def test_changes_that_wait_together_share_one_sync(store, monkeypatch):
    entered, free, syncs = threading.Event(), threading.Event(), []
    real = os.fdatasync

    def slow(handle):
        entered.set()
        syncs.append(handle)
        assert free.wait(30)
        real(handle)

    monkeypatch.setattr(os, "fdatasync", slow)
    changes = [adding(f"new {number}", trio=store.trio) for number in range(9)]
    threads = [threading.Thread(target=store.change, args=(one,)) for one in changes]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(store._pending) < 8:
        threading.Event().wait(0.001)
    free.set()
    for thread in threads:
        thread.join(30)
    assert len(syncs) == 2
    assert len(store.trio.index) == 29


def test_changes_of_one_group_follow_each_other(store):
    """To remove what the same group adds is right, to remove it twice is not."""
    adds, removes = adding("new", trio=store.trio), removed(["new"])
    pending = [_Pending(one) for one in (adds, removes, removed(["new"]))]
    store._pending.extend(pending)
    store._run(store._commit).result()
    assert [one.error is None for one in pending] == [True, True, False]
    assert store.num_records == 2


def test_an_unwritable_log_changes_nothing(store, monkeypatch):
    def fail(records):
        raise LogError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(store._log, "append", fail)
        with pytest.raises(LogError, match="the disk is full"):
            store.change(adding("new", trio=store.trio))
    assert "new" not in store.trio.index
    store.change(adding("new", trio=store.trio))
    assert "new" in store.trio.index


def test_memory_that_failed_takes_no_further_changes(
    store, root, tmp_path, monkeypatch
):
    def fail(change):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(type(store.trio), "take", lambda self, change: fail(change))
        with pytest.raises(MemoryError):
            store.change(adding("new", trio=store.trio))
    with pytest.raises(LogError, match="when the server starts again"):
        store.change(removed(["old 3"]))
    assert "new" in after_a_kill(root, tmp_path).trio.index


def test_a_closed_store_takes_no_changes(store):
    store.close()
    with pytest.raises(LogError, match="closing"):
        store.change(removed(["old 3"]))


def test_a_change_for_another_encoder_is_outdated(store):
    other = shop.FakeEncoder("f2")
    with pytest.raises(OutdatedError, match="now f1 is in use"):
        store.change(adding("new", trio=store.trio, encoder=other))


def test_a_second_store_is_kept_out(store, root):
    with pytest.raises(InputError, match="another server writes this log"):
        open_store(root)


def test_an_encoder_of_another_fingerprint_is_refused(root):
    with pytest.raises(FingerprintError, match="belongs to encoder f1"):
        shop.trio_of(root, encoder=shop.FakeEncoder("f2"))


def test_a_checkpoint_moves_the_log_into_a_version(store, root, tmp_path):
    store.change(adding("new", trio=store.trio))
    assert store.checkpoint() == 2
    assert (current(root), store.trio.version, store.num_records) == (2, 2, 0)
    assert "new" in load_index(root / "2")
    store.change(removed(["new"]))
    again = after_a_kill(root, tmp_path)
    assert (again.num_records, "new" in again.trio.index) == (1, False)


def test_without_changes_there_is_no_checkpoint(store, root):
    assert store.checkpoint() is None
    assert current(root) == 1


def test_a_checkpoint_is_due_by_records_or_bytes(root):
    store = open_store(root, checkpoint_records=2, checkpoint_on_close=False)
    store.change(removed(["old 1"]))
    assert not store.is_checkpoint_due
    store.change(removed(["old 2"]))
    assert store.is_checkpoint_due
    store.close()
    assert open_store(root, checkpoint_bytes=1).is_checkpoint_due


def test_closing_makes_a_checkpoint(root):
    store = open_store(root)
    store.change(removed(["old 1"]))
    store.close()
    store.close()
    assert current(root) == 2
    assert "old 1" not in load_index(root)


def test_old_versions_are_pruned(root):
    store = open_store(root, keep_versions=2)
    for number in range(4):
        store.change(removed([f"old {number}"]))
        store.checkpoint()
    assert [one.number for one in versions(root)] == [4, 5]


def test_options_are_checked():
    with pytest.raises(ValueError, match="at least 1, got 0 and"):
        StoreOptions(checkpoint_records=0)
    with pytest.raises(ValueError, match="keep_versions is at least 2, got 1"):
        StoreOptions(keep_versions=1)


def test_a_kill_at_any_step_of_a_checkpoint_loses_nothing(root, tmp_path, monkeypatch):
    """What lies on disk before each call that changes it, opens to the same state."""
    store = open_store(root, keep_versions=2, checkpoint_on_close=False)
    for number in range(3):
        store.change(adding("new", f"new {number}", trio=store.trio))
        store.change(removed([f"old {number}", "new"]))
        if number < 2:
            store.checkpoint()
    expected, copies = state(store), []

    def watched(module, name):
        real = getattr(module, name)

        def call(*args, **options):
            copy = tmp_path / f"step {len(copies)}"
            shutil.copytree(root, copy, copy_function=shutil.copyfile)
            copies.append((name, copy))
            return real(*args, **options)

        monkeypatch.setattr(module, name, call)

    with monkeypatch.context():
        for name in ("replace", "unlink", "fsync"):
            watched(os, name)
        store.checkpoint()
        monkeypatch.undo()
    assert {name for name, _ in copies} == {"replace", "unlink", "fsync"}
    # The next version alone, both versions with the log, and the log dropped.
    seen = set()
    for _, copy in copies:
        again = open_store(copy, checkpoint_on_close=False)
        assert state(again) == expected
        seen.add((current(copy), again.num_records > 0))
        again.close()
    assert seen == {(3, True), (4, True), (4, False)}


def test_a_version_published_by_somebody_else_gets_the_changes(store, root):
    store.change(adding("new", trio=store.trio))
    store.change(removed(["old 3"]))
    publish(shop.index_of(["old 3", "theirs"]), root)
    # Theirs goes first: a checkpoint now would hide it.
    assert store.checkpoint() is None
    store.switch(shop.trio_of(root))
    assert sorted(state(store)) == ["new", "theirs"]
    assert store.trio.version == 2
    assert store.checkpoint() == 3


def test_another_encoder_encodes_the_changes_anew(store, root, tmp_path):
    store.change(adding(product("new", title="a mug"), trio=store.trio))
    other = shop.FakeEncoder("f2")
    publish(shop.index_of(["theirs"], encoder=other), root)
    store.switch(shop.trio_of(root, encoder=other))
    for one in (store, after_a_kill(root, tmp_path, encoder=other)):
        held = one.trio.index.embedding("new")
        np.testing.assert_array_equal(held, other.vector("a mug"))
        assert one.trio.fingerprint == "f2"


def test_what_cannot_be_encoded_anew_is_named_and_kept_on_disk(store, root, caplog):
    store.change(adding("new", trio=store.trio))
    given = added(
        [product("given", title="")],
        np.eye(1, 8, dtype=np.float32),
        schema=None,
        encoder_fingerprint="f1",
    )
    store.change(given)
    other = shop.FakeEncoder("f2")
    publish(shop.index_of(["theirs"], encoder=other), root)
    store.switch(shop.trio_of(root, encoder=other))
    assert sorted(store.trio.index.ids) == ["new", "theirs"]
    assert "product 'given' cannot be encoded by f2" in caplog.text
    store.checkpoint()
    assert (root / "log" / "1.log.left").exists()


def test_a_switch_leaves_running_searches_on_the_old_trio(store, root):
    old = store.trio
    publish(shop.index_of(["theirs"]), root)
    store.switch(shop.trio_of(root))
    assert len(old.index) == 20
    assert store.trio is not old


def test_compacting_publishes_a_copy_for_the_next_switch(store, root):
    store.change(adding("new", trio=store.trio))
    assert store.compact() == 3
    assert (store.trio.version, current(root)) == (2, 3)
    store.change(adding("newer", trio=store.trio))
    store.switch(shop.trio_of(root))
    assert {"new", "newer"} < set(store.trio.index.ids)


def test_what_a_view_holds_of_a_replaced_product_goes(tmp_path):
    index = shop.index_of(["a", "b"])
    index.attach({"text": shop.index_of(["a", "b"])})
    publish(index, tmp_path / "root")
    store = open_store(tmp_path / "root", checkpoint_on_close=False)
    store.change(adding("a", "c", trio=store.trio))
    assert store.trio.index.views["text"].ids == ("b",)


def test_searches_run_while_a_group_is_being_synced(store, monkeypatch):
    entered, free = threading.Event(), threading.Event()

    def slow(handle):
        entered.set()
        assert free.wait(30)

    monkeypatch.setattr(os, "fdatasync", slow)
    change = adding("new", trio=store.trio)
    thread = threading.Thread(target=store.change, args=(change,))
    thread.start()
    assert entered.wait(30)
    with store.trio.lock.reading():
        # Not acknowledged, not on disk: not found.
        assert len(store.trio.index) == 20
    free.set()
    thread.join(30)
    assert len(store.trio.index) == 21


def test_a_writer_waits_for_readers_and_keeps_new_ones_out():
    lock, order = ReadersWriterLock(), []
    reads, wrote = threading.Event(), threading.Event()

    def write():
        with lock.writing():
            order.append("written")
        wrote.set()

    def read():
        with lock.reading():
            order.append("read")
        reads.set()

    with lock.reading(), lock.reading():
        writer = threading.Thread(target=write)
        writer.start()
        while not lock._num_waiting:
            threading.Event().wait(0.001)
        reader = threading.Thread(target=read)
        reader.start()
        assert not reads.wait(0.05)
        assert order == []
    assert wrote.wait(30)
    assert reads.wait(30)
    assert order == ["written", "read"]


class Killed:
    """A process that changes a root until it is killed, again and again."""

    def __init__(self, root):
        self.root = root
        self._script = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, seed, *, seconds):
        """Returns the lines said by a child that is killed after some time."""
        self._script.stdin.write(f"{self.root} {seed}\n")
        self._script.stdin.flush()
        first = self._script.stdout.readline()
        while not first.startswith("pid "):
            first = self._script.stdout.readline()
        timer = threading.Timer(
            seconds, os.kill, [int(first.split()[1]), signal.SIGKILL]
        )
        timer.start()
        lines = []
        while (line := self._script.stdout.readline()) != "dead\n":
            lines.append(line.split())
        timer.cancel()
        return lines

    def close(self):
        self._script.stdin.close()
        self._script.wait(30)


@pytest.mark.slow
def test_fifty_kills_lose_no_acknowledged_change(root):
    """Every acknowledged group is there whole, every removed one is gone, none half."""
    chance = random.Random(7)
    process, groups, acknowledged = Killed(root), {}, 0
    for seed in range(50):
        lines = process.run(seed, seconds=chance.uniform(0.0, 0.3))
        # What was tried last and not answered may have happened or not.
        open_ones = {}
        for word, *rest in lines:
            if word == "try":
                open_ones[rest[1]] = rest[0]
            elif word == "ok":
                groups[rest[1]] = open_ones.pop(rest[1]) == "add"
                acknowledged += 1
        store = open_store(root, checkpoint_on_close=bool(seed % 2))
        index = store.trio.index
        for group in {**groups, **open_ones}:
            held = [id for id in shop.ids_of(group) if id in index]
            assert len(held) in (0, shop.GROUP), f"{group} is there half"
            if group not in open_ones:
                assert bool(held) == groups[group], f"{group}, seed {seed}"
            groups[group] = bool(held)
            for id in held:
                wanted = store.trio.encoder.vector(id)
                np.testing.assert_array_equal(index.embedding(id), wanted)
        assert len(index) == 20 + shop.GROUP * sum(groups.values())
        store.close()
    process.close()
    assert acknowledged > 500
