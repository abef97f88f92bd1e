"""The trio that a server answers by, opened from folders and kept up to date."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index
from simprod_tf.index.build import load_index
from simprod_tf.index.versions import current_folder, load_resolved
from simprod_tf.matching.decisions import (
    Decisions,
    read_decisions,
    trained_decisions,
)
from simprod_tf.serving.similar.store import Store, StoreOptions
from simprod_tf.serving.similar.trio import Encoder, Trio

logger = logging.getLogger(__name__)

# Inside the folder of versions, so that whoever moves it takes the log along.
LOG_NAME = "log"
_LOG_SECONDS = 5.0


@dataclass(frozen=True)
class BundleOptions:
    """What is served, and from where.

    Attributes:
        model: the folder of an exported encoder, with one or more versions.
        index: the folder of index versions (`simprod index --publish`).
        decisions: file of `simprod threshold`; None for what training chose.
        log: the folder of the write-ahead log; None for `log` within `index`.
        poll_seconds: how often new versions and decisions are looked for; 0 = never,
            and only the length of the log is looked at.
        store: when a version is made of the log.
    """

    model: Path
    index: Path
    decisions: Path | None = None
    log: Path | None = None
    poll_seconds: float = 1.0
    store: StoreOptions = field(default_factory=StoreOptions)

    def __post_init__(self) -> None:
        """Refuses a time that runs backwards."""
        if not self.poll_seconds >= 0:
            raise ValueError(f"poll_seconds is at least 0, got {self.poll_seconds}.")


class Bundle:
    """Encoder, index and thresholds of one fingerprint, and newer ones of another.

    A version of the index that is published, by whomever, is opened beside the one in
    use, with the encoder of its fingerprint and thresholds for it; when all three are
    there, the changes in the log are repeated on it, and it is put in use at once.
    Until then, the old trio answers, and `problem` says what is missing.
    """

    def __init__(
        self,
        options: BundleOptions,
        *,
        open_encoder: Callable[[Path, str], Encoder] | None = None,
    ) -> None:
        """Opens the current version; see `open`.

        Args:
            options: what is served.
            open_encoder: returns a model's encoder of a fingerprint; by default the
                exported encoder.
        """
        self._options = options
        self._open_encoder = open_encoder or _exported_encoder
        self._problem = ""
        self._seen_decisions = _state(options.decisions)
        self._stop = threading.Event()
        log = options.index / LOG_NAME if options.log is None else options.log
        self.store = Store(
            self._opened(), options.index, log_folder=log, options=options.store
        )
        self._watcher = threading.Thread(
            target=self._watch, name="similar-watch", daemon=True
        )
        self._watcher.start()

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str],
        index: str | os.PathLike[str],
        decisions: str | os.PathLike[str] | None = None,
    ) -> Bundle:
        """Returns what a model, a folder of index versions and decisions make.

        Raises:
            FingerprintError: the model has no version of the index's fingerprint, or
                the decisions are for another.
            ModelError: nothing was published in `index`; a file is damaged.
            InputError: the decisions cannot be read, a record of the log is damaged, or
                another server writes it.
        """
        path = None if decisions is None else Path(decisions)
        return cls(BundleOptions(Path(model), Path(index), path))

    @property
    def trio(self) -> Trio:
        """What answers now."""
        return self.store.trio

    @property
    def problem(self) -> str:
        """Why something newer is not in use, or no checkpoint was made; or ""."""
        return self._problem

    def refresh(self) -> None:
        """Looks for new versions and decisions once, and does what is due.

        Raises:
            SimprodError, OSError: something of it cannot be used; all stays as it was.
        """
        # First: whatever is wrong with what is new, the log shall not grow for ever.
        self._shorten_log()
        self._follow_index()
        self._follow_decisions()

    def close(self) -> None:
        """Ends the watching, makes the last checkpoint; twice does no harm."""
        self._stop.set()
        self._watcher.join()
        self.store.close()

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Trio:
        """Returns the current version of the index with encoder and decisions."""
        current_folder(self._options.index)
        version, index = load_resolved(self._options.index, _numbered)
        fingerprint = index.encoder_fingerprint
        logger.info("Loading version %d of the index, encoder %s", version, fingerprint)
        encoder = self._open_encoder(self._options.model, fingerprint)
        return Trio.of(
            index, version=version, encoder=encoder, decisions=self._decisions(index)
        )

    def _decisions(self, index: Index) -> Decisions | None:
        if self._options.decisions is not None:
            return read_decisions(self._options.decisions)
        return trained_decisions(index.extra.get("decision"), index.encoder_fingerprint)

    def _shorten_log(self) -> None:
        if self.store.is_checkpoint_due:
            self.store.checkpoint()
            if self.store.drift().due:
                self.store.compact()

    def _follow_index(self) -> None:
        current = int(current_folder(self._options.index).name)
        if current == self.trio.version:
            return
        trio = self._opened()
        self.store.switch(trio)
        logger.info(
            "Version %d of the index is in use, encoder %s.",
            trio.version,
            trio.fingerprint,
        )

    def _follow_decisions(self) -> None:
        state = _state(self._options.decisions)
        if state == self._seen_decisions:
            return
        self.store.decide(self._decisions(self.trio.index))
        self._seen_decisions = state
        logger.info("New decisions are in use.")

    def _watch(self) -> None:
        poll_seconds = self._options.poll_seconds
        look = self.refresh if poll_seconds else self._shorten_log
        while not self._stop.wait(poll_seconds or _LOG_SECONDS):
            problem = ""
            try:
                look()
            except (SimprodError, OSError) as error:
                problem = str(error)
            if problem and problem != self._problem:
                logger.warning("The server goes on with what it has: %s", problem)
            self._problem = problem


def _exported_encoder(model: Path, fingerprint: str) -> Encoder:
    # Here, since it loads TensorFlow.
    from simprod_tf.serving.similar.encoder import open_encoder

    return open_encoder(model, fingerprint)


def _numbered(folder: Path) -> tuple[int, Index]:
    return int(folder.name), load_index(folder)


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """Returns what tells whether a file was replaced; None where there is none."""
    try:
        found = None if path is None else path.stat()
    except FileNotFoundError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)
