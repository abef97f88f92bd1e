"""What changes of a served index cost, and what searches lose beside them.

    python benchmarks/served_index.py --kind exact --products 100000

Random unit vectors in 200 clusters. Products are added one a change, each acknowledged
when it is on disk; searches take one query. No encoder and no network take part.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from simprod_tf.index.build import build_index, load_index
from simprod_tf.index.versions import publish
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import added
from simprod_tf.serving.similar.store import Store, StoreOptions
from simprod_tf.serving.similar.trio import Trio

DIM = 128
SECONDS = 4.0
# Stands for the encoder: embeddings come ready.
ENCODER = SimpleNamespace(fingerprint="f", version=1, columns=frozenset())


def unit_vectors(n: int, seed: int) -> np.ndarray:
    """Returns [n, DIM] float32 of unit length, in clusters."""
    rng = np.random.default_rng(seed)
    centres = 3 * np.random.default_rng(0).normal(size=(200, DIM))
    vectors = rng.normal(size=(n, DIM)) + centres[rng.integers(0, 200, n)]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Adder:
    """Adds new products to a store, one a change, from any thread."""

    def __init__(self, store: Store) -> None:
        self._store, self._vectors = store, unit_vectors(4000, seed=1)
        self._numbers = itertools.count()

    def __call__(self) -> None:
        number = next(self._numbers)
        product = pb.NewProduct(id=f"new {number}", product=pb.Product(title="a mug"))
        change = added(
            [product],
            self._vectors[number % 4000][np.newaxis],
            schema=self._store.trio.schema,
            encoder_fingerprint=ENCODER.fingerprint,
        )
        self._store.change(change)


def open_store(root: Path) -> Store:
    """Returns the store over the version there, its log replayed."""
    trio = Trio.of(load_index(root), version=1, encoder=ENCODER, decisions=None)
    options = StoreOptions(checkpoint_on_close=False)
    return Store(trio, root, log_folder=root / "log", options=options)


def times_ms(action: Callable[[], object]) -> np.ndarray:
    """Returns how long each of the calls took that fit into the time."""
    taken, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - start))
    return np.array(taken)


@contextlib.contextmanager
def adding(add: Adder, callers: int) -> Iterator[list[int]]:
    """Adds from threads meanwhile; the list grows by a number for each product."""
    done, count = threading.Event(), []

    def go_on() -> None:
        while not done.is_set():
            add()
            count.append(1)

    threads = [threading.Thread(target=go_on) for _ in range(callers)]
    for one in threads:
        one.start()
    yield count
    done.set()
    for one in threads:
        one.join()


def measure(root: Path) -> None:
    """Prints one line a figure."""
    store = open_store(root)
    add, queries = Adder(store), itertools.cycle(unit_vectors(300, seed=2))

    def search() -> None:
        with store.trio.lock.reading():
            store.trio.index.search(next(queries)[np.newaxis], k=10)

    def told(taken: np.ndarray) -> str:
        middle, high = np.percentile(taken, [50, 99])
        return f"p50 {middle:.2f} ms, p99 {high:.2f} ms, longest {taken.max():.0f} ms"

    search()
    print("search alone:", told(times_ms(search)))
    add()
    for callers in (1, 16, 64):
        with adding(add, callers) as count:
            time.sleep(SECONDS)
        print(f"adds, {callers} callers: {len(count) / SECONDS:.0f}/s")
    with adding(add, 4) as count:
        taken = times_ms(search)
    print(f"search beside {len(count) / SECONDS:.0f} adds/s:", told(taken))
    store.close()
    start = time.perf_counter()
    store = open_store(root)
    seconds = time.perf_counter() - start
    print(f"opened, {store.num_records} records replayed: {seconds:.1f} s")
    store.close()


def main() -> None:
    """Builds an index in a folder of its own and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("exact", "scann"), default="exact")
    parser.add_argument("--products", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "index"
        index = build_index(
            [f"p{row}" for row in range(chosen.products)],
            unit_vectors(chosen.products, seed=0),
            encoder_fingerprint=ENCODER.fingerprint,
            kind=chosen.kind,
            allow_low_recall=True,
        )
        publish(index, root)
        measure(root)


if __name__ == "__main__":
    main()
