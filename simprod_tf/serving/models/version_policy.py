"""Which versions of a model there are in its folder, and which of them to serve."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

# What a SavedModel is told by. Without it a folder is empty, or still being copied.
_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_NUMBER = re.compile(r"[0-9]+")
_LARGEST = 2**63 - 1

_log = logging.getLogger(__name__)


def version_folders(base_path: Path) -> dict[int, Path]:
    """Returns the folder of each version in a model's folder.

    A version is a folder whose name is a number (leading zeros count for nothing) and
    which holds a SavedModel; a writer's temporary folders have other names. Of two that
    are the same number the one without zeros is taken.

    Raises:
        OSError: the folder cannot be listed.
    """
    found: dict[int, Path] = {}
    # Shortest name first: "7" before "007".
    for folder in sorted(base_path.iterdir(), key=lambda path: len(path.name)):
        number = _version_number(folder.name)
        if number is None or not _holds_model(folder):
            continue
        if number in found:
            _log.warning(
                "%s holds version %d twice; %s is left out, %s is taken.",
                base_path,
                number,
                folder.name,
                found[number].name,
            )
            continue
        found[number] = folder
    return found


def wanted_versions(
    policy: FileSystemStoragePathSourceConfig.ServableVersionPolicy,
    present: Iterable[int],
) -> list[int]:
    """Returns those of the present versions that shall be served, newest first.

    Args:
        policy: latest (the default, of 1 version), all, or specific.
        present: numbers of versions.
    """
    newest_first = sorted(present, reverse=True)
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return newest_first
    if choice == "specific":
        return [number for number in newest_first if number in policy.specific.versions]
    return newest_first[: max(1, policy.latest.num_versions)]


def _version_number(name: str) -> int | None:
    """Returns the version that a folder's name says, None if it says none."""
    if not _NUMBER.fullmatch(name) or int(name) > _LARGEST:
        return None
    return int(name)


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL_FILES)
