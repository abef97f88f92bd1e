"""Versions in a model's folder, and the choice among them."""

from __future__ import annotations

import logging

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from simprod_tf.serving.models.version_policy import version_folders, wanted_versions


def put(folder, *, model="saved_model.pb"):
    folder.mkdir()
    if model:
        (folder / model).touch()


def policy(text):
    config = text_format.Parse(f"model_version_policy {{ {text} }}", ModelConfig())
    return config.model_version_policy


def test_versions_are_folders_named_by_numbers_that_hold_a_model(tmp_path):
    put(tmp_path / "1")
    put(tmp_path / "00012", model="saved_model.pbtxt")
    put(tmp_path / "20261123064500")
    put(tmp_path / ".5-xyz")
    put(tmp_path / "5-copy")
    put(tmp_path / "-3")
    put(tmp_path / "²")
    put(tmp_path / "9", model=None)
    put(tmp_path / str(2**63))
    (tmp_path / "7").touch()
    assert version_folders(tmp_path) == {
        1: tmp_path / "1",
        12: tmp_path / "00012",
        20261123064500: tmp_path / "20261123064500",
    }


def test_of_two_folders_of_one_number_the_shorter_is_taken(tmp_path, caplog):
    put(tmp_path / "007")
    put(tmp_path / "7")
    with caplog.at_level(logging.WARNING):
        assert version_folders(tmp_path) == {7: tmp_path / "7"}
    assert "holds version 7 twice; 007 is left out, 7 is taken." in caplog.text


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        version_folders(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", [11]),
        ("latest { }", [11]),
        ("latest { num_versions: 2 }", [11, 9]),
        ("latest { num_versions: 9 }", [11, 9, 2]),
        ("all { }", [11, 9, 2]),
        ("specific { versions: 2 versions: 11 versions: 5 }", [11, 2]),
        ("specific { versions: 5 }", []),
    ],
)
def test_policy_chooses_newest_first(text, wanted):
    assert wanted_versions(policy(text), {2: "", 11: "", 9: ""}) == wanted
