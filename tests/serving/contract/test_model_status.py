"""GetModelStatus: the state of every version that was ever served."""

from __future__ import annotations

import grpc

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def test_all_versions_are_told(target):
    assert target.states("tiny") == {1: "AVAILABLE", 2: "AVAILABLE"}
    # Version 1 is on disk, and was never to be served.
    assert target.states("plain") == {2: "AVAILABLE"}


def test_a_version_in_service_has_no_error(target):
    for one in target.status("tiny"):
        assert (one.status.error_code, one.status.error_message) == (0, "")


def test_one_version_can_be_asked_for(target):
    assert [one.version for one in target.status("tiny", version=1)] == [1]


def test_a_label_is_not_looked_at(target):
    for label in ("stable", "nobody's"):
        found = target.status("tiny", label=label)
        assert sorted(one.version for one in found) == [1, 2]


def test_what_was_never_served_is_not_found(target):
    assert (
        target.refused(NOT_FOUND, target.status, "nobody")
        == "Could not find any versions of model nobody"
    )
    assert (
        target.refused(NOT_FOUND, target.status, "tiny", version=9)
        == "Could not find version 9 of model tiny"
    )


def test_a_request_names_its_model(target):
    assert target.refused(INVALID, target.status, None) == "Missing ModelSpec"


def test_an_unloaded_version_stays_as_end(target, new_model):
    model = new_model()
    model.put(1)
    model.serve()
    assert model.states() == {1: "AVAILABLE"}
    target.reload()
    target.until(lambda: model.states() == {1: "END"})
    (ended,) = target.status(model.name, version=1)
    assert ended.status.error_code == 0
