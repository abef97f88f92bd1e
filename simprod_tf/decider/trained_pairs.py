"""The pairs that a decider was learned on, as numbers that tell them again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


class TrainedPairs:
    """Pairs of ids, of which only a 64-bit hash each is kept."""

    def __init__(self, hashes: np.ndarray) -> None:
        """Takes [P] uint64 hashes, in any order."""
        self.hashes = np.unique(np.asarray(hashes, np.uint64))

    @classmethod
    def of(cls, first_ids: Iterable[str], second_ids: Iterable[str]) -> TrainedPairs:
        """Returns what is kept of these pairs; which id comes first is all one."""
        return cls(_hashes(first_ids, second_ids))

    def __len__(self) -> int:
        return len(self.hashes)

    def holds(self, first_ids: Iterable[str], second_ids: Iterable[str]) -> np.ndarray:
        """Returns [P] bool: whether each pair is one of these."""
        return np.isin(_hashes(first_ids, second_ids), self.hashes)


def _hashes(first_ids: Iterable[str], second_ids: Iterable[str]) -> np.ndarray:
    found = []
    for first, second in zip(first_ids, second_ids):
        low, high = sorted((str(first).encode(), str(second).encode()))
        # The length parts ("ab", "c") from ("a", "bc").
        content = b"%d:%s%s" % (len(low), low, high)
        found.append(hashlib.blake2b(content, digest_size=8).digest())
    return np.frombuffer(b"".join(found), np.uint64)
