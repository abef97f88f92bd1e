"""Versions of an index side by side: publish beside, switch at once, roll back.

    <root>/1/, 2/, ...   each a folder as `Index.save` writes it; rising numbers, as TF
                         Serving has them, and none is ever given twice
    <root>/current       JSON: the version that readers open, those that were current
                         before it (the latest last), and the newest number given
    <root>/.lock         held by the one writer; the system lets go of it at a kill

`current` is a file and no symlink: one rename changes the version and its history
together, and it survives archives, object stores and file systems without links.
Readers take no lock and need no right to write.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Union

from simprod_tf.atomic import write_json
from simprod_tf.errors import InputError, ModelError, SimprodError
from simprod_tf.index.folder import read_index_manifest
from simprod_tf.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from simprod_tf.index.base import Index

T = TypeVar("T")
PathLike = Union[str, os.PathLike[str]]

CURRENT_NAME = "current"
_LOCK_NAME = ".lock"
# What a killed writer leaves: versions and `current` being written, versions going.
_LEFTOVER = re.compile(r"\.(\d+|current|pruned)-")
_HISTORY = 10
# Each failure takes two publications within one load: this many are no accident.
_TRIES = 20


@dataclass(frozen=True)
class Version:
    """One version in a root.

    Attributes:
        number: its name in the root.
        folder: where it lies.
        is_current: whether readers open this one.
        n: how many products it holds.
        kind: the type of index, "exact" or "scann".
        encoder_fingerprint: of the encoder that made its embeddings.
        saved: when its manifest was written, UTC.
    """

    number: int
    folder: Path
    is_current: bool
    n: int
    kind: str
    encoder_fingerprint: str
    saved: datetime


@dataclass(frozen=True)
class _Current:
    """What the file `current` holds; `before` has the latest last."""

    version: int
    before: tuple[int, ...]
    newest: int

    def moved_to(self, version: int) -> _Current:
        """Returns the state after a switch, the version left kept in the history."""
        if version == self.version:
            return self
        left = [one for one in (*self.before, self.version) if one != version]
        return _Current(version, tuple(left[-_HISTORY:]), max(self.newest, version))


def publish(index: Index, root: PathLike) -> int:
    """Saves the index as the next version, makes it current and returns its number.

    Readers see the old version until the new one is whole; a kill leaves the old one.

    Args:
        index: what shall be served.
        root: the folder of versions; made where there is none.

    Raises:
        InputError: root holds something else, or another writer is at work in it.
    """
    place = Path(root)
    require_root(place)
    place.mkdir(parents=True, exist_ok=True)
    with _writing(place):
        state = _read_current(place)
        given = [*_numbers(place), 0 if state is None else state.newest]
        number = max(given) + 1
        index.save(place / str(number))
        _write_current(place, _moved(state, number))
    return number


def switch(root: PathLike, version: int) -> None:
    """Makes a version current, after every file of it was verified.

    Raises:
        InputError: there is no such version, or another writer is at work.
        ModelError: a file of it is missing or altered; the current one stays.
    """
    place = _existing(root)
    with _writing(place):
        _require_version(place, version)
        _write_current(place, _moved(_read_current(place), version))


def rollback(root: PathLike) -> int:
    """Makes the version current that was so before; returns its number.

    Doing it twice goes back by two.

    Raises:
        InputError: no version was current before, or another writer is at work.
        ModelError: a file of that version is missing or altered; nothing changes.
    """
    place = _existing(root)
    with _writing(place):
        state = _known_current(place)
        before = [one for one in state.before if (place / str(one)).is_dir()]
        if not before:
            raise InputError(
                f"no version was current before version {state.version}; name one "
                "with --to (`simprod versions` lists them).",
                path=place,
            )
        _require_version(place, before[-1])
        _write_current(place, _Current(before[-1], tuple(before[:-1]), state.newest))
    return before[-1]


def prune(root: PathLike, *, keep: int = 2) -> list[int]:
    """Deletes old versions and returns their numbers, rising.

    The current version and the one before it stay; of the others the newest, until
    `keep` versions stay in all. Who has a deleted version open keeps it: its memory
    map lives on (on a local file system).

    Raises:
        InputError: another writer is at work.
        ModelError: no version is current.
    """
    if keep < 2:
        raise ValueError(
            f"keep must be at least 2 (the current version and the one before it), "
            f"got {keep}."
        )
    place = _existing(root)
    with _writing(place):
        state = _known_current(place)
        numbers = _numbers(place)
        first = [state.version, *reversed(state.before)][:2]
        kept = [one for one in first if one in numbers]
        others = [one for one in reversed(numbers) if one not in kept]
        gone = sorted(others[max(0, keep - len(kept)) :])
        for number in gone:
            # Renamed first: a reader finds a version whole, or not at all.
            going = place / f".pruned-{number}"
            os.replace(place / str(number), going)
            shutil.rmtree(going)
    return gone


def versions(root: PathLike) -> list[Version]:
    """Returns the versions in a root, by rising number.

    Raises:
        InputError: there is no such folder.
        ModelError: a version's manifest, or the file `current`, cannot be used.
    """
    place = _existing(root)
    state = _read_current(place)
    current = None if state is None else state.version
    found = []
    for number in _numbers(place):
        folder = place / str(number)
        try:
            found.append(_described(folder, current=current))
        except (ModelError, OSError):
            # A writer may have deleted it meanwhile.
            if folder.exists():
                raise
    return found


def current_folder(root: PathLike) -> Path:
    """Returns the folder of the current version.

    Raises:
        ModelError: nothing was published there, or `current` is damaged.
    """
    return Path(root) / str(_known_current(Path(root)).version)


def resolved(folder: PathLike) -> Path:
    """Returns the current version's folder for a root, and any other folder itself."""
    place = Path(folder)
    return current_folder(place) if is_root(place) else place


def load_resolved(folder: PathLike, load: Callable[[Path], T]) -> T:
    """Returns what `load` makes of `resolved(folder)`, whatever writers do meanwhile.

    Where the load fails since the version was replaced and deleted under it, the one
    that is current by then is loaded.

    Args:
        folder: a root, or a folder that `load` takes itself.
        load: raises ModelError or OSError where files are missing.

    Raises:
        SimprodError: what `load` raises for a version that is still current.
    """
    for _ in range(_TRIES):
        version = resolved(folder)
        try:
            return load(version)
        except (ModelError, OSError):
            if resolved(folder) == version:
                raise
    raise SimprodError(
        f"The current version in {folder} was replaced and deleted {_TRIES} times "
        "while it was being opened; publish less often, or prune with a larger keep."
    )


def open_current(root: PathLike, *, encoder_fingerprint: str | None = None) -> Index:
    """Returns the current index of a root; never fails over a writer at work.

    Args:
        root: the folder of versions.
        encoder_fingerprint: of the encoder in use; an index of another is refused.

    Raises:
        FingerprintError: another encoder made the index.
        ModelError: nothing is published there, or a file of it is damaged.
    """
    # The loader takes a root as well, by way of this module.
    from simprod_tf.index.build import load_index

    current_folder(root)
    return load_resolved(
        root, lambda folder: load_index(folder, encoder_fingerprint=encoder_fingerprint)
    )


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Keeps other writers out, threads too, and clears what a killed one left."""
    with open(root / _LOCK_NAME, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "another process is publishing, switching or pruning here; try again "
                "when it is done.",
                path=root,
            ) from None
        for path in root.iterdir():
            if _LEFTOVER.match(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield


def _read_current(root: Path) -> _Current | None:
    path = root / CURRENT_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, newest = int(content["version"]), int(content["newest"])
        return _Current(version, tuple(map(int, content["before"])), newest)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} is damaged ({type(error).__name__}: {error}); delete it and name "
            "a version: `simprod rollback ROOT --to N`."
        ) from error


def _known_current(root: Path) -> _Current:
    if root.is_file():
        raise InputError(
            "is a file, expected a folder of versions, as `simprod index --publish "
            "FOLDER` makes it.",
            path=root,
        )
    state = _read_current(root)
    if state is None and (root / MANIFEST_NAME).is_file():
        raise ModelError(
            f"{root} is one index, expected a folder of versions, as `simprod index "
            "--publish FOLDER` makes it."
        )
    if state is None:
        raise ModelError(
            f"{root} has no current version of an index (no file {CURRENT_NAME!r}); "
            "publish one, or name a version: `simprod rollback ROOT --to N`."
        )
    return state


def _moved(state: _Current | None, version: int) -> _Current:
    return _Current(version, (), version) if state is None else state.moved_to(version)


def _write_current(root: Path, state: _Current) -> None:
    write_json(root / CURRENT_NAME, asdict(state))


def _numbers(root: Path) -> list[int]:
    """Returns the numbers of the versions that are there, rising."""
    names = (path.name for path in root.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]*", name))


def _described(folder: Path, *, current: int | None) -> Version:
    manifest = read_index_manifest(folder)
    written_s = (folder / MANIFEST_NAME).stat().st_mtime
    return Version(
        number=int(folder.name),
        folder=folder,
        is_current=int(folder.name) == current,
        n=manifest["n"],
        kind=manifest["type"],
        encoder_fingerprint=manifest["encoder_fingerprint"],
        saved=datetime.fromtimestamp(written_s, timezone.utc),
    )


def _existing(root: PathLike) -> Path:
    place = Path(root)
    if not place.is_dir():
        raise InputError("there is no such folder of index versions.", path=place)
    return place


def _require_version(root: Path, version: int) -> None:
    """Verifies a version's files; without ScaNN, which they may be searched with."""
    from simprod_tf.index.build import load_index

    numbers = _numbers(root)
    if version not in numbers:
        known = ", ".join(map(str, numbers)) or "none"
        raise InputError(
            f"there is no version {version}; the versions are: {known}.", path=root
        )
    load_index(root / str(version), kind="exact")


def is_root(folder: PathLike) -> bool:
    """Returns whether versions were published in this folder."""
    return (Path(folder) / CURRENT_NAME).is_file()


def require_root(root: Path) -> None:
    """Refuses a place that holds anything but versions of an index.

    Raises:
        InputError: names what is in the way.
    """
    if not root.exists() or is_root(root):
        return
    if not root.is_dir():
        raise InputError("is a file; name a folder for the versions.", path=root)
    for path in root.iterdir():
        if path.name == _LOCK_NAME or _LEFTOVER.match(path.name):
            continue
        try:
            numbered = path.name.isdigit() and bool(read_index_manifest(path))
        except ModelError:
            numbered = False
        if not numbered:
            raise InputError(
                f"holds {path.name!r}, which is no version of an index; name a new or "
                "empty folder for the versions.",
                path=root,
            )
