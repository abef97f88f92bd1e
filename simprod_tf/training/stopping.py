"""Stops early, keeps the best weights, and survives being killed."""

from __future__ import annotations

import json
import logging
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.atomic import whole_file, write_json
from simprod_tf.errors import InputError

log = logging.getLogger(__name__)

_ROWS = "epochs.json"


class ResumableStopping(tf.keras.callbacks.Callback):
    """Early stopping that leaves the model with its best epoch's weights.

    Keras' `EarlyStopping` and `ModelCheckpoint` forget, in a new process, which epoch
    was the best and how long ago that was. Here a folder holds the logs of each epoch
    and the best weights; the rest is worked out from them. How many of the epochs count
    is what `tf.keras.callbacks.BackupAndRestore` says, which has the last word on where
    a training goes on: give both, this one BEFORE it, folders of their own. To end
    where an uninterrupted training does, the dataset must know its length, too: else
    Keras' optimizer counts one step too many in the first epoch of each process.

    Attributes:
        rows: What each epoch came to, those before an interruption too: `epoch`, from
            0, and all logs, as plain numbers.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        monitor: str = "val_pr_auc",
        mode: str = "max",
        patience: int = 6,
        min_delta: float = 0.0,
        keep: bool = False,
    ) -> None:
        """Takes where to remember and what to watch.

        Args:
            folder: Made where it is missing, and removed after a finished training.
            monitor: Name among the logs. Epochs whose logs lack it, or where it is
                NaN, are not the best, and count as waiting.
            mode: "max" if more is better, else "min".
            patience: Epochs without a better one before stopping.
            min_delta: How much better counts.
            keep: Leaves the folder after the training.
        """
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be min or max, got {mode!r}.")
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}.")
        self._folder, self._keep = Path(folder), keep
        self._monitor, self._patience = monitor, patience
        self._sign, self._min_delta = (1.0 if mode == "max" else -1.0), min_delta
        self.rows: list[dict[str, Any]] = []
        self._weights: list[np.ndarray] | None = None
        self._restored = False

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 0, whose weights are kept; None if none was measured."""
        return self._best(self.rows)

    @property
    def best_value(self) -> float | None:
        """What was watched, in the best epoch; None if none was measured."""
        best = self.best_epoch
        return next((r[self._monitor] for r in self.rows if r["epoch"] == best), None)

    @property
    def waited(self) -> int:
        """The number of epochs since the best one."""
        best = self.best_epoch
        if best is None:
            return len(self.rows)
        return sum(row["epoch"] > best for row in self.rows)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Reads what the folder holds; how much of it counts is not known yet."""
        self.rows, self._weights, self._restored = [], None, False
        path = self._folder / _ROWS
        if path.exists():
            try:
                self.rows = json.loads(path.read_text(encoding="utf-8"))["epochs"]
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    "cannot be read; delete its folder to start the training anew.",
                    path=path,
                ) from error

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Goes back to the state before this epoch, once after a start."""
        if not self._restored:
            self._restore(lambda row: row["epoch"] < epoch)
        # Killed between the last epoch and the end of a training: the rest of that
        # end is made up for, and this epoch ends after one step, unrecorded.
        self.model.stop_training = self._exhausted()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Records the epoch, and stops the training where it is time."""
        if self._exhausted():
            return
        before = self.best_epoch
        row = {name: _plain(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch, **row})
        if self.best_epoch == epoch:
            self._weights = self.model.get_weights()
        if self._writes():
            self._write(epoch, before)
        if self._exhausted():
            log.info("no better epoch in %d: stopping", self._patience)
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        """Gives the model its best weights, and removes the folder."""
        if not self._restored:
            # Killed after the last epoch: there is none left to begin.
            self._restore(lambda row: True)
        if self._weights is not None:
            self.model.set_weights(self._weights)
        if not self._keep and self._writes():
            shutil.rmtree(self._folder, ignore_errors=True)

    def _restore(self, counts: Callable[[dict[str, Any]], bool]) -> None:
        self.rows = [row for row in self.rows if counts(row)]
        self._restored = True
        best = self.best_epoch
        if best is None:
            return
        path = self._weights_file(best)
        try:
            with np.load(path) as found:
                self._weights = [found[str(row)] for row in range(len(found.files))]
        except (OSError, ValueError) as error:
            raise InputError(
                "cannot be read; delete its folder to start the training anew.",
                path=path,
            ) from error

    def _write(self, epoch: int, before: int | None) -> None:
        """Writes weights first: logs that are there speak of weights that are there."""
        if self.best_epoch == epoch and self._weights is not None:
            weights = {str(row): one for row, one in enumerate(self._weights)}
            with whole_file(self._weights_file(epoch)) as temporary:
                np.savez(temporary, **weights)
        write_json(self._folder / _ROWS, {"epochs": self.rows})
        # The backup of this epoch is yet to come. Killed before it, the training does
        # the epoch again, from the state before: its best weights are still needed.
        needed = {self.best_epoch, before}
        for path in self._folder.glob("best-*.npz"):
            number = re.fullmatch(r"best-(\d+)", path.stem)
            if number and int(number[1]) not in needed:
                path.unlink(missing_ok=True)

    def _best(self, rows: list[dict[str, Any]]) -> int | None:
        best, least = None, -math.inf
        for row in rows:
            value = row.get(self._monitor)
            if value is None or math.isnan(value):
                continue
            if best is None or self._sign * value > least + self._min_delta:
                best, least = row["epoch"], self._sign * value
        return best

    def _exhausted(self) -> bool:
        return self.waited >= self._patience

    def _weights_file(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch}.npz"

    def _writes(self) -> bool:
        """Returns whether this is the one worker that writes files."""
        return self.model.distribute_strategy.extended.should_checkpoint


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)
