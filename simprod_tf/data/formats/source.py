"""Where a public data set comes from, and what is said where a file of it is missing.

Nothing here downloads: each set has terms of its own, which its user accepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simprod_tf.errors import InputError


@dataclass(frozen=True)
class Source:
    """A data set's home.

    Attributes:
        name: what it is called, with the year.
        page: the official page that says how to get it.
        terms: its licence, or where that stands.
        holds: the files that its folder holds, in words.
    """

    name: str
    page: str
    terms: str
    holds: str

    def require(self, path: Path) -> Path:
        """Returns `path`, which must be a file that is not empty.

        Raises:
            InputError: says where to get the file, under which terms, and the layout.
        """
        if not path.is_file():
            raise self.missing(path, "there is no such file.")
        if path.stat().st_size == 0:
            raise self.missing(path, "the file is empty.")
        return path

    def missing(self, path: Path, what: str) -> InputError:
        """Returns the error for a file that has to be fetched (again)."""
        return InputError(
            f"{what} Nothing is downloaded here: get {self.name} from {self.page} "
            f"(terms: {self.terms}). Expected in the folder: {self.holds}.",
            path=path,
        )

    def misfit(self, path: Path, what: str, *, row: int | None = None) -> InputError:
        """Returns the error for a file or row that is not of the layout."""
        return InputError(f"{what} {self.name} has: {self.holds}.", path=path, row=row)
