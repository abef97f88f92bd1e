"""The nearest-neighbour libraries that `neighbours.py` measures, behind one face.

A contender is one line of the table; it may have several builds (raw ScaNN with 1,000
and with 2,000 leaves, ours for several wanted recalls), each with a grid of settings to
search it by. All take unit-length float32 and work by inner product, the order of which
is that of L2. A library is imported when its build is first used.
"""

from __future__ import annotations

import abc
import inspect
import itertools
from pathlib import Path
from typing import Any

import numpy as np

K = 10
Setting = dict[str, int]
# From "as few as make sense" to "more than .99 needs".
_WIDTHS = (10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768)
# What it is built to reach.
_WANTED = (0.90, 0.95, 0.99)
_ENCODER = "no encoder: neighbours.py"


def grid(**values: tuple[int, ...]) -> list[Setting]:
    """Returns every combination of the values as a setting."""
    names = list(values)
    return [dict(zip(names, chosen)) for chosen in itertools.product(*values.values())]


class Build(abc.ABC):
    """One index of one library: built, saved, loaded, searched by one thread.

    Attributes:
        contender: the line of the table it competes in.
        name: its own, and that of its folder.
        package: what pip calls the library.
        index: the library's object, once built or loaded.
        setting: what it searches by.
    """

    contender: str
    package: str
    index: Any = None
    setting: Setting

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def load_library(self) -> None:
        """Imports the library, so that no measure counts that."""

    @abc.abstractmethod
    def build(self, vectors: np.ndarray, *, threads: int) -> None:
        """Builds over [N, D] float32 vectors; a row is the position there."""

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the index into an empty folder."""

    @abc.abstractmethod
    def load(self, folder: Path) -> None:
        """Reads what `save` wrote."""

    @abc.abstractmethod
    def settings(self) -> list[Setting]:
        """Returns the grid."""

    def use(self, setting: Setting) -> None:
        """Searches by this setting from now on."""
        self.setting = setting

    def one(self, query: np.ndarray) -> np.ndarray:
        """Returns the nearest rows of one [1, D] query."""
        return self.many(query)

    @abc.abstractmethod
    def many(self, queries: np.ndarray) -> np.ndarray:
        """Returns the [Q, K] nearest rows of [Q, D] queries."""


class RawScann(Build):
    """ScaNN's own Python: a tree, anisotropic hashes of two dimensions, reordering."""

    contender = "raw ScaNN"
    package = "scann"

    def __init__(self, name: str, *, num_leaves: int, soar: bool = False) -> None:
        super().__init__(name)
        self._num_leaves, self._soar = num_leaves, soar
        self._leaves = self._reorder = 0

    def load_library(self) -> None:
        from scann.scann_ops.py import scann_ops_pybind

        self._library = scann_ops_pybind

    def build(self, vectors: np.ndarray, *, threads: int) -> None:
        spilling = {"soar_lambda": 1.5, "overretrieve_factor": 2.0}
        builder = self._library.builder(vectors, K, "dot_product")
        builder = builder.set_n_training_threads(threads).tree(
            num_leaves=self._num_leaves,
            num_leaves_to_search=10,
            training_sample_size=min(len(vectors), 250_000),
            **(spilling if self._soar else {}),
        )
        hashed = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        self.index = hashed.reorder(100).build()

    def save(self, folder: Path) -> None:
        self.index.serialize(str(folder))

    def load(self, folder: Path) -> None:
        self.index = self._library.load_searcher(str(folder))

    def settings(self) -> list[Setting]:
        return grid(
            leaves=(2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 60, 80, 120),
            reorder=(30, 50, 100, 200),
        )

    def use(self, setting: Setting) -> None:
        self._leaves, self._reorder = setting["leaves"], setting["reorder"]

    def one(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query[0], K, self._reorder, self._leaves)[0]

    def many(self, queries: np.ndarray) -> np.ndarray:
        return self.index.search_batched(queries, K, self._reorder, self._leaves)[0]


class _Faiss(Build):
    package = "faiss-cpu"
    factory: str

    def load_library(self) -> None:
        import faiss

        self._library = faiss
        faiss.omp_set_num_threads(1)

    def build(self, vectors: np.ndarray, *, threads: int) -> None:
        faiss = self._library
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(vectors.shape[1], self.factory, metric)
        self.prepare()
        self.index.train(vectors)
        self.index.add(vectors)
        faiss.omp_set_num_threads(1)

    def prepare(self) -> None:
        """Sets what the factory's text cannot say."""

    def save(self, folder: Path) -> None:
        self._library.write_index(self.index, str(folder / "index.faiss"))

    def load(self, folder: Path) -> None:
        self.index = self._library.read_index(str(folder / "index.faiss"))

    def many(self, queries: np.ndarray) -> np.ndarray:
        return self.index.search(queries, K)[1]


class FaissFlat(_Faiss):
    """Exact."""

    contender = "faiss Flat"
    factory = "Flat"

    def settings(self) -> list[Setting]:
        return [{}]


class FaissIvfPq(_Faiss):
    """Inverted lists, 4-bit product quantisation scanned in registers, refined."""

    contender = "faiss IVF-PQ fast scan"

    def __init__(self, name: str, *, num_lists: int) -> None:
        super().__init__(name)
        self.factory = f"IVF{num_lists},PQ64x4fs,RFlat"

    def settings(self) -> list[Setting]:
        return grid(
            nprobe=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64), k_factor=(2, 4, 8, 16)
        )

    def use(self, setting: Setting) -> None:
        self._library.extract_index_ivf(self.index).nprobe = setting["nprobe"]
        self.index.k_factor = setting["k_factor"]


class FaissHnsw(_Faiss):
    """A navigable graph of 32 links over the vectors as they are."""

    contender = "faiss HNSW32"
    factory = "HNSW32,Flat"

    def prepare(self) -> None:
        # faiss's own 40 is low beside the 200 and 128 of the other two graphs.
        self.index.hnsw.efConstruction = 100

    def settings(self) -> list[Setting]:
        return grid(ef=_WIDTHS)

    def use(self, setting: Setting) -> None:
        self.index.hnsw.efSearch = setting["ef"]


class Hnswlib(Build):
    """The graph's own library, 16 links, 200 candidates while building."""

    contender = "hnswlib M16"
    package = "hnswlib"

    def load_library(self) -> None:
        import hnswlib

        self._library = hnswlib

    def build(self, vectors: np.ndarray, *, threads: int) -> None:
        self._dim = vectors.shape[1]
        self.index = self._library.Index("ip", self._dim)
        self.index.init_index(len(vectors), ef_construction=200, M=16, random_seed=0)
        self.index.add_items(vectors, np.arange(len(vectors)), num_threads=threads)

    def save(self, folder: Path) -> None:
        self.index.save_index(str(folder / "index.bin"))
        (folder / "dim").write_text(str(self._dim), encoding="utf-8")

    def load(self, folder: Path) -> None:
        dim = int((folder / "dim").read_text(encoding="utf-8"))
        self.index = self._library.Index("ip", dim)
        self.index.load_index(str(folder / "index.bin"))
        self.index.set_num_threads(1)

    def settings(self) -> list[Setting]:
        return grid(ef=_WIDTHS)

    def use(self, setting: Setting) -> None:
        self.index.set_ef(setting["ef"])

    def many(self, queries: np.ndarray) -> np.ndarray:
        return self.index.knn_query(queries, K)[0]


class Usearch(Build):
    """USearch's graph with its defaults, over bfloat16 or float32."""

    package = "usearch"

    def __init__(self, name: str, *, dtype: str) -> None:
        super().__init__(name)
        self._dtype = dtype
        self.contender = f"usearch {dtype}"

    def load_library(self) -> None:
        from usearch.index import Index

        self._library = Index

    def build(self, vectors: np.ndarray, *, threads: int) -> None:
        self.index = self._library(
            ndim=vectors.shape[1], metric="ip", dtype=self._dtype
        )
        self.index.add(np.arange(len(vectors)), vectors, threads=threads)

    def save(self, folder: Path) -> None:
        self.index.save(str(folder / "index.usearch"))

    def load(self, folder: Path) -> None:
        self.index = self._library.restore(str(folder / "index.usearch"))

    def settings(self) -> list[Setting]:
        return grid(expansion=_WIDTHS)

    def use(self, setting: Setting) -> None:
        self.index.expansion_search = setting["expansion"]

    def one(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query[0], K, threads=1).keys

    def many(self, queries: np.ndarray) -> np.ndarray:
        return self.index.search(queries, K, threads=1).keys


class Ours(Build):
    """simprod_tf's ScannIndex as it comes, for a wanted recall: nothing to tune."""

    contender = "simprod_tf"
    package = "simprod_tf"

    def __init__(self, name: str, *, recall: float) -> None:
        super().__init__(name)
        self._recall = recall

    def load_library(self) -> None:
        from simprod_tf.index.build import load_index
        from simprod_tf.index.scann import ScannIndex, require_scann

        require_scann()
        self._type, self._load = ScannIndex, load_index

    def build(self, vectors: np.ndarray, *, threads: int) -> None:
        # It takes the threads that ScaNN finds: all of the machine's.
        ids = [f"p{row}" for row in range(len(vectors))]
        self.index = self._type.build(
            ids, vectors, encoder_fingerprint=_ENCODER, **self._wanted()
        )

    def _wanted(self) -> dict[str, Any]:
        known = inspect.signature(self._type.build).parameters
        return {"recall": self._recall} if "recall" in known else {}

    def save(self, folder: Path) -> None:
        self.index.save(folder / "index")

    def load(self, folder: Path) -> None:
        self.index = self._load(folder / "index", encoder_fingerprint=_ENCODER)

    def settings(self) -> list[Setting]:
        return [{}]

    def many(self, queries: np.ndarray) -> np.ndarray:
        return self.index.search_rows(queries, k=K).rows


def builds_for(num_vectors: int) -> list[Build]:
    """Returns all builds that suit so many vectors, the first contender first."""
    few, many = min(1_000, num_vectors // 50), min(2_000, num_vectors // 25)
    num_lists = 2_048 if num_vectors > 500_000 else min(1_024, num_vectors // 64)
    return [
        RawScann("scann-few-leaves", num_leaves=few),
        RawScann("scann-many-leaves", num_leaves=many),
        RawScann("scann-soar", num_leaves=many, soar=True),
        *(Ours(f"ours-{wanted:g}", recall=wanted) for wanted in _WANTED),
        FaissFlat("faiss-flat"),
        FaissIvfPq("faiss-ivfpq", num_lists=num_lists),
        FaissHnsw("faiss-hnsw"),
        Hnswlib("hnswlib"),
        Usearch("usearch-bf16", dtype="bf16"),
        Usearch("usearch-f32", dtype="f32"),
    ]
