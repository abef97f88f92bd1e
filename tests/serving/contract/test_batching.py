"""Requests that share a batch are answered as if each had been alone: ours alone.

A named target is started with or without batching by its user; the cases of
test_predict.py that ask much at once hold for it either way.
"""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.serving.models.config import read_batching

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PATIENCE_S = 60


@pytest.fixture
def batching(serve_here, tmp_path):
    """`batching(text)` serves with a batching.config of this text."""

    def serve(text):
        path = tmp_path / "batching.config"
        path.write_text(text)
        return serve_here(batching=read_batching(path))

    return serve


def asked(target, **named):
    request = target.request(version=1, **named)
    return target.predictions.Predict.future(request, timeout=PATIENCE_S)


def arrays(future):
    outputs = future.result().outputs
    return {key: tf.make_ndarray(one).tolist() for key, one in outputs.items()}


# Full at once: no test waits for the timeout.
PAIRS = "max_batch_size { value: 2 } batch_timeout_micros { value: 60000000 }"


def test_requests_that_share_a_batch_have_their_own_rows(batching):
    target = batching(PAIRS)
    running = [asked(target, x=np.float32([number])) for number in range(20)]
    for number, future in enumerate(running):
        assert arrays(future) == {"y": [number / 2 + 2]}


def test_two_signatures_do_not_share_a_batch(batching):
    target = batching(PAIRS)
    running = [
        (
            asked(target, x=np.float32([number])),
            asked(
                target,
                signature="sum",
                a=np.float32([number]),
                b=np.float32([1]),
            ),
        )
        for number in range(4)
    ]
    for number, (half, sums) in enumerate(running):
        assert arrays(half) == {"y": [number / 2 + 2]}
        assert arrays(sums) == {"total": [number + 1], "difference": [number - 1]}


def test_filters_are_kept_apart(batching):
    target = batching(PAIRS)
    sums = {"signature": "sum", "a": np.float32([5]), "b": np.float32([2])}
    running = [
        asked(target, output_filter=[name], **sums)
        for name in ("total", "difference", "total", "difference")
    ]
    assert [arrays(one) for one in running] == [
        {"total": [7]},
        {"difference": [3]},
        {"total": [7]},
        {"difference": [3]},
    ]


def test_shapes_that_cannot_be_joined_are_kept_apart(batching):
    target = batching(PAIRS)
    # The two of [1, 2] may be joined; what refuses them refuses each.
    bad = [
        asked(target, signature="matmul", m=np.ones([1, 2], np.float32))
        for _ in range(2)
    ]
    good = [
        asked(target, signature="matmul", m=np.float32([[1, 2, 3]])) for _ in range(2)
    ]
    for one in bad:
        text = target.refused(INVALID, one.result)
        assert "Matrix size-incompatible" in text
    for one in good:
        assert arrays(one) == {"out": [[4, 5]]}


def test_rows_that_fill_a_batch_up_are_not_answered(batching):
    target = batching(
        "max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8"
    )
    assert arrays(asked(target, x=np.float32([0, 2, 4]))) == {"y": [2, 3, 4]}


def test_a_request_longer_than_a_batch_is_refused_or_divided(batching):
    long = np.float32([0, 2, 4, 6, 8])
    small = "max_batch_size { value: 2 }"
    target = batching(small)
    text = target.refused(INVALID, asked(target, x=long).result)
    assert text == "Task size 5 is larger than maximum input batch size 2"
    target = batching(small + " enable_large_batch_splitting { value: true }")
    assert arrays(asked(target, x=long)) == {"y": [2, 3, 4, 5, 6]}


def test_what_has_no_rows_is_run_alone(batching):
    target = batching(PAIRS)
    running = asked(target, signature="slow", steps=np.int32(3))
    assert arrays(running) == {"done": 3}


def test_the_models_and_their_errors_are_as_ever(batching):
    target = batching(PAIRS)
    text = target.refused(
        grpc.StatusCode.NOT_FOUND, target.predict, "nobody", x=np.float32([1])
    )
    assert text.startswith("Servable not found for request: Latest(nobody)")
    text = target.refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        target.predict,
        signature="S",
        x=np.float32([1]),
    )
    assert text == 'Serving signature key "S" not found.'
