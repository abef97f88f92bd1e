"""The errors that the world causes: files, rows, models that do not fit.

    SimprodError
      InputError               a file or a row of it is wrong; says which
      FingerprintError         things made by different encoders were brought together
      ModelError               weights, a run or a SavedModel cannot be used
      RecallError              a search finds less than was asked for
      ThresholdError           no threshold reaches what was asked for
      MissingLibraryError      an optional library is not there
      QueryError               the data engine refused SQL or data (engine.embedded)

A programmer's mistake stays a ValueError or TypeError. The command line turns a
SimprodError into one line on stderr and exit code 1.
"""

from __future__ import annotations

import os


class SimprodError(Exception):
    """Anything that went wrong outside the code: catch this one to catch all."""


class InputError(SimprodError):
    """A file cannot be used; names the file, and the row where there is one."""

    def __init__(
        self, message: str, *, path: str | os.PathLike[str], row: int | None = None
    ) -> None:
        """Keeps `path` and `row`: rows count from 1, the first below a header."""
        self.path, self.row, self.reason = os.fspath(path), row, message
        where = self.path if row is None else f"{self.path}, row {row}"
        super().__init__(f"{where}: {message}")


class FingerprintError(SimprodError):
    """Two things carry fingerprints of different encoders."""


class ModelError(SimprodError):
    """Weights, a training run or a SavedModel are damaged or do not fit."""


class RecallError(SimprodError):
    """An approximate index does not find the wanted share of the neighbours."""


class ThresholdError(SimprodError):
    """No distance threshold reaches the stated precision on the given pairs."""


class MissingLibraryError(SimprodError):
    """An optional library cannot be imported; the message says how to get it."""
