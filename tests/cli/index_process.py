"""`simprod` in a process of its own, with a made-up encoder, that stops in a save.

hang ARGUMENTS...   runs `simprod ARGUMENTS`; stops for ever with half an index written
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from simprod_tf import export
from simprod_tf.index.base import Index

DIM = 8


class Encoder:
    """Knows the words a to d and pictures named a to d: a dimension each, of 8.

    The folder's name is its fingerprint.
    """

    inputs = SimpleNamespace(vectors=(), has_more=False)
    dim = DIM

    def __init__(self, folder):
        self.fingerprint = Path(folder).name
        self.manifest = {"decision": None}

    def encode(self, products, *, progress=None, **_):
        rows = np.zeros((len(products), DIM), np.float32)
        for row, product in zip(rows, products):
            for word in product.title.split():
                if word in "abcd":
                    row["abcd".index(word)] += 1
            if product.image:
                row[4 + "abcd".index(Path(product.image).stem)] += 1
            row /= max(np.linalg.norm(row), 1e-9)
        return rows


def hanging_write(self, folder, *, extra=None):
    """Leaves what `Index.write` leaves in its midst."""
    (folder / "embeddings.npy").write_bytes(b"half")
    sys.stdout.write("hanging\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    from simprod_tf.cli import app

    export.SavedEncoder = Encoder
    Index.write = hanging_write
    app(sys.argv[2:])
