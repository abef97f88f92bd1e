"""Labels: names for versions, which move while both versions serve."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
FAILED = grpc.StatusCode.FAILED_PRECONDITION
BOTH = "model_version_policy { specific { versions: 1 versions: 2 } }"


def label(key, value):
    return f' version_labels {{ key: "{key}" value: {value} }}'


def not_available(name, version):
    return (
        f"Request to assign label to version {version} of model {name}, which is not "
        "currently available for inference"
    )


@pytest.fixture
def two_versions(new_model, target):
    """A model whose versions 1 and 2 serve, without labels."""
    model = new_model()
    model.put(1)
    model.put(2, add=3.0)
    model.serve(BOTH)
    target.until(lambda: model.states() == {1: "AVAILABLE", 2: "AVAILABLE"})
    return model


def test_a_label_moves_between_served_versions(two_versions, target):
    model = two_versions
    model.serve(BOTH + label("stable", 1) + label("canary", 2))
    assert model.answer(label="stable") == (1, 2.0)
    assert model.answer(label="canary") == (2, 3.0)
    model.serve(BOTH + label("stable", 2) + label("canary", 2))
    assert model.answer(label="stable") == (2, 3.0)


def test_a_label_that_is_taken_out_is_unknown(two_versions, target):
    model = two_versions
    model.serve(BOTH + label("stable", 1) + label("canary", 2))
    model.serve(BOTH + label("stable", 1))
    text = target.refused(INVALID, model.answer, label="canary")
    assert text == "Unrecognized servable version label: canary"
    assert model.answer(label="stable") == (1, 2.0)


def test_labels_of_one_model_are_not_another_ones(two_versions, target):
    model = two_versions
    model.serve(BOTH + label("best", 1))
    assert model.answer(label="best") == (1, 2.0)
    text = target.refused(
        INVALID, target.predict, "tiny", label="best", x=np.float32([0])
    )
    assert text == "Unrecognized servable version label: best"


@pytest.mark.parametrize("name", ["stable", "canary"])
def test_a_label_in_use_or_new_names_a_served_version_only(two_versions, target, name):
    model = two_versions
    model.serve(BOTH + label("stable", 1))
    labels = {"stable": 1, name: 9}
    changed = BOTH + "".join(label(*each) for each in labels.items())
    text = target.refused(FAILED, model.serve, changed)
    assert text == not_available(model.name, 9)
    # All is as before.
    assert model.answer(label="stable") == (1, 2.0)
    text = target.refused(INVALID, model.answer, label="canary")
    assert text == "Unrecognized servable version label: canary"


def test_a_new_model_gets_its_labels_in_a_second_step(new_model, target):
    # Labels are looked at before anything is loaded.
    model = new_model()
    model.put(1)
    text = target.refused(FAILED, model.serve, label("stable", 1))
    assert text == not_available(model.name, 1)
    model.serve()
    model.serve(label("stable", 1))
    assert model.answer(label="stable") == (1, 2.0)


def served_with(config_of, settings):
    """Returns the config of `tiny` alone, with settings in text format."""
    config = config_of()
    del config.model_config_list.config[1:]
    config.model_config_list.config[0].ClearField("version_labels")
    text_format.Merge(settings, config.model_config_list.config[0])
    return config


def test_the_flag_lets_new_labels_name_what_is_not_served_yet(serve_here):
    target = serve_here(allow_labels_for_unavailable=True)
    target.reload_as(
        served_with(target.config_of, label("stable", 1) + label("next", 3))
    )
    text = target.refused(NOT_FOUND, target.predict, label="next", x=np.float32([0]))
    assert text.startswith("Servable not found for request: Specific(tiny, 3)")
    # A label in use still moves to what is served only.
    moved = served_with(target.config_of, label("stable", 3))
    assert target.refused(FAILED, target.reload_as, moved) == not_available("tiny", 3)
    response = target.predict(label="stable", x=np.float32([0]))
    assert response.model_spec.version.value == 1
