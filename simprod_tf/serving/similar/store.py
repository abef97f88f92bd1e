"""The index that is served: searched by many, changed by one thread, and durable.

A change is acknowledged when its record in the write-ahead log is on disk and the index
in memory has it. One thread makes all changes, one group after the other; what comes
while a group is written is the next group, and shares one sync of the disk. Searches
run beside the writing, and wait only while a group is applied in memory.

A checkpoint publishes the index as the next version and begins the log anew; changes
wait for it, searches do not. What a kill leaves at any point is a version and a log
that together hold every change acknowledged: see `write_ahead_log`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from simprod_tf.errors import SimprodError
from simprod_tf.index.answer import Drift
from simprod_tf.index.build import load_index
from simprod_tf.index.versions import CURRENT_NAME, current_folder, prune, publish
from simprod_tf.matching.decisions import Decisions
from simprod_tf.serving.similar.changes import Added, Change
from simprod_tf.serving.similar.log_file import (
    LogError,
    LogHeader,
    sync_file,
    sync_folder,
    sync_tree,
)
from simprod_tf.serving.similar.replay import replay
from simprod_tf.serving.similar.trio import OutdatedError, Trio
from simprod_tf.serving.similar.write_ahead_log import WriteAheadLog

logger = logging.getLogger(__name__)

T = TypeVar("T")

_GROUP = 256
_DRIFT_AGE_S = 60.0


@dataclass(frozen=True)
class StoreOptions:
    """When a version is made of the log.

    Attributes:
        checkpoint_records: a log with so many records is due for a checkpoint.
        checkpoint_bytes: one of this length is.
        keep_versions: how many versions of the index stay, at least 2.
        checkpoint_on_close: whether a clean end makes one.
    """

    checkpoint_records: int = 10_000
    checkpoint_bytes: int = 256 << 20
    keep_versions: int = 5
    checkpoint_on_close: bool = True

    def __post_init__(self) -> None:
        """Refuses numbers by which nothing would ever be kept."""
        if min(self.checkpoint_records, self.checkpoint_bytes) < 1:
            raise ValueError(
                "checkpoint_records and checkpoint_bytes are at least 1, got "
                f"{self.checkpoint_records} and {self.checkpoint_bytes}."
            )
        if self.keep_versions < 2:
            raise ValueError(f"keep_versions is at least 2, got {self.keep_versions}.")


@dataclass(frozen=True)
class Outcome:
    """What a change did.

    Attributes:
        count: how many products are new, or were removed.
        num_products: how many there are after it.
        version: of the index that it came on top of.
    """

    count: int
    num_products: int
    version: int


class _Pending:
    """A change on its way, and what became of it."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.outcome: Outcome | None = None
        self.error: Exception | None = None


class Store:
    """One trio in use, the log of its changes, and the thread that makes them."""

    def __init__(
        self,
        trio: Trio,
        root: str | os.PathLike[str],
        *,
        log_folder: str | os.PathLike[str],
        options: StoreOptions | None = None,
    ) -> None:
        """Takes a trio as its version was saved, and repeats the changes in the log.

        Args:
            trio: of the current version in `root`.
            root: the folder of index versions.
            log_folder: of the log; made where there is none.
            options: when a version is made of the log.

        Raises:
            InputError: another process writes the log, or a record is damaged.
        """
        self._root, self._options = Path(root), options or StoreOptions()
        self._log = WriteAheadLog(log_folder)
        self._left_out: frozenset[int] = frozenset()
        self._broken = False
        self._closed = False
        self._drift: tuple[float, Trio, Drift] | None = None
        self._pending: deque[_Pending] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="similar-store")
        try:
            self._take_over(trio)
        except BaseException:
            self._log.close()
            raise

    @property
    def trio(self) -> Trio:
        """What answers now; who holds it may go on with it after a switch."""
        return self._trio

    @property
    def num_records(self) -> int:
        """The number of records in the log."""
        return self._log.num_records

    @property
    def num_bytes(self) -> int:
        """The length of the log."""
        return self._log.num_bytes

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the log is long."""
        return (
            self.num_records >= self._options.checkpoint_records
            or self.num_bytes >= self._options.checkpoint_bytes
        )

    def change(self, change: Change, *, timeout: float | None = None) -> Outcome:
        """Makes a change, all of it or nothing, and returns when it is durable.

        Args:
            change: what to do.
            timeout: seconds to wait; the change may be made after that.

        Raises:
            KeyError: a product to be removed is not there; names it.
            OutdatedError: another trio came into use; make the change for that one.
            LogError: the log cannot be written.
            concurrent.futures.TimeoutError: it took longer.
        """
        one = _Pending(change)
        # Before the commit is asked for, or it might not find it.
        self._pending.append(one)
        self._run(self._commit).result(timeout)
        if one.error is not None:
            raise one.error
        if one.outcome is None:
            raise LogError(_BROKEN)
        return one.outcome

    def switch(self, trio: Trio) -> None:
        """Repeats the changes in the log on a new trio, and puts it in use at once.

        Products that cannot be carried over, since they came as embeddings of another
        encoder, are named in the log of the program; their record stays on disk.
        """
        self._run(lambda: self._take_over(trio)).result()

    def decide(self, decisions: Decisions | None) -> None:
        """Puts other thresholds in use.

        Raises:
            FingerprintError: they are for another encoder.
        """
        self._run(lambda: self._decide(decisions)).result()

    def checkpoint(self) -> int | None:
        """Publishes the index as the next version, and begins the log anew.

        Returns:
            The version; None where nothing was changed, or somebody else published a
            version that is not in use yet: it goes first.

        Raises:
            InputError: another process is publishing in the root.
            OSError: the disk is full, say; the log goes on.
        """
        return self._run(self._checkpoint).result()

    def compact(self) -> int | None:
        """Trains a copy of the index anew and publishes it; returns its version.

        It comes into use like any version that is published: by a `switch`. None where
        somebody else has published one meanwhile.

        Raises:
            RecallError: the wanted recall is not reached.
        """
        self.checkpoint()
        version = self.trio.version
        copy = load_index(self._root / str(version))
        for one in (copy, *copy.views.values()):
            one.compact()
        if _current_version(self._root) != version:
            return None
        return publish(copy, self._root)

    def drift(self) -> Drift:
        """Returns what changes did to the search, measured at most once a minute."""
        return self._run(self._measured_drift).result()

    def close(self) -> None:
        """Makes the last checkpoint and lets go of the log; twice does no harm."""
        if self._closed:
            return
        try:
            if self._options.checkpoint_on_close and not self._broken:
                self.checkpoint()
        except (SimprodError, OSError) as error:
            logger.warning("No checkpoint at the end, the log stays: %s", error)
        finally:
            self._closed = True
            self._thread.shutdown()
            self._log.close()

    def _run(self, work: Callable[[], T]) -> Future[T]:
        """Runs work in the thread that makes changes."""
        try:
            return self._thread.submit(work)
        except RuntimeError:
            raise LogError("The server is closing; no change was made.") from None

    def _take_over(self, trio: Trio) -> None:
        left_out = replay(self._log, trio)
        self._log.begin(LogHeader(trio.version, trio.fingerprint))
        self._left_out = left_out
        self._trio = trio

    def _decide(self, decisions: Decisions | None) -> None:
        trio = self._trio
        self._trio = Trio.of(
            trio.index,
            version=trio.version,
            encoder=trio.encoder,
            decisions=decisions,
            lock=trio.lock,
        )

    def _commit(self) -> None:
        """Makes all changes that wait, group by group."""
        while group := self._next_group():
            good = self._fitting(group)
            if not good:
                continue
            if self._broken:
                raise LogError(_BROKEN)
            try:
                self._log.append([one.change.record for one in good])
            except LogError as error:
                for one in good:
                    one.error = error
                continue
            self._apply(good)

    def _next_group(self) -> list[_Pending]:
        group: list[_Pending] = []
        while self._pending and len(group) < _GROUP:
            group.append(self._pending.popleft())
        return group

    def _fitting(self, group: list[_Pending]) -> list[_Pending]:
        """Returns those that can be made, one after the other; the rest has errors."""
        index = self._trio.index
        # What those before it in the group do to a product.
        there: dict[str, bool] = {}
        good = []
        for one in group:
            change = one.change
            one.error = self._refusal(change, lambda id: there.get(id, id in index))
            if one.error is None:
                there.update(dict.fromkeys(change.ids, isinstance(change, Added)))
                good.append(one)
        return good

    def _refusal(
        self, change: Change, holds: Callable[[str], bool]
    ) -> Exception | None:
        trio = self._trio
        if isinstance(change, Added):
            schema = None if change.attributes is None else change.attributes.schema
            if (change.encoder_fingerprint, schema) == (trio.fingerprint, trio.schema):
                return None
            return OutdatedError(
                f"The change was made for encoder {change.encoder_fingerprint}, now "
                f"{trio.fingerprint} is in use; make it anew."
            )
        missing = [id for id in change.ids if not holds(id)]
        if missing and not change.allow_missing:
            return KeyError(f"The index holds no product {missing[0]!r}.")
        return None

    def _apply(self, group: list[_Pending]) -> None:
        # Should this fail, memory and log disagree: until the next start nothing more
        # may be logged.
        self._broken = True
        trio = self._trio
        with trio.lock.writing():
            for one in group:
                count = trio.take(one.change)
                one.outcome = Outcome(count, len(trio.index), trio.version)
        self._broken = False

    def _checkpoint(self) -> int | None:
        trio = self._trio
        if not self._log.num_records or _current_version(self._root) != trio.version:
            return None
        number = publish(trio.index, self._root)
        # The log, which is on disk, may go only when this is.
        sync_tree(self._root / str(number))
        sync_file(self._root / CURRENT_NAME)
        sync_folder(self._root)
        self._trio = dataclasses.replace(trio, version=number)
        began = self._log.begin(LogHeader(number, trio.fingerprint))
        self._log.drop_before(began, keep=self._left_out)
        self._left_out = frozenset()
        logger.info("The log is in version %d of the index now.", number)
        try:
            prune(self._root, keep=self._options.keep_versions)
        except (SimprodError, OSError) as error:
            logger.warning("Old versions of the index stay: %s", error)
        return number

    def _measured_drift(self) -> Drift:
        # In the thread that changes the index: so nothing changes beside it.
        now = time.monotonic()
        kept = self._drift
        if kept is None or kept[1] is not self._trio or now - kept[0] > _DRIFT_AGE_S:
            kept = self._drift = (now, self._trio, self._trio.index.drift())
        return kept[2]


_BROKEN = (
    "A change is in the log, but could not be applied in memory; it will be when the "
    "server starts again. Until then it takes no changes."
)


def _current_version(root: Path) -> int:
    return int(current_folder(root).name)
