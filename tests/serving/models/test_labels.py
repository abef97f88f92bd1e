"""Labels: assigned together, and to versions that serve."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from simprod_tf.serving.models.labels import Labels
from simprod_tf.serving.status import ServingError


def config(**labels):
    entries = " ".join(
        f'version_labels {{ key: "{label}" value: {version} }}'
        for label, version in labels.items()
    )
    text = f'model_config_list {{ config {{ name: "shop" {entries} }} }}'
    return text_format.Parse(text, ModelServerConfig())


def serves(*versions):
    return lambda name, version: name == "shop" and version in versions


def refused(call, *arguments):
    with pytest.raises(ServingError) as caught:
        call(*arguments)
    return caught.value.code, caught.value.message


def test_labels_name_versions_until_the_next_configuration():
    labels = Labels(allow_unavailable=False)
    labels.assign(config(stable=1, canary=2), serves(1, 2))
    assert labels.version("shop", "stable") == 1
    labels.assign(config(stable=2), serves(1, 2))
    assert labels.version("shop", "stable") == 2
    assert refused(labels.version, "shop", "canary") == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: canary",
    )
    assert refused(labels.version, "mug", "stable")[1].endswith("label: stable")


def test_before_the_first_configuration_labels_are_unavailable():
    labels = Labels(allow_unavailable=True)
    assert refused(labels.version, "shop", "stable") == (
        grpc.StatusCode.UNAVAILABLE,
        "Model labels does not init yet.",
    )


def test_a_label_for_a_version_that_does_not_serve_changes_nothing():
    labels = Labels(allow_unavailable=False)
    labels.assign(config(stable=1), serves(1))
    assert refused(labels.assign, config(stable=1, canary=2), serves(1)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "Request to assign label to version 2 of model shop, which is not currently "
        "available for inference",
    )
    assert labels.version("shop", "stable") == 1
    assert "Unrecognized" in refused(labels.version, "shop", "canary")[1]


def test_where_allowed_new_labels_may_wait_and_labels_in_use_may_not_move():
    labels = Labels(allow_unavailable=True)
    labels.assign(config(stable=1), serves())
    assert labels.version("shop", "stable") == 1
    # Unmoved, though the version still does not serve.
    labels.assign(config(stable=1, canary=2), serves())
    code, _ = refused(labels.assign, config(stable=3, canary=2), serves(1))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    labels.assign(config(stable=3), serves(3))
    assert labels.version("shop", "stable") == 3
