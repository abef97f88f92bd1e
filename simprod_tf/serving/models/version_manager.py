"""Brings what serves in line with the folders of the models: loads first, then unloads.

After TensorFlow Serving's AspiredVersionsManager with its availability-preserving
policy (core/aspired_versions_manager.h, core/availability_preserving_policy.h).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorflow_serving.apis.get_model_status_pb2 import ModelVersionStatus
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from simprod_tf.errors import SimprodError
from simprod_tf.serving.models.servable import Servable
from simprod_tf.serving.models.servable_pool import ServablePool
from simprod_tf.serving.models.version_policy import version_folders, wanted_versions
from simprod_tf.serving.models.version_states import VersionStates

# TensorFlow Serving's: max_num_load_retries, load_retry_interval_micros.
RETRIES = 5
RETRY_SECONDS = 60.0

_UNKNOWN = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shortfall:
    """Why a model serves nothing.

    `version` is the newest of those that cannot be loaded, None where there is none to
    load; `may_pass` says that one may yet appear.
    """

    text: str
    may_pass: bool
    version: int | None = None


@dataclass(frozen=True)
class _Failure:
    """A version that could not be loaded, and how its folder was then."""

    files: frozenset[tuple[str, int, int]]
    attempts: int
    retry_at: float


class VersionManager:
    """Loads and unloads; one thread calls it, many use the pool and the states."""

    def __init__(
        self,
        pool: ServablePool,
        states: VersionStates,
        load: Callable[[str, int, Path], Servable],
    ) -> None:
        """Works on a pool and its states.

        Args:
            pool: what serves.
            states: told of each change.
            load: makes a servable of name, version and folder, or raises SimprodError.
        """
        self._pool, self._states, self._load = pool, states, load
        self._failures: dict[tuple[str, int, Path], _Failure] = {}
        self._told: dict[str, str] = {}

    def update(self, models: Iterable[ModelConfig]) -> dict[str, Shortfall]:
        """Looks at all folders once; returns the models that serve nothing, and why.

        A model's versions are unloaded when one that is wanted serves, or when the
        model is no longer listed: a model never loses its last version to a folder
        that is empty, broken or gone.
        """
        listed = {model.name: model for model in models}
        for name in self._pool.names():
            if name not in listed:
                self._retire(name, keep=())
        self._forget(listed)
        self.close_idle()
        shortfalls = {}
        for model in listed.values():
            fault = self._update_model(model)
            if fault and not self._pool.serving(model.name):
                shortfalls[model.name] = fault
        return shortfalls

    def close_idle(self) -> None:
        """Closes the retired versions that no request uses any more."""
        for servable in self._pool.take_idle():
            servable.close()
            # A version may have been replaced by one of the same number.
            if servable.version not in self._pool.serving(servable.name):
                self._put(servable.name, servable.version, ModelVersionStatus.END)
            _log.info("Unloaded %s version %d", servable.name, servable.version)

    def retire_all(self) -> None:
        """Takes every version out of service."""
        for name in self._pool.names():
            self._retire(name, keep=())

    def _update_model(self, model: ModelConfig) -> Shortfall | None:
        """Loads and retires versions of a model; returns what is amiss, if anything."""
        base = Path(model.base_path)
        try:
            folders = version_folders(base)
        except OSError as error:
            text = f"Could not find base path {base} for servable {model.name}"
            return self._told_once(model.name, f"{text}: {error.strerror}", False)
        wanted = wanted_versions(model.model_version_policy, folders)
        if not wanted:
            return self._told_once(model.name, *_no_versions(model))
        self._told.pop(model.name, None)
        for version in wanted:
            self._ensure(model.name, version, folders[version])
        serving = self._pool.serving(model.name)
        if not serving.keys().isdisjoint(wanted):
            self._retire(model.name, keep=wanted)
            return None
        text = self._states.error(model.name, wanted[0])
        return Shortfall(text, may_pass=False, version=wanted[0])

    def _ensure(self, name: str, version: int, folder: Path) -> None:
        """Loads a version unless it serves, or failed and nothing has changed since."""
        present = self._pool.serving(name).get(version)
        if present is not None and present.folder == folder:
            return
        key = (name, version, folder)
        before = self._failures.get(key)
        # Before it is loaded: what changes meanwhile is worth another attempt.
        files = _files(folder)
        if before and before.files != files:
            before = None
        if before and not _is_due(before):
            return
        try:
            self._load_version(name, version, folder, replaces=present is not None)
            self._failures.pop(key, None)
        except SimprodError as error:
            attempts = before.attempts + 1 if before else 1
            retry_at = time.monotonic() + RETRY_SECONDS
            self._failures[key] = _Failure(files, attempts, retry_at)
            self._put_failed(name, version, error, serves=present is not None)
            _log.error("Cannot load %s version %d: %s", name, version, error)

    def _load_version(
        self, name: str, version: int, folder: Path, *, replaces: bool
    ) -> None:
        if not replaces:
            self._put(name, version, ModelVersionStatus.START)
            self._put(name, version, ModelVersionStatus.LOADING)
        _log.info("Loading %s version %d: %s", name, version, folder)
        began = time.monotonic()
        servable = self._load(name, version, folder)
        self._pool.add(servable)
        self._put(name, version, ModelVersionStatus.AVAILABLE)
        seconds = time.monotonic() - began
        _log.info("Loaded %s version %d in %.1f s", name, version, seconds)

    def _retire(self, name: str, *, keep: Iterable[int]) -> None:
        for version in self._pool.serving(name).keys() - set(keep):
            # First told, then done: a version in service is never said to have ended.
            self._put(name, version, ModelVersionStatus.UNLOADING)
            self._pool.retire(name, version)

    def _put(self, name: str, version: int, state: Any) -> None:
        self._states.put(name, version, state)

    def _put_failed(
        self, name: str, version: int, error: SimprodError, *, serves: bool
    ) -> None:
        # TensorFlow's own errors have a code; it is said where there is one.
        code = getattr(error.__cause__, "error_code", _UNKNOWN)
        state = ModelVersionStatus.AVAILABLE if serves else ModelVersionStatus.END
        self._states.put(name, version, state, code=code, message=str(error))

    def _forget(self, listed: Mapping[str, ModelConfig]) -> None:
        """Drops failures whose model or folder is gone: it may come back mended."""
        self._failures = {
            key: failure
            for key, failure in self._failures.items()
            if key[0] in listed and key[2].is_dir()
        }

    def _told_once(self, name: str, text: str, may_pass: bool) -> Shortfall:
        """Returns a shortfall; it is logged once, not at every poll."""
        if self._told.get(name) != text:
            _log.warning("%s", text)
        self._told[name] = text
        return Shortfall(text, may_pass)


def _is_due(failure: _Failure) -> bool:
    return failure.attempts <= RETRIES and time.monotonic() >= failure.retry_at


def _files(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Returns path, size and time of change (ns) of all files in a folder."""
    found = set()
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except OSError:
            # Removed while we look; that is a change, too.
            continue
        found.add((str(path), status.st_size, status.st_mtime_ns))
    return frozenset(found)


def _no_versions(model: ModelConfig) -> tuple[str, bool]:
    """Returns what is amiss with a model without versions, and whether it may pass."""
    base = Path(model.base_path)
    text = f"No versions of servable {model.name} found under base path {base}"
    if (base / "saved_model.pb").is_file():
        way_out = "give the folder that holds it, and name it by a number"
        return f"{text}: it is itself a version; {way_out}", False
    policy = model.model_version_policy
    if policy.HasField("specific"):
        text += f" (wanted: {', '.join(map(str, policy.specific.versions))})"
    return text, True
