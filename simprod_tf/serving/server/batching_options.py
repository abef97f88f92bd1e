"""TF Serving's parameters of batching, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from simprod_tf.serving.status import ServingError

if TYPE_CHECKING:
    from simprod_tf.serving.protos.server_config_pb2 import BatchingParameters

# TensorFlow's own defaults (SharedBatchScheduler::QueueOptions).
MAX_BATCH_SIZE = 1000
MAX_ENQUEUED_BATCHES = 10


@dataclass(frozen=True)
class BatchingOptions:
    """TF Serving's parameters of batching, each with a value."""

    max_batch_size: int = MAX_BATCH_SIZE
    timeout_s: float = 0.0
    max_enqueued_batches: int = MAX_ENQUEUED_BATCHES
    num_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    split_large_batches: bool = False

    def __post_init__(self) -> None:
        """Checks what a file may say wrongly."""
        for name in ("max_batch_size", "max_enqueued_batches", "num_threads"):
            if getattr(self, name) < 1:
                raise _wrong(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.timeout_s < 0:
            raise _wrong("batch_timeout_micros must not be negative.")
        sizes = self.allowed_batch_sizes
        if any(one >= other for one, other in zip(sizes, sizes[1:])):
            raise _wrong(f"allowed_batch_sizes must increase, got {list(sizes)}.")
        if sizes and sizes[-1] != self.max_batch_size:
            raise _wrong(
                f"the last of allowed_batch_sizes, {sizes[-1]}, must equal "
                f"max_batch_size, {self.max_batch_size}."
            )

    @classmethod
    def of(cls, parameters: BatchingParameters) -> BatchingOptions:
        """Returns the options of a batching file; what it leaves out is default."""
        given: dict[str, Any] = {
            "allowed_batch_sizes": tuple(parameters.allowed_batch_sizes),
            "pad_variable_length_inputs": parameters.pad_variable_length_inputs,
        }
        for name, there in (
            ("max_batch_size", "max_batch_size"),
            ("max_enqueued_batches", "max_enqueued_batches"),
            ("num_threads", "num_batch_threads"),
            ("split_large_batches", "enable_large_batch_splitting"),
        ):
            if parameters.HasField(there):
                given[name] = getattr(parameters, there).value
        if parameters.HasField("batch_timeout_micros"):
            given["timeout_s"] = parameters.batch_timeout_micros.value / 1e6
        return cls(**given)

    def padded(self, rows: int) -> int:
        """Returns the smallest allowed size that holds this many rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def _wrong(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, f"batching: {message}")
