"""HandleReloadConfigRequest: from now on these models, and no others."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def test_a_model_is_added_and_serves_when_the_answer_comes(target, new_model):
    model = new_model()
    model.put(1)
    response = target.reload(model.config())
    assert (response.status.error_code, response.status.error_message) == (0, "")
    assert model.answer() == (1, 2.0)
    assert list(target.outputs(version=1, x=np.float32([4]))["y"]) == [4]


def test_what_is_not_listed_any_more_is_unloaded(target, new_model):
    kept, dropped = new_model(), new_model()
    kept.put(1)
    dropped.put(1)
    target.reload(kept.config(), dropped.config())
    target.reload(kept.config())
    target.until(lambda: dropped.states() == {1: "END"})
    text = target.refused(NOT_FOUND, dropped.answer)
    assert text.startswith(f"Servable not found for request: Latest({dropped.name})")
    assert kept.answer() == (1, 2.0)


def test_a_model_can_come_back(target, new_model):
    model = new_model()
    model.put(1)
    model.serve()
    target.reload()
    target.until(lambda: model.states() == {1: "END"})
    model.serve()
    target.until(lambda: model.states() == {1: "AVAILABLE"})
    assert model.answer() == (1, 2.0)


def test_a_model_can_move_to_another_folder(target, new_model):
    model, elsewhere = new_model(), new_model()
    model.put(1)
    elsewhere.put(2, add=3.0)
    model.serve()
    moved = model.config()
    moved.base_path = elsewhere.config().base_path
    target.reload(moved)
    target.until(lambda: model.states() == {1: "END", 2: "AVAILABLE"})
    assert model.answer() == (2, 3.0)


def test_a_policy_can_change(target, new_model):
    model = new_model()
    for version in (1, 2, 3):
        model.put(version)
    model.serve("model_version_policy { specific { versions: 1 } }")
    assert model.states() == {1: "AVAILABLE"}
    model.serve("model_version_policy { latest { num_versions: 2 } }")
    target.until(lambda: model.states() == {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"})


def test_the_same_again_changes_nothing(target):
    target.reload()
    assert target.states("tiny") == {1: "AVAILABLE", 2: "AVAILABLE"}
    target.reload()
    assert target.states("tiny") == {1: "AVAILABLE", 2: "AVAILABLE"}


def refused_config(target, case):
    good = target.model_config("plain")
    if case == "twice":
        return target.config_of(good), "Illegal to list model plain multiple times"
    if case == "relative":
        good.name, good.base_path = "own", "models/plain"
        return target.config_of(good), "Expected model own to have an absolute path"
    if case == "platform":
        good.name, good.model_platform = "own", "tensorrt"
        text = "Model own requests unsupported platform tensorrt"
        return target.config_of(good), text
    if case == "no platform":
        good.name, good.model_platform = "own", ""
        return target.config_of(good), "Illegal setting neither"
    return (
        ModelServerConfig(),
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
        "ModelConfigList is currently supported",
    )


@pytest.mark.parametrize(
    "case", ["twice", "relative", "platform", "no platform", "none at all"]
)
def test_a_config_with_a_fault_is_refused_whole(target, case):
    config, text = refused_config(target, case)
    assert target.refused(INVALID, target.reload_as, config).startswith(text)
    assert target.states("tiny") == {1: "AVAILABLE", 2: "AVAILABLE"}
    text = target.refused(NOT_FOUND, target.predict, "own", x=np.float32([1]))
    assert text.startswith("Servable not found for request: Latest(own)")


def damaged(folder):
    (folder / "saved_model.pb").write_bytes(b"no SavedModel")


def test_a_new_model_that_cannot_be_loaded_is_told_and_stops_nobody(target, new_model):
    broken, good = new_model(), new_model()
    broken.put(1, extra=damaged)
    good.put(1)
    text = target.refused(
        grpc.StatusCode.UNKNOWN, target.reload, broken.config(), good.config()
    )
    assert text.startswith("1 model(s) did not become available: {{")
    assert broken.name in text
    target.until(lambda: good.states() == {1: "AVAILABLE"})
    assert good.answer() == (1, 2.0)
    assert list(target.outputs(version=1, x=np.float32([4]))["y"]) == [4]
    text = target.refused(NOT_FOUND, broken.answer)
    assert text.startswith(f"Servable not found for request: Latest({broken.name})")
