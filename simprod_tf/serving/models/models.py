"""All models of a server: loaded, kept up to date, and lent to requests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from simprod_tf.errors import SimprodError
from simprod_tf.serving.models.config import models_fault, read_models_config
from simprod_tf.serving.models.labels import Labels
from simprod_tf.serving.models.servable import Servable
from simprod_tf.serving.models.servable_pool import ServablePool
from simprod_tf.serving.models.version_manager import Shortfall, VersionManager
from simprod_tf.serving.models.version_states import VersionStates
from simprod_tf.serving.status import ServingError

_log = logging.getLogger(__name__)


class Models:
    """The models of a configuration; safe in threads.

    One thread of its own loads and unloads; another reads the configuration again.
    """

    def __init__(
        self,
        config: ModelServerConfig,
        *,
        poll_seconds: float = 1.0,
        config_path: Path | None = None,
        config_poll_seconds: float = 0.0,
        allow_labels_for_unavailable: bool = False,
        load: Callable[[str, int, Path], Servable] = Servable.load,
    ) -> None:
        """Loads nothing yet; `start` does.

        Args:
            config: the models, with absolute paths.
            poll_seconds: between two looks at the models' folders; 0 looks once at
                every configuration.
            config_path: of the file that holds `config`.
            config_poll_seconds: between two readings of that file; 0 never reads it.
            allow_labels_for_unavailable: whether a new label may name a version that
                does not serve; without it the first configuration can have no labels.
            load: makes a servable of name, version and folder.

        Raises:
            ServingError: INVALID_ARGUMENT, the configuration cannot be served.
            ValueError: a number is negative, or the file to read again is not given.
        """
        if min(poll_seconds, config_poll_seconds) < 0:
            raise ValueError(
                "poll_seconds and config_poll_seconds must be 0 or more, got "
                f"{poll_seconds} and {config_poll_seconds}."
            )
        if config_poll_seconds and config_path is None:
            raise ValueError("config_poll_seconds needs a config_path.")
        _refuse_faults(config)
        self._config = config
        self._poll_seconds = poll_seconds
        self._config_path, self._config_poll_seconds = config_path, config_poll_seconds
        self._labels = Labels(allow_unavailable=allow_labels_for_unavailable)
        self._pool = ServablePool(self._note_idle)
        self._states = VersionStates()
        self._manager = VersionManager(self._pool, self._states, load)
        self._reloading = threading.Lock()
        # Guards what follows. A configuration is settled when its models are loaded.
        self._changed = threading.Condition()
        self._wanted, self._settled = 1, 0
        self._shortfalls: Mapping[str, Shortfall] = {}
        self._has_idle = self._closing = False
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, timeout: float = 300.0) -> None:
        """Loads all models and returns when each of them serves.

        A version that is not there yet is waited for, where folders are polled.

        Args:
            timeout: seconds.

        Raises:
            ServingError: UNKNOWN, a model cannot be loaded; DEADLINE_EXCEEDED;
                FAILED_PRECONDITION, a label names a version that does not serve.
        """
        self._labels.assign(self._config, self._is_available)
        self._spawn(self._work, "models")
        try:
            self._await_first(timeout)
        except BaseException:
            self.close()
            raise
        if self._config_poll_seconds:
            self._spawn(self._watch_config, "models-config")

    def close(self) -> None:
        """Unloads everything; a version that a request uses when that one ends."""
        self._stop.set()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._manager.retire_all()
        self._manager.close_idle()

    def lease(self, spec: ModelSpec) -> AbstractContextManager[Servable]:
        """Yields the version that a request asks for; it stays loaded in the block.

        Raises:
            ServingError: INVALID_ARGUMENT, there is no name or no such label;
                NOT_FOUND, the model or version does not serve.
        """
        if not spec.name:
            raise ServingError(
                grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified."
            )
        choice = spec.WhichOneof("version_choice")
        version = None
        if choice == "version":
            version = spec.version.value
        elif choice == "version_label":
            version = self._labels.version(spec.name, spec.version_label)
        return self._pool.lease(spec.name, version)

    def status(self, name: str, version: int | None) -> list[ModelVersionStatus]:
        """Returns the states of a model's versions, newest first, or of one of them.

        Raises:
            ServingError: NOT_FOUND.
        """
        return self._states.of(name, version)

    def names(self) -> list[str]:
        """Returns the models of the configuration, whether they serve or not."""
        return [model.name for model in self._config.model_config_list.config]

    def reload(
        self, config: ModelServerConfig, *, timeout: float | None = None
    ) -> None:
        """Serves another configuration; returns when its new models serve.

        Models that it does not list are unloaded. A new version of a known model that
        cannot be loaded is no error: the old one serves on, and `status` tells.

        Args:
            config: all models.
            timeout: seconds; afterwards loading goes on.

        Raises:
            ServingError: INVALID_ARGUMENT or FAILED_PRECONDITION, and all is as before;
                UNKNOWN, a new model does not serve, though it stays listed;
                DEADLINE_EXCEEDED; UNAVAILABLE while the server closes.
        """
        _refuse_faults(config)
        with self._reloading:
            known = set(self.names())
            self._labels.assign(config, self._is_available)
            shortfalls = self._settle(config, timeout)
        new = {name: one for name, one in shortfalls.items() if name not in known}
        if new:
            raise _unavailable(new, "model")

    def _settle(
        self, config: ModelServerConfig, timeout: float | None
    ) -> Mapping[str, Shortfall]:
        """Has a configuration loaded; returns the models that serve nothing."""
        with self._changed:
            # A copy: the caller's message may change.
            self._config = ModelServerConfig()
            self._config.CopyFrom(config)
            self._wanted += 1
            mine = self._wanted
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: self._settled >= mine or self._closing, timeout
            )
            if not done:
                raise _late(timeout)
            if self._settled < mine:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE, "The server is closing."
                )
            return self._shortfalls

    def _await_first(self, timeout: float) -> None:
        """Returns when all models serve; raises when one of them will not."""
        end = time.monotonic() + timeout
        with self._changed:
            while not self._settled or self._shortfalls:
                lost = {
                    name: one
                    for name, one in self._shortfalls.items()
                    if not (one.may_pass and self._poll_seconds)
                }
                if lost:
                    raise _unavailable(lost, "servable")
                left = end - time.monotonic()
                if left <= 0:
                    raise _late(timeout, self._shortfalls)
                if self._closing:
                    raise ServingError(
                        grpc.StatusCode.UNAVAILABLE, "The server is closing."
                    )
                self._changed.wait(left)

    def _work(self) -> None:
        """Loads and unloads until `close`: the body of a thread."""
        try:
            while not self._closing:
                with self._changed:
                    config, wanted = self._config, self._wanted
                shortfalls = self._manager.update(config.model_config_list.config)
                with self._changed:
                    self._settled, self._shortfalls = wanted, shortfalls
                    self._changed.notify_all()
                self._rest()
        finally:
            # Should this thread ever fail, nobody waits for it.
            with self._changed:
                self._closing = True
                self._changed.notify_all()

    def _rest(self) -> None:
        """Waits for the next look; closes meanwhile what falls idle."""
        end = time.monotonic() + self._poll_seconds
        while True:
            self._manager.close_idle()
            with self._changed:
                left = end - time.monotonic() if self._poll_seconds else None
                self._changed.wait_for(self._is_woken, left)
                self._has_idle = False
                is_due = left is not None and time.monotonic() >= end
                if self._closing or self._wanted > self._settled or is_due:
                    return

    def _is_woken(self) -> bool:
        return self._has_idle or self._closing or self._wanted > self._settled

    def _note_idle(self) -> None:
        """Has an idle version closed: by the thread that loads, while it lives."""
        with self._changed:
            self._has_idle = True
            closing = self._closing
            self._changed.notify_all()
        if closing:
            self._manager.close_idle()

    def _watch_config(self) -> None:
        """Reads the configuration's file again and again: the body of a thread."""
        told = ""
        while not self._stop.wait(self._config_poll_seconds):
            try:
                config = read_models_config(self._config_path or "")
                if config != self._config:
                    self.reload(config)
                    _log.info("Serves %s as it is now.", self._config_path)
                told = ""
            except SimprodError as error:
                if str(error) != told:
                    _log.error("Keeps its configuration: %s", error)
                told = str(error)

    def _spawn(self, body: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=body, name=f"simprod-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _is_available(self, name: str, version: int) -> bool:
        return version in self._pool.serving(name)


def _refuse_faults(config: ModelServerConfig) -> None:
    fault = models_fault(config)
    if fault:
        raise ServingError(grpc.StatusCode.INVALID_ARGUMENT, fault)


def _unavailable(shortfalls: Mapping[str, Shortfall], noun: str) -> ServingError:
    # TensorFlow Serving's form, its last comma too.
    causes = "".join(
        f"{{{{{_servable(name, one)}}} due to error: {one.text}}}, "
        for name, one in shortfalls.items()
    )
    return ServingError(
        grpc.StatusCode.UNKNOWN,
        f"{len(shortfalls)} {noun}(s) did not become available: {{{causes}}}",
    )


def _servable(name: str, shortfall: Shortfall) -> str:
    version = "" if shortfall.version is None else f" version: {shortfall.version}"
    return f"name: {name}{version}"


def _late(
    timeout: float | None, shortfalls: Mapping[str, Shortfall] | None = None
) -> ServingError:
    causes = "; ".join(one.text for one in (shortfalls or {}).values())
    return ServingError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"The models are not loaded after {timeout} s. {causes}".rstrip(),
    )
