"""What weights expect of pixels: checked once, the same after JSON."""

from __future__ import annotations

import json

import pytest

from simprod_tf.model.preprocessing import Preprocessing, ResponseNorm


def test_json_gives_the_same_back():
    before = Preprocessing("BGR", (104, 117, 123), (1, 2, 3), 227, 256)
    assert Preprocessing.from_json(json.loads(json.dumps(before.to_json()))) == before
    assert before.mean == (104.0, 117.0, 123.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": "GBR"}, "channels must be one of RGB, BGR, got 'GBR'"),
        ({"mean": (1, 2)}, "mean must hold 3 numbers, got 2"),
        ({"std": (1, 0, 1)}, "std must be above 0"),
        ({"resize_to": 226}, r"between 1 and resize_to \(226\), got 227"),
    ],
)
def test_wrong_fields_are_refused(change, message):
    fields = Preprocessing("RGB", (0, 0, 0), (1, 1, 1), 227, 256).to_json()
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_json({**fields, **change})


def test_constants_that_could_divide_by_zero_are_refused():
    with pytest.raises(ValueError, match="bias must be above 0"):
        ResponseNorm(bias=0.0)
    with pytest.raises(ValueError, match="alpha at least 0"):
        ResponseNorm(alpha=-1e-4)
