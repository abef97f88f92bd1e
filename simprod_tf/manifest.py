"""Fingerprints, and the manifest that binds model, index and thresholds together.

A fingerprint is a hash over everything that decides an embedding: weights,
preprocessing, vocabulary and architecture. Whatever is saved carries the fingerprint
of the encoder that made it, in `manifest.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simprod_tf.atomic import write_json
from simprod_tf.errors import FingerprintError, ModelError

MANIFEST_NAME = "manifest.json"


def fingerprint(parts: Iterable[tuple[str, bytes]]) -> str:
    """Returns 16 hex digits of SHA-256 over named parts, in the given order."""
    digest = hashlib.sha256()
    for name, content in parts:
        # Lengths first: otherwise ("ab", "c") and ("a", "bc") would be the same.
        digest.update(f"{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Returns the hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Writes `manifest.json` into `folder`."""
    write_json(Path(folder) / MANIFEST_NAME, content)


def read_manifest(folder: str | os.PathLike[str], *, kind: str) -> dict[str, Any]:
    """Returns the manifest of `folder`, which must be of this `kind`.

    Raises:
        ModelError: there is none, it cannot be read, or it is of another kind.
    """
    path = Path(folder) / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} holds no {kind}: {MANIFEST_NAME} is missing."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
    found = content.get("kind") if isinstance(content, dict) else None
    if found != kind:
        raise ModelError(f"{folder} holds {found or 'nothing known'}, not: {kind}.")
    return content


def require_same_encoder(expected: str, found: str, *, what: str) -> None:
    """Refuses `what` unless it was made by the encoder with fingerprint `expected`."""
    if expected != found:
        raise FingerprintError(
            f"{what} belongs to encoder {found}, but encoder {expected} is in use; "
            "build it again with this encoder, or use the encoder that made it."
        )
