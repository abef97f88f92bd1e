"""The bundle: three things of one fingerprint, replaced together or not at all."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from simprod_tf.errors import FingerprintError, InputError, ModelError, RecallError
from simprod_tf.index.answer import Drift
from simprod_tf.index.versions import current_folder, publish
from simprod_tf.matching.decisions import write_decisions
from simprod_tf.serving.similar.bundle import Bundle, BundleOptions
from simprod_tf.serving.similar.changes import removed
from simprod_tf.serving.similar.store import StoreOptions

_spec = importlib.util.spec_from_file_location(
    "similar_process", Path(__file__).with_name("similar_process.py")
)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)

NO_CHECKPOINT = StoreOptions(checkpoint_on_close=False)


class Encoders:
    """A model's folder with an encoder of each fingerprint that is named."""

    def __init__(self, *fingerprints):
        self.fingerprints = list(fingerprints)

    def __call__(self, model, fingerprint):
        if fingerprint not in self.fingerprints:
            raise FingerprintError(f"{model} holds no {fingerprint}")
        return shop.FakeEncoder(fingerprint)


@pytest.fixture
def root(tmp_path):
    shop.publish_shop(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def opened(root, tmp_path):
    """A function that opens bundles over the root, without a watcher."""
    bundles = []

    def open_bundle(encoders=None, *, poll=0.0, store=NO_CHECKPOINT, **more):
        encoders = encoders or Encoders("f1")
        options = BundleOptions(
            tmp_path / "model", root, poll_seconds=poll, store=store, **more
        )
        bundles.append(Bundle(options, open_encoder=encoders))
        return bundles[-1]

    yield open_bundle
    for bundle in bundles:
        bundle.close()


def publish_other(root, fingerprint="f2"):
    encoder = shop.FakeEncoder(fingerprint)
    return publish(shop.index_of(["theirs"], encoder=encoder), root)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_encoder_of_the_indexs_fingerprint_is_taken(opened):
    bundle = opened(Encoders("f2", "f1"))
    assert (bundle.trio.fingerprint, bundle.trio.version) == ("f1", 1)
    assert bundle.trio.decisions is None


def test_an_index_without_its_encoder_is_refused(opened):
    with pytest.raises(FingerprintError, match="holds no f1"):
        opened(Encoders("f2"))


def test_a_folder_without_versions_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no current version"):
        Bundle(BundleOptions(tmp_path, tmp_path), open_encoder=Encoders("f1"))


def test_decisions_come_from_the_file_or_from_training(opened, root, tmp_path):
    trained = shop.decision_of(max_distance=0.3).to_json()
    publish(shop.index_of(["a"], extra={"decision": trained}), root)
    bundle = opened()
    assert bundle.trio.decisions.whole.max_distance == 0.3
    bundle.close()
    path = tmp_path / "decisions.json"
    write_decisions(shop.decisions_of(max_distance=0.4), path)
    assert opened(decisions=path).trio.decisions.whole.max_distance == 0.4


def test_decisions_of_another_encoder_are_refused(opened, tmp_path):
    path = tmp_path / "decisions.json"
    write_decisions(shop.decisions_of("f2"), path)
    with pytest.raises(FingerprintError, match="chosen for the encoder f2, got f1"):
        opened(decisions=path)


def test_missing_decisions_are_told(opened, tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        opened(decisions=tmp_path / "decisions.json")


def test_encoder_and_index_are_replaced_together(opened, root):
    bundle = opened(Encoders("f1", "f2"))
    bundle.store.change(shop.adding("new", trio=bundle.trio))
    publish_other(root)
    bundle.refresh()
    assert (bundle.trio.fingerprint, bundle.trio.encoder.fingerprint) == ("f2", "f2")
    held = bundle.trio.index.embedding("new")
    np.testing.assert_array_equal(held, shop.FakeEncoder("f2").vector("new"))


def test_without_the_new_encoder_the_old_trio_goes_on(opened, root):
    encoders = Encoders("f1")
    bundle = opened(encoders)
    publish_other(root)
    with pytest.raises(FingerprintError, match="holds no f2"):
        bundle.refresh()
    assert bundle.trio.fingerprint == "f1"
    encoders.fingerprints.append("f2")
    bundle.refresh()
    assert bundle.trio.fingerprint == "f2"


def test_without_its_decisions_the_new_index_waits(opened, root, tmp_path):
    path = tmp_path / "decisions.json"
    write_decisions(shop.decisions_of("f1"), path)
    bundle = opened(Encoders("f1", "f2"), decisions=path)
    publish_other(root)
    with pytest.raises(FingerprintError, match="chosen for the encoder f1, got f2"):
        bundle.refresh()
    assert bundle.trio.fingerprint == "f1"
    write_decisions(shop.decisions_of("f2", max_distance=0.2), path)
    bundle.refresh()
    trio = bundle.trio
    assert (trio.fingerprint, trio.decisions.whole.max_distance) == ("f2", 0.2)


def test_new_decisions_come_into_use(opened, tmp_path):
    path = tmp_path / "decisions.json"
    write_decisions(shop.decisions_of(max_distance=0.4), path)
    bundle = opened(decisions=path)
    index, lock = bundle.trio.index, bundle.trio.lock
    write_decisions(shop.decisions_of(max_distance=0.7), path)
    bundle.refresh()
    assert bundle.trio.decisions.whole.max_distance == 0.7
    assert (bundle.trio.index, bundle.trio.lock) == (index, lock)


def test_a_long_log_becomes_a_version(opened, root):
    bundle = opened(store=StoreOptions(checkpoint_records=1, checkpoint_on_close=False))
    bundle.store.change(removed(["old 1"]))
    bundle.refresh()
    assert (bundle.trio.version, bundle.store.num_records) == (2, 0)


def test_an_index_whose_recall_fell_is_trained_anew(opened, root, monkeypatch):
    bundle = opened(store=StoreOptions(checkpoint_records=1, checkpoint_on_close=False))
    fallen = Drift(0.5, recall=0.8, recall_of_changed=0.8, wanted=0.99, num_queries=200)
    monkeypatch.setattr(bundle.store, "drift", lambda: fallen)
    bundle.store.change(removed(["old 1"]))
    bundle.refresh()
    assert int(current_folder(root).name) == 3
    assert bundle.trio.version == 3


def test_the_watcher_follows_and_tells_what_is_missing(opened, root):
    encoders = Encoders("f1")
    bundle = opened(encoders, poll=0.005)
    publish_other(root)
    until(lambda: "holds no f2" in bundle.problem)
    assert bundle.trio.fingerprint == "f1"
    encoders.fingerprints.append("f2")
    until(lambda: bundle.trio.fingerprint == "f2")
    until(lambda: not bundle.problem)


def test_a_failed_training_is_a_problem_not_an_end(opened, monkeypatch):
    def fail():
        raise RecallError("recall 0.8 of 0.99")

    due = StoreOptions(checkpoint_bytes=1, checkpoint_on_close=False)
    bundle = opened(poll=0.005, store=due)
    monkeypatch.setattr(bundle.store, "checkpoint", fail)
    until(lambda: bundle.problem == "recall 0.8 of 0.99")
    bundle.store.change(removed(["old 1"]))
    assert "old 1" not in bundle.trio.index


def test_leaving_it_makes_a_checkpoint(root, tmp_path):
    options = BundleOptions(tmp_path, root, log=tmp_path / "log")
    with Bundle(options, open_encoder=Encoders("f1")) as bundle:
        bundle.store.change(removed(["old 1"]))
    assert int(current_folder(root).name) == 2
    assert (tmp_path / "log").is_dir()
    assert not (root / "log").exists()


def test_a_poll_before_now_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="poll_seconds is at least 0, got -1"):
        BundleOptions(tmp_path, tmp_path, poll_seconds=-1)
