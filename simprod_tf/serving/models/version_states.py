"""The state of every version that was ever to be served, as GetModelStatus tells it."""

from __future__ import annotations

import threading
from collections import defaultdict

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus

from simprod_tf.serving.status import ServingError

_OK = 0


class VersionStates:
    """States by model and version; unloaded versions stay, as END. Safe in threads."""

    def __init__(self) -> None:
        """Knows of no version."""
        self._lock = threading.Lock()
        self._states: dict[str, dict[int, ModelVersionStatus]] = defaultdict(dict)

    def put(
        self,
        name: str,
        version: int,
        state: ModelVersionStatus.State,
        *,
        code: int = _OK,
        message: str = "",
    ) -> None:
        """Sets the state of a version, with the error that brought it there."""
        status = ModelVersionStatus(version=version, state=state)
        # Present although empty, as TensorFlow Serving's answer has it.
        status.status.error_code = code
        status.status.error_message = message
        status.status.SetInParent()
        with self._lock:
            self._states[name][version] = status

    def error(self, name: str, version: int) -> str:
        """Returns the error of a version, "" where there is none."""
        with self._lock:
            status = self._states[name].get(version)
        return "" if status is None else str(status.status.error_message)

    def of(self, name: str, version: int | None = None) -> list[ModelVersionStatus]:
        """Returns copies of the states of all versions, newest first, or of one.

        Raises:
            ServingError: NOT_FOUND, there is none.
        """
        with self._lock:
            known = dict(self._states.get(name, {}))
        numbers = sorted(known, reverse=True)
        if version is not None:
            numbers = [number for number in numbers if number == version]
        if not numbers:
            sought = "any versions" if version is None else f"version {version}"
            raise ServingError(
                grpc.StatusCode.NOT_FOUND, f"Could not find {sought} of model {name}"
            )
        copies = []
        for number in numbers:
            copies.append(ModelVersionStatus())
            copies[-1].CopyFrom(known[number])
        return copies
