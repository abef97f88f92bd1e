"""Digests of picture files: what a stored feature is known by."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# Stand for a digest where there is no content; behind NO_FILE stands the reason.
NO_PICTURE, NO_FILE = "", "no file: "


@dataclass(frozen=True)
class Picture:
    """A product's picture file, and the digest of its content."""

    id: str
    path: str
    digest: str


def digested(products: list[tuple[str, str]]) -> list[Picture]:
    """Returns products, (id, path) each, with the digests of their picture files."""
    found: list[Picture] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # In blocks: the pool takes all that it is given into its queue.
        for start in range(0, len(products), 4096):
            block = products[start : start + 4096]
            digests = pool.map(digest_of, (path for _, path in block))
            found += [Picture(*one, digest) for one, digest in zip(block, digests)]
    return found


def digest_of(path: str) -> str:
    """Returns 32 hex digits of BLAKE2b of a file's content."""
    if not path:
        return NO_PICTURE
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        return f"{NO_FILE}{error.strerror}"
    return digest.hexdigest()
