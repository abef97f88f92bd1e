"""The stages of `record.py` on sets of pictures or products in groups.

Each query searches for products of its own group among the candidates. Whatever is
learned or chosen is learned on the training part; the judged one is only looked at.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from record_groups import best_group_distance, group_columns, groups_of
from record_results import GROUPS, QUERIES, Result
from record_search_sets import SearchSet

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.split import Split, split_catalog
from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.interval import cluster_numbers
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.index.vectors import nearest_rows
from simprod_tf.pipeline.plan import ImageSettings, TowerSettings, TrainPlan
from simprod_tf.pipeline.progress import Progress
from simprod_tf.training.settings import LossSettings

_VALIDATION = 0.15
# Neighbours that groups are made of.
_NEIGHBOURS = 50
_FARTHEST = 2.0


@dataclass(frozen=True)
class SearchOptions:
    """How the stages are run.

    Attributes:
        image_tower, image_weights: The frozen tower that pictures go through.
        words: A file of word vectors, or None to learn them on the titles.
        loss: Of the encoder; of those on groups.
        epochs: Of the encoder; None for `simprod train`'s own.
    """

    image_tower: str
    image_weights: str | None
    words: str | None = None
    loss: str = "arcface"
    epochs: int | None = None


@dataclass(frozen=True, eq=False)
class SearchStage:
    """One stage: its data, how it is run, and where stages leave things."""

    data: SearchSet
    split: str
    seed: int
    options: SearchOptions
    work: Path
    progress: Progress

    def features(self) -> Result:
        """Judges the features themselves: nothing is learned."""
        from simprod_tf.pipeline.prepare import prepare_encoder

        start = time.perf_counter()
        prepared = prepare_encoder(
            self.data.catalog,
            self._plan(raw=True),
            store=self.work / "features",
            progress=self.progress,
        )
        embeddings = self._embed(prepared)
        np.save(self._embeddings_file("features"), embeddings)
        return self._searched(
            embeddings,
            f"{self.options.image_tower}, frozen; nothing trained",
            {"features": time.perf_counter() - start},
        )

    def encoder(self) -> Result:
        """Judges an encoder that `simprod train` trains on the training part."""
        from simprod_tf.pipeline.prepare import Prepared
        from simprod_tf.pipeline.train import train_run
        from simprod_tf.trained import TrainedEncoder

        start = time.perf_counter()
        plan, folder = self._plan(), self.work / f"encoder-{self.seed}"
        trained = train_run(
            self.data.catalog.take(self.data.train),
            folder,
            split=self._split(),
            # Photos of a class are on both sides where the classes are known.
            allow_leaks=True,
            store=self.work / "features",
            plan=plan,
            progress=self.progress,
        )
        fitted = time.perf_counter()
        encoder = TrainedEncoder.load(folder)
        prepared = Prepared(encoder, plan.image, {}, self.work / "features", None)
        embeddings = self._embed(prepared)
        np.save(self._embeddings_file("encoder"), embeddings)
        return self._searched(
            embeddings,
            f"simprod train on the train part ({self.options.image_tower} frozen, "
            f"{plan.training.loss.name}, {len(trained.history)} epochs); epoch on "
            f"{_VALIDATION:.0%} of it",
            {
                "training": fitted - start,
                "embeddings": time.perf_counter() - fitted,
            },
        )

    def groups(self) -> Result:
        """Judges groups of the queries, by the distances of the last encoder."""
        files = [self._embeddings_file(what) for what in ("encoder", "features")]
        there = [file for file in files if file.is_file()]
        if not there:
            raise SimprodError("groups take the stage encoder or raw before them.")
        start = time.perf_counter()
        embeddings = np.load(there[0])
        held = self.data.catalog.rows_of(self._split().ids("validation"))
        cut = best_group_distance(
            self._matches(embeddings, held),
            *self._known(held),
            missing_distance=_FARTHEST,
        )
        queries = self.data.queries
        found = groups_of(
            self._matches(embeddings, queries),
            max_distance=cut,
            missing_distance=_FARTHEST,
        )
        ids, truth = self._known(queries)
        return Result(
            GROUPS,
            cluster_numbers(truth.astype(str)),
            group_columns(ids, truth, found),
            f"{there[0].stem.split('-')[1]} distances among the queries, average "
            f"linkage; distance of the best row F1 on {_VALIDATION:.0%} of train",
            {"groups": time.perf_counter() - start},
        )

    def _searched(
        self, embeddings: np.ndarray, settings: str, seconds: dict[str, float]
    ) -> Result:
        data, catalog = self.data, self.data.catalog
        found = retrieval_metrics(
            embeddings[data.queries],
            embeddings[data.candidates],
            catalog.groups[data.queries].astype(str),
            catalog.groups[data.candidates].astype(str),
            ks=(1, 10),
            query_ids=catalog.ids[data.queries].astype(str),
            candidate_ids=catalog.ids[data.candidates].astype(str),
        )
        columns = {
            "recall_at_1": found.recall_at[1],
            "recall_at_10": found.recall_at[10],
            "map_at_r": found.map_at_r,
        }
        if data.coarse:
            columns["recall_at_1_coarse"] = self._coarse(embeddings)[found.kept]
        clusters = cluster_numbers(found.query_groups)
        return Result(QUERIES, clusters, columns, settings, seconds)

    def _coarse(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns [Q] whether the nearest candidate is of the query's coarse class."""
        data = self.data
        classes = data.catalog.column(data.coarse)
        found = nearest_rows(embeddings[data.queries], embeddings[data.candidates], k=1)
        nearest = found.rows[:, 0]
        right = classes[data.candidates][nearest] == classes[data.queries]
        return right.astype(np.float64)

    def _matches(self, embeddings: np.ndarray, rows: np.ndarray) -> pa.Table:
        """Returns the nearest neighbours of some products among themselves."""
        ids = self.data.catalog.ids[rows]
        k = min(_NEIGHBOURS + 1, len(rows))
        found = nearest_rows(embeddings[rows], embeddings[rows], k=k)
        starts = np.repeat(np.arange(len(rows)), k)
        ends, distances = found.rows.ravel(), found.distances.ravel()
        others = starts != ends
        table = {
            "query_id": pa.array(ids[starts[others]], pa.string()),
            "id": pa.array(ids[ends[others]], pa.string()),
            "distance": pa.array(distances[others], pa.float32()),
        }
        return pa.table(table)

    def _known(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns ids and groups of those rows that are in a group."""
        some = rows[self.data.catalog.groups[rows] != ""]
        return self.data.catalog.ids[some], self.data.catalog.groups[some]

    def _split(self) -> Split:
        """Returns what of the training part decides the epoch and the distances."""
        catalog = self.data.catalog.take(self.data.train)
        if not self.data.closed:
            return split_catalog(catalog, validation=_VALIDATION, test=0.0, seed=0)
        return _photo_split(catalog)

    def _plan(self, *, raw: bool = False) -> TrainPlan:
        tower = TowerSettings(self.options.image_tower, self.options.image_weights)
        plan = TrainPlan(
            image=ImageSettings((tower,), frozen=True),
            train_on="groups",
            raw=raw,
            validation=_VALIDATION,
            test=0.0,
        )
        training = replace(
            plan.training, loss=LossSettings(name=self.options.loss), seed=self.seed
        )
        if self.options.epochs is not None:
            training = replace(training, epochs=self.options.epochs)
        words = replace(plan.words, path=self.options.words)
        return replace(plan, training=training, words=words)

    def _embed(self, prepared: Any) -> np.ndarray:
        """Returns [P, D] embeddings of the catalogue."""
        from simprod_tf.training.embedder import Embedder

        arrays = prepared.arrays(self.data.catalog, progress=self.progress)
        rows = np.arange(len(self.data.catalog))
        return Embedder(prepared.model, arrays).embed(rows)

    def _embeddings_file(self, what: str) -> Path:
        seed = self.seed if what == "encoder" else 0
        return self.work / f"embeddings-{what}-{seed}.npy"


def _photo_split(catalog: Catalog) -> Split:
    """Returns a split by photo: every class is on both sides, as in the set's own."""
    drawn = np.random.default_rng(0).random(len(catalog)) < _VALIDATION
    sides = np.where(drawn, "validation", "train")
    return Split(dict(zip(catalog.ids, sides.tolist())))
