"""Loading word vectors: ours, keeping some words, beside gensim's whole file.

    python benchmarks/word_vectors.py [--words 3000000] [--dim 300] [--repeats 3]

Writes a synthetic word2vec `.bin`, loads it in processes of their own, in turn, and
prints medians. The file is read once before, so that both find it in the page cache
where it fits; the file is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ONE_IN = 30


def word_of(number: int) -> str:
    """Returns a word; one in three has a capital, as in GoogleNews."""
    word = f"w{number * 2654435761 % 2**32:08x}"
    return word.capitalize() if number % 3 == 0 else word


def write_vectors(path: Path, *, num_words: int, dim: int) -> None:
    """Writes a word2vec binary file of noise."""
    noise = np.random.default_rng(0).normal(size=(1000, dim)).astype("<f4")
    rows = [row.tobytes() for row in noise]
    with open(path, "wb", buffering=1 << 22) as file:
        file.write(f"{num_words} {dim}\n".encode())
        for number in range(num_words):
            file.write(word_of(number).encode() + b" " + rows[number % 1000])


def load_ours(path: Path, num_words: int) -> tuple[int, int]:
    """Returns the shape loaded by us."""
    from simprod_tf.features.word_vectors import load_word_vectors

    keep = {word_of(number).casefold() for number in range(0, num_words, ONE_IN)}
    return load_word_vectors(path, keep=keep).vectors.shape


def load_gensim(path: Path, num_words: int) -> tuple[int, int]:
    """Returns the shape loaded by gensim."""
    from gensim.models import KeyedVectors

    return KeyedVectors.load_word2vec_format(str(path), binary=True).vectors.shape


LOADERS = {"ours": load_ours, "gensim": load_gensim}


def measure(loader: str, path: Path, num_words: int) -> None:
    """Prints what one load came to, imports left out of the times."""
    import gensim.models  # noqa: F401

    import simprod_tf.features.word_vectors  # noqa: F401

    start, cpu = time.perf_counter(), time.process_time()
    shape = LOADERS[loader](path, num_words)
    found = {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "shape": shape,
    }
    print(json.dumps(found))


def compare(path: Path, *, num_words: int, repeats: int) -> None:
    """Loads by each in turn and prints the medians and their ratio."""
    found: dict[str, list[dict]] = {loader: [] for loader in LOADERS}
    for _ in range(repeats):
        for loader in LOADERS:
            command = [sys.executable, __file__, "--measure", loader]
            command += ["--folder", str(path), "--words", str(num_words)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[loader].append(json.loads(done.stdout.splitlines()[-1]))
            print(loader, found[loader][-1], flush=True)
    median = {
        loader: {
            name: statistics.median(run[name] for run in runs)
            for name in ("wall_s", "cpu_s", "peak_mb")
        }
        for loader, runs in found.items()
    }
    for name in ("wall_s", "cpu_s", "peak_mb"):
        ours, gensim = median["ours"][name], median["gensim"][name]
        print(f"{name}: ours {ours:.2f}, gensim {gensim:.2f}, {gensim / ours:.1f} x")


def main() -> None:
    """Reads the command line and runs the comparison, or one load of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=3_000_000)
    parser.add_argument("--dim", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the file is written")
    parser.add_argument("--measure", choices=LOADERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.folder, options.words)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "vectors.bin"
        write_vectors(path, num_words=options.words, dim=options.dim)
        print(f"{path.stat().st_size / 1e9:.2f} GB, {options.words:,} words")
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass
        compare(path, num_words=options.words, repeats=options.repeats)


if __name__ == "__main__":
    main()
