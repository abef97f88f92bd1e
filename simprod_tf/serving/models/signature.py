"""What a signature takes and gives, and what a request gets wrong about it.

The texts are TF Serving's (servables/tensorflow/predict_util.cc) and TensorFlow's
(cc/saved_model/util.cc), version 2.15.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from simprod_tf.serving.server.tensor_proto import dtype_name, dtype_number, read_tensor
from simprod_tf.serving.status import ServingError

DEFAULT_SIGNATURE = "serving_default"

_METHODS = tuple(
    f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")
)
# A default of a signature may be as large as a message of protobuf.
_DEFAULT_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Signature:
    """A signature made ready for many requests.

    `feeds` are the names of the inputs' tensors and `dtypes` their dtypes' numbers,
    `arguments` the inputs in the order in which the runtime counts them: that of the
    tensors' names. `defaults` are the inputs that a request may leave out.
    """

    name: str
    feeds: Mapping[str, str]
    dtypes: Mapping[str, int]
    arguments: tuple[str, ...]
    defaults: Mapping[str, np.ndarray]
    outputs: tuple[str, ...]

    def check_inputs(self, given: Iterable[str]) -> None:
        """Checks the names of the inputs, before any of them is read.

        Raises:
            ServingError: INVALID_ARGUMENT, one is missing or not known.
        """
        sent, known = set(given), self.feeds.keys()
        if sent == known:
            return
        if not len(known) - len(self.defaults) <= len(sent) <= len(known):
            raise _invalid(
                f"input size does not match signature: {len(sent)}!={len(known)} "
                f"len({_set(sent)}) != len({_set(known)}). "
                f"Sent extra: {_set(sent - known)}. "
                f"Missing but required: {_set(known - sent - self.defaults.keys())}."
            )
        for alias in sorted(known - sent - self.defaults.keys()):
            raise _invalid(
                f"Signature input alias: {alias}(feed name: {self.feeds[alias]}) not "
                "found in request and no default value provided. Inputs expected to "
                f"be in the request {_set(sent)}, or default input alias set: "
                f"{','.join(sorted(self.defaults))}"
            )
        if sent - known:
            raise _invalid(
                "Inputs contains invalid name. Used request inputs: "
                f"{','.join(sorted(known & sent))}, request input: "
                f"{','.join(sorted(sent))}"
            )

    def check_dtypes(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Checks what the runtime would stumble upon, in its words.

        Raises:
            ServingError: INVALID_ARGUMENT, an input is of another dtype.
        """
        for place, alias in enumerate(self.arguments):
            got = dtype_number(inputs[alias])
            if got != self.dtypes[alias]:
                raise _invalid(
                    f"Expects arg[{place}] to be {dtype_name(self.dtypes[alias])} "
                    f"but {dtype_name(got)} is provided"
                )

    def fetched(self, output_filter: Sequence[str]) -> tuple[str, ...]:
        """Returns the outputs that a request wants: all of them where it names none.

        Raises:
            ServingError: INVALID_ARGUMENT, one is not known or named twice.
        """
        if not output_filter:
            return self.outputs
        wanted: dict[str, None] = {}
        for alias in output_filter:
            if alias not in self.outputs:
                raise _invalid(
                    f"output tensor alias not found in signature: {alias} Outputs "
                    f"expected to be in the set {_set(self.outputs)}."
                )
            if alias in wanted:
                raise _invalid(f"duplicate output tensor alias: {alias}")
            wanted[alias] = None
        return tuple(wanted)


def signature_of(signatures: Mapping[str, Any], name: str) -> Signature:
    """Returns the signature of this name, made ready; no name is `serving_default`.

    Args:
        signatures: a SavedModel's, each a SignatureDef.
        name: as in the request.

    Raises:
        ServingError: FAILED_PRECONDITION where there is none, INTERNAL where it is not
            made for prediction.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        raise ServingError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f'Serving signature key "{name}" not found.',
        )
    definition: meta_graph_pb2.SignatureDef = signatures[name]
    if definition.method_name not in _METHODS:
        raise ServingError(
            grpc.StatusCode.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(_METHODS)}}}. Was: {definition.method_name}",
        )
    feeds = {alias: info.name for alias, info in definition.inputs.items()}
    return Signature(
        name=name,
        feeds=feeds,
        dtypes={alias: info.dtype for alias, info in definition.inputs.items()},
        arguments=tuple(sorted(feeds, key=lambda alias: feeds[alias])),
        defaults={
            alias: _default(alias, proto)
            for alias, proto in definition.defaults.items()
        },
        outputs=tuple(sorted(definition.outputs)),
    )


def _default(alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    return read_tensor(proto, name=alias, max_bytes=_DEFAULT_BYTES)


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _invalid(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)
