"""The parameters of batching: out of a file, and what cannot be."""

from __future__ import annotations

import grpc
import pytest

from simprod_tf.serving.protos.server_config_pb2 import BatchingParameters
from simprod_tf.serving.server.batching_options import BatchingOptions
from simprod_tf.serving.status import ServingError


def test_a_file_gives_the_options_and_what_it_leaves_out_is_tensorflows():
    given = BatchingParameters(
        max_batch_size={"value": 8},
        batch_timeout_micros={"value": 2500},
        num_batch_threads={"value": 3},
        allowed_batch_sizes=[4, 8],
        pad_variable_length_inputs=True,
        enable_large_batch_splitting={"value": True},
    )
    assert BatchingOptions.of(given) == BatchingOptions(
        max_batch_size=8,
        timeout_s=0.0025,
        max_enqueued_batches=10,
        num_threads=3,
        allowed_batch_sizes=(4, 8),
        pad_variable_length_inputs=True,
        split_large_batches=True,
    )
    assert BatchingOptions.of(BatchingParameters()).max_batch_size == 1000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
        ({"num_threads": 0}, "num_threads must be at least 1, got 0"),
        ({"timeout_s": -1.0}, "batch_timeout_micros must not be negative"),
        ({"allowed_batch_sizes": (4, 2)}, r"must increase, got \[4, 2\]"),
        ({"allowed_batch_sizes": (4,), "max_batch_size": 8}, "4, must equal max_batch"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ServingError, match=message) as refused:
        BatchingOptions(**wrong)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_rows_are_padded_to_the_next_allowed_size():
    options = BatchingOptions(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert [options.padded(rows) for rows in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert BatchingOptions().padded(3) == 3
