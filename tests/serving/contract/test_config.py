"""A server's start, and the file that it reads again and again: ours alone.

A named target is started already; what is read here is TensorFlow Serving's file.
"""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from simprod_tf.errors import InputError
from simprod_tf.serving.models.config import read_models_config
from simprod_tf.serving.status import ServingError

NOT_FOUND = grpc.StatusCode.NOT_FOUND


def config_text(folder, *models):
    """Returns a models.config: each model a name, a folder's name, settings."""
    entries = "".join(
        f'  config {{ name: "{name}" base_path: "{folder}/{base}" '
        f'model_platform: "tensorflow" {settings} }}\n'
        for name, base, settings in models
    )
    return f"model_config_list {{\n{entries}}}\n"


@pytest.fixture
def start(serve_here, tmp_path):
    """`start(text, **options)` serves a models.config of this text, and keeps it."""

    def started(text, **options):
        path = tmp_path / "models.config"
        path.write_text(text)
        return serve_here(models=read_models_config(path), config_path=path, **options)

    return started


def y(target, model):
    return float(target.outputs(model, x=np.float32([0]))["y"][0])


def test_two_models_are_served_by_their_policies(start, models_folder):
    only_1 = "model_version_policy { specific { versions: 1 } }"
    target = start(
        config_text(models_folder, ("a", "tiny", only_1), ("b", "plain", ""))
    )
    assert (y(target, "a"), y(target, "b")) == (2.0, 3.0)
    assert target.states("a") == {1: "AVAILABLE"}
    assert target.states("b") == {2: "AVAILABLE"}


def test_the_deprecated_model_type_says_tensorflow(start, models_folder):
    text = config_text(models_folder, ("a", "plain", ""))
    text = text.replace('model_platform: "tensorflow"', "model_type: TENSORFLOW")
    assert y(start(text), "a") == 3.0


def test_a_list_without_models_is_served(start):
    target = start("model_config_list { }")
    text = target.refused(NOT_FOUND, target.predict, x=np.float32([0]))
    assert text.startswith("Servable not found for request: Latest(tiny)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model_config_list { config { nome: 'a' } }",
            "Error parsing text-format tensorflow.serving.ModelServerConfig: ",
        ),
        ("model_config_list {", "Error parsing text-format tensorflow.serving.Model"),
        (
            'model_config_list { config { name: "a" base_path: "shop" '
            'model_platform: "tensorflow" } }',
            "Expected model a to have an absolute path or URI; got base_path()=shop",
        ),
    ],
    ids=["an unknown field", "cut", "a relative path"],
)
def test_a_file_with_a_fault_ends_the_start(start, text, message):
    with pytest.raises(InputError) as caught:
        start(text)
    assert message in str(caught.value)
    assert "models.config" in str(caught.value)


def test_a_label_in_the_first_config_ends_the_start(start, models_folder):
    labelled = 'version_labels { key: "stable" value: 2 }'
    text = config_text(models_folder, ("a", "plain", labelled))
    with pytest.raises(ServingError) as caught:
        start(text)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.message == (
        "Request to assign label to version 2 of model a, which is not currently "
        "available for inference"
    )
    target = start(text, allow_labels_for_unavailable=True)
    response = target.predict("a", label="stable", x=np.float32([0]))
    assert response.model_spec.version.value == 2


def test_a_folder_that_is_not_there_ends_the_start(start, models_folder):
    with pytest.raises(ServingError, match="Could not find base path"):
        start(config_text(models_folder, ("a", "nowhere", "")))


def test_the_file_is_followed(start, models_folder, tmp_path):
    one = ("a", "plain", "")
    target = start(config_text(models_folder, one), config_poll_seconds=0.02)
    path = tmp_path / "models.config"
    path.write_text(config_text(models_folder, one, ("b", "plain", "")))
    target.until(lambda: target.states("b") == {2: "AVAILABLE"})
    assert (y(target, "a"), y(target, "b")) == (3.0, 3.0)
    path.write_text(config_text(models_folder, ("b", "plain", "")))
    target.until(lambda: target.states("a") == {2: "END"})
    text = target.refused(NOT_FOUND, y, target, "a")
    assert text.startswith("Servable not found for request: Latest(a)")


def test_a_bad_file_changes_nothing_and_a_mended_one_is_followed(
    start, models_folder, tmp_path, caplog
):
    one = ("a", "plain", "")
    target = start(config_text(models_folder, one), config_poll_seconds=0.02)
    path = tmp_path / "models.config"
    path.write_text("model_config_list { config { nome: 'a' } }")
    target.until(lambda: "Error parsing text-format" in caplog.text)
    assert y(target, "a") == 3.0
    path.write_text(config_text(models_folder, one, ("b", "plain", "")))
    target.until(lambda: target.states("b") == {2: "AVAILABLE"})


def test_by_default_the_file_is_read_once(start, models_folder, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "1").symlink_to(models_folder / "plain" / "1")
    target = start(config_text(tmp_path, ("a", "own", "")))
    path = tmp_path / "models.config"
    path.write_text(config_text(tmp_path, ("a", "own", ""), ("b", "own", "")))
    # The folders are looked at after the file's change, the file is not.
    (own / "2").symlink_to(models_folder / "plain" / "2")
    target.until(lambda: target.states("a") == {1: "END", 2: "AVAILABLE"})
    assert target.states("b") == {}


def test_without_polling_versions_stay_as_they_are_until_a_reload(
    start, models_folder, tmp_path
):
    own = tmp_path / "own"
    own.mkdir()
    (own / "1").symlink_to(models_folder / "plain" / "1")
    text = config_text(tmp_path, ("a", "own", ""))
    target = start(text, poll_seconds=0)
    (own / "2").symlink_to(models_folder / "plain" / "2")
    assert y(target, "a") == 2.0
    assert target.states("a") == {1: "AVAILABLE"}
    target.reload_as(read_models_config(tmp_path / "models.config"))
    target.until(lambda: target.states("a") == {1: "END", 2: "AVAILABLE"})
