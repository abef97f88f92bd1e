"""What a unit says is wrong travels; what may pass is left to a second try."""

from __future__ import annotations

import pickle

import pytest

from simprod_tf.engine.failure import Failure, caught
from simprod_tf.errors import InputError, SimprodError


def refuse(unit: str) -> None:
    raise InputError("the id is empty", path=unit, row=3)


def fill(unit: str) -> None:
    with open(unit, "w", buffering=1) as file:
        file.write("x\n")


def stumble(unit: str) -> None:
    raise ConnectionResetError(104, "Connection reset by peer")


def test_an_error_of_ours_keeps_its_message() -> None:
    found = pickle.loads(pickle.dumps(caught(refuse, "a.csv")))
    assert isinstance(found, Failure)
    with pytest.raises(SimprodError, match="a.csv, row 3: the id is empty"):
        raise found.error()


def test_a_full_disk_is_named_with_the_machine() -> None:
    found = caught(fill, "/dev/full")
    assert "No space left on device, on " in str(found.error())


def test_what_may_pass_is_raised() -> None:
    with pytest.raises(ConnectionResetError):
        caught(stumble, "a")


def test_an_answer_is_returned() -> None:
    assert caught(len, "abc") == 3
