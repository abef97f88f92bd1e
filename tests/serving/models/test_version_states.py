"""What GetModelStatus tells of a model's versions."""

from __future__ import annotations

import grpc
import pytest
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from simprod_tf.serving.models.version_states import VersionStates
from simprod_tf.serving.status import ServingError


def test_states_are_told_newest_first_and_one_by_one():
    states = VersionStates()
    states.put("shop", 2, ModelVersionStatus.END)
    states.put("shop", 10, ModelVersionStatus.LOADING)
    states.put("shop", 10, ModelVersionStatus.AVAILABLE)
    assert [(one.version, one.state) for one in states.of("shop")] == [
        (10, ModelVersionStatus.AVAILABLE),
        (2, ModelVersionStatus.END),
    ]
    (one,) = states.of("shop", 2)
    assert (one.version, one.HasField("status")) == (2, True)


def test_a_state_carries_its_error_until_the_next():
    states = VersionStates()
    states.put("shop", 1, ModelVersionStatus.END, code=5, message="no variables")
    (one,) = states.of("shop")
    assert (one.status.error_code, one.status.error_message) == (5, "no variables")
    assert states.error("shop", 1) == "no variables"
    states.put("shop", 1, ModelVersionStatus.AVAILABLE)
    assert states.error("shop", 1) == states.error("shop", 2) == ""


def test_what_is_told_is_a_copy():
    states = VersionStates()
    states.put("shop", 1, ModelVersionStatus.END)
    states.of("shop")[0].version = 3
    assert states.of("shop")[0].version == 1


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (None, "Could not find any versions of model mug"),
        (4, "Could not find version 4 of model mug"),
    ],
)
def test_unknown_models_and_versions_are_not_found(version, text):
    with pytest.raises(ServingError) as caught:
        VersionStates().of("mug", version)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.message == text
