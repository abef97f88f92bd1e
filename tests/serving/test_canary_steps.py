"""The steps of a canary, as serving/README.md tells them, on our server."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

SERVING = Path(__file__).resolve().parents[2] / "serving"
README = (SERVING / "README.md").read_text(encoding="utf-8")


def model_config(name):
    text = (SERVING / name).read_text(encoding="utf-8")
    return text_format.Parse(text, ModelServerConfig())


def steps():
    """Returns README's steps of a canary: name, versions, stable, canary."""
    table = re.search(r"\| step \|.*?\n\n", README, re.DOTALL).group()
    rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    return [
        (name, [int(one) for one in versions.split(", ")], int(stable), int(canary))
        for name, versions, stable, canary in rows
    ]


def at_step(step, folder):
    """Returns models.config with one step's versions and labels, models in `folder`."""
    _, versions, stable, canary = step
    config = model_config("models.config")
    for one in config.model_config_list.config:
        one.base_path = str(folder / one.name)
        del one.model_version_policy.specific.versions[:]
        one.model_version_policy.specific.versions.extend(versions)
        one.version_labels["stable"], one.version_labels["canary"] = stable, canary
    return config


def test_the_canary_file_is_the_step_of_its_name(tmp_path):
    (step,) = [step for step in steps() if "models.canary.config" in step[0]]
    expected, found = at_step(step, tmp_path), model_config("models.canary.config")
    for one in found.model_config_list.config:
        one.base_path = str(tmp_path / one.name)
    assert found == expected


@pytest.fixture
def two_versions(tmp_path, tiny_model):
    """Both models in versions 1 and 2, which add 1 and 2."""
    for name in ("shop", "neighbours"):
        for version in (1, 2):
            tiny_model(tmp_path / name, version, add=float(version))
    return tmp_path


def answered_by(models, label):
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    versions = set()
    for name in ("shop", "neighbours"):
        with models.lease(ModelSpec(name=name, version_label=label)) as servable:
            versions.add(servable.version)
    (version,) = versions
    return version


def reach(models, config):
    """Takes a configuration as soon as its versions are loaded; returns no sooner."""
    from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

    models.reload(config)
    for one in config.model_config_list.config:
        wanted = set(one.model_version_policy.specific.versions)
        for _ in range(1000):
            available = {
                status.version
                for status in models.status(one.name, None)
                if status.state == ModelVersionStatus.AVAILABLE
            }
            if wanted <= available:
                break
            threading.Event().wait(0.01)
        assert wanted <= available


def test_the_steps_of_the_canary_are_accepted_one_after_the_other(two_versions):
    from simprod_tf.serving.models.models import Models

    first, *others = steps()
    assert first[0] == "start"
    models = Models(at_step(first, two_versions), allow_labels_for_unavailable=True)
    try:
        models.start(timeout=60)
        for step in [first, *others]:
            reach(models, at_step(step, two_versions))
            assert answered_by(models, "stable") == step[2], step
            assert answered_by(models, "canary") == step[3], step
    finally:
        models.close()


def test_a_canary_without_the_step_before_is_refused(two_versions):
    from simprod_tf.serving.models.models import Models
    from simprod_tf.serving.status import ServingError

    first, _, third, *_ = steps()
    models = Models(at_step(first, two_versions), allow_labels_for_unavailable=True)
    try:
        models.start(timeout=60)
        with pytest.raises(ServingError, match="assign label to version 2 of model"):
            models.reload(at_step(third, two_versions))
        assert answered_by(models, "canary") == 1
    finally:
        models.close()
