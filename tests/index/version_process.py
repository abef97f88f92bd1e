"""Readers and writers of index versions, each a process of its own.

read ROOT STOP            opens the current version until the file STOP is there;
                          prints how often, and the versions seen, as JSON
publish ROOT              publishes and prunes until it is killed
hang-in-save ROOT         publishes, and stops for ever while files are written
hang-before-switch ROOT   publishes, and stops for ever with the new version whole
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from simprod_tf.atomic import whole_folder
from simprod_tf.index import versions
from simprod_tf.index.exact import ExactIndex

NUM_PRODUCTS = 200
QUERIES = np.eye(4, 8, dtype=np.float32)


def index_of(version: int) -> ExactIndex:
    """Returns an index whose ids, embeddings and `extra` all name its version."""
    rng = np.random.default_rng(version)
    vectors = rng.normal(size=(NUM_PRODUCTS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ExactIndex.build(
        [f"{version}/{row}" for row in range(NUM_PRODUCTS)],
        vectors,
        encoder_fingerprint="f",
        extra={"version": version},
    )


def answers(index) -> list[list[tuple[str, float]]]:
    """Returns ids and distances that the index gives to fixed queries."""
    found = index.search(QUERIES, k=3)
    return [[(one.id, round(one.distance, 5)) for one in line] for line in found]


def version_of(index) -> int:
    """Returns the index's version, of which every answer must be."""
    version = index.extra["version"]
    # Not by the ids alone: they and the embeddings lie in different files.
    assert answers(index) == answers(index_of(version))
    return version


def read_until(root: Path, last: int, began: Callable[[], object]) -> list[int]:
    """Opens the current version again and again; returns those seen, in that order."""
    seen = [version_of(versions.open_current(root))]
    began()
    while seen[-1] != last:
        version = version_of(versions.open_current(root))
        if version != seen[-1]:
            seen.append(version)
    return seen


def say(text: str) -> None:
    """Tells the process that started this one."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def hang(*_: object) -> None:
    """Tells that the process has come so far, and goes no further."""
    say("hanging")
    time.sleep(600)


def hanging_save(folder: Path) -> None:
    """Leaves what `Index.save` leaves in its midst."""
    with whole_folder(folder) as temporary:
        (temporary / "embeddings.npy").write_bytes(b"half")
        hang()


def main(what: str, root: Path, *rest: str) -> None:
    """Does what the first argument says."""
    if what == "read":
        seen = read_until(root, int(rest[0]), lambda: say("reading"))
        say(json.dumps(seen))
    elif what == "publish":
        say("publishing")
        for version in count(2):
            versions.publish(index_of(version), root)
            versions.prune(root)
    elif what == "hang-in-save":
        index = index_of(2)
        index.save = hanging_save  # type: ignore[method-assign]
        versions.publish(index, root)
    elif what == "hang-before-switch":
        versions._write_current = hang  # type: ignore[assignment]
        versions.publish(index_of(2), root)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
