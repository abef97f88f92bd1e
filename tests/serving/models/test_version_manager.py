"""What is loaded and unloaded, in which order, when folders change or are broken."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from simprod_tf.errors import ModelError
from simprod_tf.serving.models import version_manager
from simprod_tf.serving.models.servable_pool import ServablePool
from simprod_tf.serving.models.version_manager import VersionManager
from simprod_tf.serving.models.version_states import VersionStates

START, LOADING, AVAILABLE, UNLOADING, END = (
    ModelVersionStatus.State.Value(name)
    for name in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
)


class Shop:
    """A manager of the model shop; a version is broken while its file says so."""

    def __init__(self, base):
        self.base = base
        self.base.mkdir()
        self.events = []
        self.pool = ServablePool(lambda: None)
        self.states = VersionStates()
        self.manager = VersionManager(self.pool, self.states, self.load)

    def load(self, name, version, folder):
        self.events.append(f"load {version}")
        if (folder / "saved_model.pb").read_text() == "broken":
            cause = tf.errors.DataLossError(None, None, "no checksum")
            raise ModelError(f"{folder.name} cannot be loaded") from cause
        return SimpleNamespace(
            name=name,
            version=version,
            folder=folder,
            close=lambda: self.events.append(f"close {version}"),
        )

    def put(self, version, content="good", *, base=None):
        folder = (base or self.base) / str(version)
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "saved_model.pb").write_text(content)

    def remove(self, version):
        (self.base / str(version) / "saved_model.pb").unlink()
        (self.base / str(version)).rmdir()

    def update(self, policy="", *, base=None):
        model = text_format.Parse(f"model_version_policy {{ {policy} }}", ModelConfig())
        model.name, model.base_path = "shop", str(base or self.base)
        shortfalls = self.manager.update([model])
        self.manager.close_idle()
        events, self.events = self.events, []
        return events, {name: one.text for name, one in shortfalls.items()}

    def serving(self):
        return sorted(self.pool.serving("shop"))

    def told(self):
        return [(one.version, one.state) for one in self.states.of("shop")]


@pytest.fixture
def shop(tmp_path):
    """A manager of one model, whose folder is empty."""
    return Shop(tmp_path / "shop")


def test_the_new_version_is_loaded_before_the_old_one_is_closed(shop):
    shop.put(1)
    assert shop.update() == (["load 1"], {})
    assert shop.update() == ([], {})
    shop.put(2)
    assert shop.update() == (["load 2", "close 1"], {})
    assert shop.told() == [(2, AVAILABLE), (1, END)]


def test_several_versions_are_loaded_newest_first(shop):
    for version in (1, 2, 10):
        shop.put(version)
    assert shop.update("latest { num_versions: 2 }")[0] == ["load 10", "load 2"]
    assert shop.update("all { }")[0] == ["load 1"]
    assert sorted(shop.update("specific { versions: 2 }")[0]) == ["close 1", "close 10"]
    assert shop.serving() == [2]


def test_states_pass_in_their_order(shop, monkeypatch):
    put, seen = shop.states.put, []
    monkeypatch.setattr(
        shop.states,
        "put",
        lambda name, version, state: (
            seen.append((version, state)),
            put(name, version, state),
        ),
    )
    shop.put(1)
    shop.update()
    shop.manager.update([])
    shop.manager.close_idle()
    assert seen == [(1, one) for one in (START, LOADING, AVAILABLE, UNLOADING, END)]


def test_a_version_in_use_is_unloading_until_its_last_request_ends(shop):
    shop.put(1)
    shop.update()
    with shop.pool.lease("shop", None):
        shop.put(2)
        assert shop.update()[0] == ["load 2"]
        assert shop.told() == [(2, AVAILABLE), (1, UNLOADING)]
    assert shop.update()[0] == ["close 1"]
    assert shop.told() == [(2, AVAILABLE), (1, END)]


def test_a_broken_version_leaves_the_old_one_serving_and_tells_its_error(shop):
    shop.put(1)
    shop.update()
    shop.put(2, "broken")
    assert shop.update() == (["load 2"], {})
    assert shop.serving() == [1]
    (status,) = shop.states.of("shop", 2)
    assert status.state == END
    assert status.status.error_code == tf.errors.DATA_LOSS
    assert status.status.error_message == "2 cannot be loaded"


def test_a_broken_version_alone_is_a_shortfall_that_will_not_pass(shop):
    shop.put(1, "broken")
    assert shop.update()[1] == {"shop": "1 cannot be loaded"}


def test_a_broken_version_is_tried_again_when_its_folder_changes(shop):
    shop.put(2, "broken")
    assert shop.update()[0] == ["load 2"]
    assert shop.update()[0] == []
    # Of the same size: the time of change tells it.
    shop.put(2, "mended")
    path = shop.base / "2" / "saved_model.pb"
    os.utime(path, ns=(1, 1))
    assert shop.update() == (["load 2"], {})
    assert shop.told() == [(2, AVAILABLE)]


def test_a_broken_version_that_was_removed_may_come_back(shop):
    shop.put(1)
    shop.put(2, "broken")
    assert shop.update()[0] == ["load 2"]
    shop.remove(2)
    assert shop.update()[0] == ["load 1"]
    shop.put(2)
    assert shop.update()[0] == ["load 2", "close 1"]


def test_an_unchanged_broken_version_is_tried_again_five_times(shop, monkeypatch):
    monkeypatch.setattr(version_manager, "RETRY_SECONDS", 0.0)
    shop.put(1, "broken")
    events = [event for _ in range(9) for event in shop.update()[0]]
    assert events == ["load 1"] * 6


def test_a_half_written_version_is_not_looked_at(shop):
    shop.put(1)
    (shop.base / "2" / "variables").mkdir(parents=True)
    assert shop.update()[0] == ["load 1"]
    shop.put(2)
    assert shop.update()[0] == ["load 2", "close 1"]


def test_the_last_version_stays_when_its_folder_empties_or_goes(shop, caplog):
    shop.put(1)
    shop.update()
    shop.remove(1)
    with caplog.at_level(logging.WARNING):
        assert shop.update() == shop.update() == ([], {})
        shop.base.rmdir()
        assert shop.update() == ([], {})
    assert shop.serving() == [1]
    told = [record.message for record in caplog.records]
    assert told == [
        f"No versions of servable shop found under base path {shop.base}",
        f"Could not find base path {shop.base} for servable shop: "
        "No such file or directory",
    ]


def test_a_version_that_is_removed_beside_others_is_unloaded(shop):
    shop.put(1)
    shop.put(2)
    shop.update("all { }")
    shop.remove(2)
    assert shop.update("all { }")[0] == ["close 2"]
    assert shop.serving() == [1]


def test_what_is_missing_is_told(shop):
    base = f"found under base path {shop.base}"
    assert shop.update()[1] == {"shop": f"No versions of servable shop {base}"}
    policy = "specific { versions: 4 versions: 7 }"
    text = f"No versions of servable shop {base} (wanted: 4, 7)"
    assert shop.update(policy)[1] == {"shop": text}
    (shop.base / "saved_model.pb").touch()
    text = (
        f"No versions of servable shop {base}: it is itself a version; give the folder "
        "that holds it, and name it by a number"
    )
    assert shop.update()[1] == {"shop": text}


def test_the_same_version_in_another_folder_takes_over(shop, tmp_path):
    shop.put(1)
    shop.update()
    other = tmp_path / "other"
    shop.put(1, "broken", base=other)
    assert shop.update(base=other) == (["load 1"], {})
    (status,) = shop.states.of("shop")
    assert (status.state, status.status.error_code) == (AVAILABLE, tf.errors.DATA_LOSS)
    shop.put(1, "better", base=other)
    assert shop.update(base=other) == (["load 1", "close 1"], {})
    assert shop.pool.serving("shop")[1].folder == other / "1"
    assert shop.told() == [(1, AVAILABLE)]


def test_a_model_that_is_no_longer_listed_is_unloaded(shop):
    shop.put(1)
    shop.update()
    assert shop.manager.update([]) == {}
    assert shop.events == ["close 1"]
    assert shop.pool.names() == []
    assert shop.told() == [(1, END)]
