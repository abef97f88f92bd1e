"""One shard of a feature store: rows of features, and a file that tells of them.

`<number>.npy` is [n, F]; `<number>.json` beside it appears last and makes the shard
count. Both carry a checksum: what was cut or altered is found when it is read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simprod_tf.atomic import whole_file
from simprod_tf.features.picture_digest import NO_FILE, NO_PICTURE
from simprod_tf.manifest import file_sha256

# Side files, by rising number; everything else in the folder has other names.
SIDE_FILES = "[0-9]*.json"


@dataclass
class Shard:
    """What the side file of a shard says.

    Attributes:
        ids: Products, each with a digest in `digests`.
        digests: Of the products' pictures.
        rows: The digest of each row of the `.npy`.
        reasons: Of the digests of pictures that cannot be used.
        npy_sha256: Of the `.npy`.
    """

    ids: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    npy_sha256: str = ""

    def __bool__(self) -> bool:
        return bool(self.ids or self.rows or self.reasons)

    def checksum(self) -> str:
        """Returns a SHA-256 over all of it."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class StoredShard(NamedTuple):
    """A shard on disk; `vectors` are [n, F], memory-mapped."""

    shard: Shard
    vectors: np.ndarray


class Contents:
    """What the whole shards of a store say, the later over the earlier.

    Attributes:
        arrays: The shards' rows, memory-mapped.
        picture_of: The digest of each product's picture.
        place_of: Where the features of a digest stand: (position in `arrays`, row).
        damaged: Side files of shards that cannot be used.
    """

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.picture_of: dict[str, str] = {}
        self.place_of: dict[str, tuple[int, int]] = {}
        self.damaged: list[Path] = []
        self._reason_of: dict[str, str] = {}

    def add(self, stored: StoredShard) -> None:
        """Takes a shard in, the newest of them."""
        shard, vectors = stored
        self.place_of.update(
            (digest, (len(self.arrays), row)) for row, digest in enumerate(shard.rows)
        )
        self.arrays.append(vectors)
        self.picture_of.update(zip(shard.ids, shard.digests))
        self._reason_of.update(shard.reasons)

    def settles(self, digest: str) -> bool:
        """Says whether a picture need not be computed."""
        return (
            digest in self.place_of
            or digest == NO_PICTURE
            or self.reason(digest) is not None
        )

    def reason(self, digest: str) -> str | None:
        """Returns why a picture cannot be used; None if nothing speaks against it."""
        if digest.startswith(NO_FILE):
            return f"the picture cannot be read: {digest[len(NO_FILE) :]}."
        return self._reason_of.get(digest)


def read_shard(side: Path, *, dim: int, dtype: np.dtype) -> StoredShard:
    """Returns the shard of this side file.

    Raises:
        OSError, ValueError, TypeError: it is damaged.
    """
    content = json.loads(side.read_text(encoding="utf-8"))
    checksum = content.pop("sha256", None) if isinstance(content, dict) else None
    shard = Shard(**content)
    if shard.checksum() != checksum:
        raise ValueError("its checksum is wrong")
    rows = side.with_suffix(".npy")
    if file_sha256(rows) != shard.npy_sha256:
        raise ValueError(f"the checksum of {rows.name} is wrong")
    vectors = _mapped(rows)
    if vectors.shape != (len(shard.rows), dim) or vectors.dtype != dtype:
        raise ValueError(f"{rows.name} is {vectors.dtype} {vectors.shape}")
    return StoredShard(shard, vectors)


def write_shard(folder: Path, shard: Shard, vectors: np.ndarray) -> StoredShard:
    """Writes the next shard of a folder, its side file last."""
    numbers = [int(path.stem) for path in folder.glob(SIDE_FILES)]
    side = folder / f"{max(numbers, default=0) + 1:08d}.json"
    rows = side.with_suffix(".npy")
    with whole_file(rows) as temporary:
        np.save(temporary, vectors)
        shard.npy_sha256 = file_sha256(temporary)
    with whole_file(side) as temporary:
        text = json.dumps({**asdict(shard), "sha256": shard.checksum()})
        temporary.write_text(text, encoding="utf-8")
    return StoredShard(shard, _mapped(rows))


def delete_shard(side: Path) -> None:
    """Deletes a shard, the side file first: half of one is never taken for whole."""
    side.unlink(missing_ok=True)
    side.with_suffix(".npy").unlink(missing_ok=True)


def delete_leftovers(folder: Path) -> None:
    """Deletes what a killed process left half written."""
    for rows in folder.glob("[0-9]*.npy"):
        if not rows.with_suffix(".json").exists():
            rows.unlink()
    for temporary in folder.glob(".[0-9]*-*"):
        temporary.unlink()


def _mapped(rows: Path) -> np.ndarray:
    try:
        return np.load(rows, mmap_mode="r")
    except ValueError:
        # No rows: an empty file cannot be mapped.
        return np.load(rows)
