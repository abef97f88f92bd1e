"""Features of pictures on disk, computed once.

`<folder>/<fingerprint>/` holds `manifest.json`, numbered shards (`features.shard`) and
`unreadable.csv`: id, path and reason of the pictures that cannot be used.

A picture is known by a digest of its file's content: a moved or touched file is not
computed again, a changed one is, and one that many products show is computed once.
Hashing costs under 1 % of what AlexNet does. A later shard overrules the earlier ones.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.atomic import whole_file
from simprod_tf.errors import InputError, ModelError
from simprod_tf.features.image import PictureSettings
from simprod_tf.features.inputs import ReadablePictures
from simprod_tf.features.picture_digest import (
    NO_PICTURE,
    Picture,
    digest_of,
    digested,
)
from simprod_tf.features.shard import (
    SIDE_FILES,
    Contents,
    Shard,
    delete_leftovers,
    delete_shard,
    read_shard,
    write_shard,
)
from simprod_tf.features.stored_features import StoredFeatures
from simprod_tf.manifest import MANIFEST_NAME, read_manifest, write_manifest

KIND = "feature store"
DTYPES = ("float16", "float32")

Progress = Callable[[int, int], None]
# Returns [b, F] features of [b, H, W, 3] uint8 pixels.
Compute = Callable[[tf.Tensor], np.ndarray]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnreadablePicture:
    """A product whose picture cannot be used, and why."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Extraction:
    """What `FeatureStore.extract` did.

    Attributes:
        computed: Pictures whose features were computed.
        kept: Products of which all was known before.
        remade: Damaged shards that were deleted; what they held was made again.
        unreadable: Products whose picture cannot be used.
        without_picture: Ids of products that have none.
    """

    computed: int
    kept: int
    remade: int
    unreadable: tuple[UnreadablePicture, ...]
    without_picture: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.computed} pictures computed, {self.kept} products known before, "
            f"{self.remade} damaged shards made again, {len(self.unreadable)} pictures "
            f"unreadable, {len(self.without_picture)} products without one"
        )


class FeatureStore:
    """The features of one tower, known by its fingerprint, in a folder."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        fingerprint: str,
        dim: int,
        dtype: str = "float16",
        description: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens the store, or creates it.

        Args:
            folder: The stores of several towers stand in it side by side.
            fingerprint: Of all that decides a feature: tower, weights, preprocessing.
            dim: The features' length.
            dtype: What they are kept in: float16 or float32.
            description: Goes into the manifest, for people.

        Raises:
            ModelError: the store that is there has other features.
            InputError: the folder cannot be written.
        """
        if not re.fullmatch(r"\w[\w.-]*", fingerprint):
            raise ValueError(f"fingerprint must be a plain name, got {fingerprint!r}.")
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be float16 or float32, got {dtype!r}.")
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}.")
        self.folder = Path(folder) / fingerprint
        self.dim, self.dtype = dim, np.dtype(dtype)
        self._contents: Contents | None = None
        self._open(
            {"fingerprint": fingerprint, "dim": dim, "dtype": dtype},
            dict(description or {}),
        )

    def extract(
        self,
        ids: Sequence[str] | np.ndarray,
        paths: Sequence[str] | np.ndarray,
        compute: Compute,
        settings: PictureSettings,
        *,
        batch_size: int = 64,
        shard_rows: int = 2048,
        progress: Progress | None = None,
    ) -> Extraction:
        """Computes the features that are not in the store.

        After a kill the next call goes on; at most one shard's work is lost. Pictures
        that cannot be used do not stop it; they are tried again when they change.

        Args:
            ids: Products, each once.
            paths: Their picture files, "" where there is none.
            compute: Returns [b, F] features of [b, H, W, 3] uint8 pixels. The last
                batches are smaller: a tf.function should leave the size open, or it is
                compiled again.
            settings: How pictures are decoded; belongs to the fingerprint.
            batch_size: Pictures in a batch.
            shard_rows: Pictures in a shard, rounded up to whole batches; so many
                features are held in memory.
            progress: Called with (pictures done, pictures to compute).

        Raises:
            InputError: the store cannot be written, or another process writes it.
            ModelError: the features are not finite, or too large for `dtype`.
        """
        products = _products(ids, paths)
        with self._lock():
            remade = self._clear()
            contents = self._known()
            pictures = digested(products)
            unsettled = {
                picture.digest: picture
                for picture in pictures
                if not contents.settles(picture.digest)
            }
            kept = sum(
                picture.digest not in unsettled
                and contents.picture_of.get(picture.id) == picture.digest
                for picture in pictures
            )
            wanted = list(unsettled.values())
            readable = ReadablePictures(
                [picture.path for picture in wanted], settings, batch_size=batch_size
            )
            computed = self._compute(
                wanted, readable, compute, shard_rows=shard_rows, progress=progress
            )
            self._settle(pictures, _faults(wanted, readable))
            unreadable = tuple(self._unreadable(pictures))
            self._write_unreadable(unreadable)
        return Extraction(
            computed=computed,
            kept=kept,
            remade=remade,
            unreadable=unreadable,
            without_picture=tuple(p.id for p in pictures if p.digest == NO_PICTURE),
        )

    def features(self, ids: Sequence[str] | np.ndarray) -> StoredFeatures:
        """Returns the features of these products, in their order, left on disk.

        Raises:
            KeyError: `extract` has not seen a product.
            ModelError: a shard is damaged.
        """
        contents = self._known()
        if contents.damaged:
            raise ModelError(
                f"{contents.damaged[0]} is damaged; extract the features again: only "
                "what is lost is computed."
            )
        shards = np.full(len(ids), -1, np.int64)
        rows = np.zeros(len(ids), np.int64)
        for position, id in enumerate(ids):
            digest = contents.picture_of.get(str(id))
            if digest is None or not contents.settles(digest):
                raise KeyError(
                    f"product {str(id)!r} is not in the feature store {self.folder}; "
                    "extract its features first."
                )
            if digest in contents.place_of:
                shards[position], rows[position] = contents.place_of[digest]
        return StoredFeatures(contents.arrays, shards=shards, rows=rows, dim=self.dim)

    def _open(self, content: dict[str, Any], description: dict[str, Any]) -> None:
        if not (self.folder / MANIFEST_NAME).exists():
            manifest = {"kind": KIND, **content, "description": description}
            with self._writing():
                write_manifest(self.folder, manifest)
        found = read_manifest(self.folder, kind=KIND)
        for name, wanted in content.items():
            if found.get(name) != wanted:
                raise ModelError(
                    f"{self.folder} holds features of {name} {found.get(name)}, not "
                    f"{wanted}; give another folder, or delete this one."
                )

    def _known(self) -> Contents:
        """Returns what the shards hold; their checksums are tried the first time."""
        if self._contents is None:
            contents = Contents()
            for side in sorted(self.folder.glob(SIDE_FILES)):
                try:
                    contents.add(read_shard(side, dim=self.dim, dtype=self.dtype))
                except (OSError, ValueError, TypeError) as error:
                    log.warning("Feature shard %s is damaged: %s.", side, error)
                    contents.damaged.append(side)
            self._contents = contents
        return self._contents

    def _clear(self) -> int:
        """Deletes damaged shards and what a killed process left; counts the former."""
        self._contents = None
        damaged = self._known().damaged
        with self._writing():
            for side in damaged:
                delete_shard(side)
            delete_leftovers(self.folder)
        if damaged:
            log.warning("Making %d damaged feature shards again.", len(damaged))
        self._known().damaged = []
        return len(damaged)

    def _compute(
        self,
        wanted: list[Picture],
        readable: ReadablePictures,
        compute: Compute,
        *,
        shard_rows: int,
        progress: Progress | None,
    ) -> int:
        """Computes pictures, writes shards of them, and counts them."""
        done, digests, blocks = 0, [], []
        for rows, pixels in readable:
            blocks.append(self._fitting(compute(pixels), [wanted[r] for r in rows]))
            digests += [wanted[row].digest for row in rows]
            done += len(rows)
            if len(digests) >= shard_rows:
                self._add(Shard(rows=digests), np.concatenate(blocks))
                digests, blocks = [], []
            if progress:
                progress(done, len(wanted))
        if digests:
            self._add(Shard(rows=digests), np.concatenate(blocks))
        if progress and done < len(wanted):
            progress(len(wanted), len(wanted))
        return done

    def _fitting(self, values: Any, pictures: list[Picture]) -> np.ndarray:
        """Returns computed features as they are kept, checked."""
        features = np.asarray(values)
        if features.shape != (len(pictures), self.dim):
            raise ValueError(
                f"compute must return [{len(pictures)}, {self.dim}] features, got "
                f"{features.shape}."
            )
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(bad):
            raise ModelError(
                "the tower gives features that are not finite for "
                f"{pictures[bad[0]].path}; its weights may be damaged."
            )
        largest = float(np.finfo(self.dtype).max)
        if np.abs(features).max() > largest:
            raise ModelError(
                f"the tower gives a feature of {np.abs(features).max():.4g} for which "
                f"{self.dtype} is too small (up to {largest:.4g}); keep the features "
                "as float32."
            )
        return features.astype(self.dtype)

    def _settle(self, pictures: list[Picture], reasons: dict[str, str]) -> None:
        """Writes which product shows which picture, and why some cannot be used."""
        known = self._known().picture_of
        new = [one for one in pictures if known.get(one.id) != one.digest]
        if new or reasons:
            shard = Shard(
                ids=[one.id for one in new],
                digests=[one.digest for one in new],
                reasons=reasons,
            )
            self._add(shard, np.zeros((0, self.dim), self.dtype))

    def _add(self, shard: Shard, vectors: np.ndarray) -> None:
        with self._writing():
            stored = write_shard(self.folder, shard, vectors)
        self._known().add(stored)

    def _unreadable(self, pictures: list[Picture]) -> Iterator[UnreadablePicture]:
        for one in pictures:
            reason = self._known().reason(one.digest)
            if reason is not None:
                yield UnreadablePicture(one.id, one.path, reason)

    def _write_unreadable(self, unreadable: Sequence[UnreadablePicture]) -> None:
        path = self.folder / "unreadable.csv"
        with self._writing(), whole_file(path) as temporary:
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                table = csv.writer(file)
                table.writerow(["id", "path", "reason"])
                table.writerows([one.id, one.path, one.reason] for one in unreadable)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Keeps other processes out; the system lets go of it when this one dies."""
        with self._writing():
            file = open(self.folder / "lock", "w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    "another process is writing this feature store; wait for it, or "
                    "give another folder.",
                    path=self.folder,
                ) from None
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"the feature store cannot be written: {error.strerror or error}.",
                path=error.filename or self.folder,
            ) from error


def _products(
    ids: Sequence[str] | np.ndarray, paths: Sequence[str] | np.ndarray
) -> list[tuple[str, str]]:
    if len(ids) != len(paths):
        raise ValueError(f"{len(ids)} ids, but {len(paths)} paths.")
    if len(set(ids)) != len(ids):
        raise ValueError("ids are not unique.")
    return [(str(id), str(path)) for id, path in zip(ids, paths)]


def _faults(wanted: list[Picture], readable: ReadablePictures) -> dict[str, str]:
    """Returns the reason for each digest whose picture cannot be used.

    Raises:
        InputError: a picture changed between its hashing and its decoding: the reason
            is not of the content that the digest stands for.
    """
    reasons = {}
    for fault in readable.faults:
        picture = wanted[fault.row]
        if digest_of(picture.path) != picture.digest:
            raise InputError(
                "the picture changed while it was read; extract the features again.",
                path=picture.path,
            )
        reasons[picture.digest] = fault.reason
    return reasons
