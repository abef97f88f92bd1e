"""The stages of `record.py` on sets of labelled pairs.

Whatever is learned or chosen, a threshold too, is learned on `train`. The judged part
brings its records without labels: a catalogue is known as a whole.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from record_groups import (
    group_columns,
    groups_of,
    in_one_group,
    match_table,
    shares_of_limit,
)
from record_pair_sets import Lines, PairSet
from record_results import GROUPS, Result, best_cut, grouped_result, pair_result

from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.interval import cluster_numbers
from simprod_tf.matching.group_edges import FARTHEST, LINKED
from simprod_tf.pipeline.progress import Progress, about

if TYPE_CHECKING:
    # It loads TensorFlow, which the decider does without.
    from simprod_tf.pipeline.plan import TrainPlan

# Of the lines of `train`, for the encoder's epoch and threshold.
_VALIDATION = 0.15
_GROUPS_TEXT = "groups of the decider's matches among all candidates, average linkage"


@dataclass(frozen=True)
class PairOptions:
    """How the stages are run.

    Attributes:
        words: A file of word vectors, or None to learn them on the titles.
        word_weights: Of the mean of word vectors; None for `simprod train`'s own.
        features: Whose embeddings the decider sees: "none", "words" (untrained) or
            "encoder".
        epochs: Of the encoder; None for `simprod train`'s own.
        rivals: Whose pairs are candidates while the decider is fitted, without their
            labels, beside those it finds itself: "all" parts', or "train"'s alone.
            When it judges, those of all parts are. Without two tables the judged
            pairs always are: nothing that labels imply of them may be learned.
    """

    words: str | None = None
    word_weights: str | None = None
    features: str = "none"
    epochs: int | None = None
    rivals: str = "all"


@dataclass(frozen=True, eq=False)
class PairStage:
    """One stage: its data, how it is run, and where stages leave things."""

    data: PairSet
    split: str
    seed: int
    options: PairOptions
    work: Path
    progress: Progress

    @property
    def train(self) -> Lines:
        """What is learned from."""
        return self.data.lines["train"]

    @property
    def judged(self) -> Lines:
        """What is judged."""
        return self.data.part(self.split)

    def tfidf(self) -> Result:
        """Judges the cosine of the titles' TF-IDF vectors; nothing is learned."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        start = time.perf_counter()
        # Words of one letter count, too: "ipod 3 g".
        vectors = TfidfVectorizer(token_pattern=r"(?u)\w+").fit_transform(
            self.data.catalog.titles
        )

        def distances(rows: np.ndarray) -> np.ndarray:
            product = vectors[rows[:, 0]].multiply(vectors[rows[:, 1]])
            cosine = np.asarray(product.sum(axis=1)).ravel()
            return np.sqrt(np.clip(2.0 - 2.0 * cosine, 0.0, None))

        return self._by_distance(
            distances(self.judged.rows),
            best_cut(self.train.labels, distances(self.train.rows)),
            "TF-IDF of titles, cosine; threshold on train",
            {"vectors": time.perf_counter() - start},
        )

    def words(self) -> Result:
        """Judges the untrained encoder: the weighted mean of the word vectors."""
        from simprod_tf.pipeline.prepare import prepare_encoder

        start = time.perf_counter()
        prepared = prepare_encoder(
            self.data.catalog, self._plan(raw=True), progress=self.progress
        )
        embeddings = self._embed(prepared)
        np.save(self._embeddings_file("words"), embeddings)
        return self._by_distance(
            _distances(embeddings, self.judged.rows),
            best_cut(self.train.labels, _distances(embeddings, self.train.rows)),
            f"mean word vectors ({self._word_text()}), untrained; threshold on train",
            {"embeddings": time.perf_counter() - start},
        )

    def encoder(self) -> Result:
        """Judges an encoder that simprod's training fits on the training pairs."""
        from simprod_tf.pipeline.prepare import prepare_encoder
        from simprod_tf.training.fit import TrainingSide, ValidationSide, fit_encoder

        start = time.perf_counter()
        plan, catalog = self._plan(), self.data.catalog
        held = self._held_lines()
        prepared = prepare_encoder(catalog, plan, progress=self.progress)
        history = fit_encoder(
            prepared.model,
            prepared.arrays(catalog, progress=self.progress),
            catalog,
            TrainingSide(self.train.where(~held).pairs(catalog), catalog.ids),
            validation=ValidationSide(self.train.where(held).pairs(catalog)),
            settings=plan.training,
            callbacks=[_epochs_told(plan.training.epochs, self.progress)],
        )
        fitted = time.perf_counter()
        embeddings = self._embed(prepared)
        np.save(self._embeddings_file("encoder"), embeddings)
        chosen = self.train.where(held)
        return self._by_distance(
            _distances(embeddings, self.judged.rows),
            best_cut(chosen.labels, _distances(embeddings, chosen.rows)),
            f"encoder trained on train ({self._word_text()}, "
            f"{plan.training.loss.name}, {len(history)} epochs); epoch and threshold "
            f"on {_VALIDATION:.0%} of train's lines",
            {
                "training": fitted - start,
                "embeddings": time.perf_counter() - fitted,
            },
        )

    def decider(self) -> Result:
        """Judges the pair decider, at the probability of the best F1 across folds."""
        bound, cut, seconds = self._decided()
        start = time.perf_counter()
        rows = self.judged.rows
        # Records that read alike may be one product: that is the same as itself.
        distances = np.zeros(len(rows))
        two = rows[:, 0] != rows[:, 1]
        distances[two] = 1.0 - bound.probability(rows[two, 0], rows[two, 1])
        seconds["probabilities"] = time.perf_counter() - start
        # What groups are made of: judged lines are a part of it.
        start, ends = time.perf_counter(), bound.graph.ends
        np.savez(
            self._decided_file, ends=ends, distances=bound.distances(*ends.T), cut=cut
        )
        seconds["all candidates"] = time.perf_counter() - start
        settings = (
            f"pair decider fitted on train, embeddings: {self.options.features}; "
            f"threshold by cross-validation on train; rivals of {self.options.rivals}"
        )
        return self._by_distance(distances, cut, settings, seconds)

    def lines(self) -> Result:
        """Judges the judged lines by groups: the same is what is in one group."""
        start = time.perf_counter()
        found, seconds = self._found_groups()
        together = in_one_group(found, self.data.catalog.ids[self.judged.rows])
        seconds["lines"] = time.perf_counter() - start - seconds["groups"]
        return grouped_result(
            self.judged.labels,
            together,
            clusters=self.judged.rows[:, 0],
            settings=f"{_GROUPS_TEXT}; the same = in one group",
            seconds=seconds,
        )

    def groups(self) -> Result:
        """Judges the groups of the judged records beside the true ones."""
        catalog = self.data.catalog
        found, seconds = self._found_groups()
        judged = np.unique(self.judged.rows)
        judged = judged[catalog.groups[judged] != ""]
        columns = group_columns(catalog.ids[judged], catalog.groups[judged], found)
        clusters = cluster_numbers(catalog.groups[judged].astype(str))
        settings = f"{_GROUPS_TEXT}; records of the judged part"
        return Result(GROUPS, clusters, columns, settings, seconds)

    def _found_groups(self) -> tuple[Mapping[str, str], dict[str, float]]:
        """Returns groups by the stage decider's answers on all candidates."""
        if not self._decided_file.is_file():
            raise SimprodError(
                "groups of pair sets are made of what the stage decider leaves: leave "
                "--stages out, or add decider."
            )
        start = time.perf_counter()
        with np.load(self._decided_file) as decided:
            shares = shares_of_limit(decided["distances"], float(decided["cut"]))
            matches = match_table(self.data.catalog.ids, decided["ends"], shares)
        found = groups_of(matches, max_distance=LINKED, missing_distance=FARTHEST)
        return found, {"groups": time.perf_counter() - start}

    @property
    def _decided_file(self) -> Path:
        return self.work / f"decided-{self.seed}.npz"

    def _decided(self) -> tuple[Any, float, dict[str, float]]:
        """Returns the bound decider, its distance cut, and the seconds it took."""
        from simprod_tf.decider.decider import Decider, DeciderSettings
        from simprod_tf.decider.products import DeciderProducts

        start = time.perf_counter()
        products = DeciderProducts(
            self.data.catalog, *self._embeddings(), tables=self.data.tables
        )
        pairs = self.train.pairs(self.data.catalog)
        rows = np.stack(
            [self.data.catalog.rows_of(i) for i in (pairs.anchor_ids, pairs.other_ids)],
            axis=1,
        )
        candidates, judged = self._candidates(), _of_two(self.judged.rows)
        all_rivals = self.options.rivals == "all"
        decider = Decider.fit(
            products,
            rows,
            pairs.labels,
            settings=DeciderSettings(seed=self.seed),
            candidates=candidates if all_rivals else None,
            # Between tables nothing is implied, and nothing need be held out.
            held_out=judged if all_rivals or self.data.tables is None else None,
            progress=about(self.progress, "Scoring candidates"),
        )
        fitted = time.perf_counter()
        bound = decider.bind(products, candidates)
        seconds = {
            "fit": fitted - start,
            "bind": time.perf_counter() - fitted,
        }
        return bound, 1.0 - decider.best_f1_probability, seconds

    def _candidates(self) -> np.ndarray:
        """Returns [E, 2] pairs that are known as candidates, without labels."""
        return _of_two(np.concatenate([one.rows for one in self.data.lines.values()]))

    def _embeddings(self) -> tuple[dict[str, np.ndarray], str]:
        """Returns what the decider sees of an encoder, and that encoder's name."""
        if self.options.features == "none":
            return {}, ""
        file = self._embeddings_file(self.options.features)
        if not file.is_file():
            raise SimprodError(
                f"--encoder-features {self.options.features} takes its stage too: "
                "leave --stages out, or add raw or encoder."
            )
        return {"both": np.load(file)}, f"{self.options.features}-{self.seed}"

    def _embeddings_file(self, what: str) -> Path:
        return self.work / f"embeddings-{what}-{self.seed}.npy"

    def _plan(self, *, raw: bool = False) -> TrainPlan:
        from simprod_tf.pipeline.plan import TrainPlan, WordSettings

        words: dict[str, Any] = {"path": self.options.words}
        if self.options.word_weights:
            words["weighting"] = self.options.word_weights
        plan = TrainPlan(
            words=WordSettings(**words),
            train_on="hand",
            raw=raw,
        )
        training = replace(plan.training, seed=self.seed)
        if self.options.epochs is not None:
            training = replace(training, epochs=self.options.epochs)
        return replace(plan, training=training)

    def _word_text(self) -> str:
        plan = self._plan().words
        source = "a file" if plan.path else f"{plan.kind} on the titles"
        return f"{source}, {plan.weighting}"

    def _embed(self, prepared: Any) -> np.ndarray:
        """Returns [P, D] embeddings of the catalogue."""
        from simprod_tf.training.embedder import Embedder

        arrays = prepared.arrays(self.data.catalog, progress=self.progress)
        rows = np.arange(len(self.data.catalog))
        return Embedder(prepared.model, arrays).embed(rows)

    def _held_lines(self) -> np.ndarray:
        """Returns [N] bool: the lines of train that choose the epoch and threshold.

        Drawn by line, not by product, as the set's own parts are.
        """
        drawn = np.random.default_rng(self.seed).random(len(self.train.labels))
        return drawn < _VALIDATION

    def _by_distance(
        self,
        distances: np.ndarray,
        max_distance: float,
        settings: str,
        seconds: dict[str, float],
    ) -> Result:
        return pair_result(
            self.judged.labels,
            distances,
            max_distance=max_distance,
            # Pairs of one left record share what makes them hard.
            clusters=self.judged.rows[:, 0],
            settings=settings,
            seconds=seconds,
        )


def _epochs_told(epochs: int, progress: Progress) -> Any:
    """Returns a Keras callback that tells how many epochs are done."""
    import tensorflow as tf

    return tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress("Training", epoch + 1, epochs)
    )


def _of_two(rows: np.ndarray) -> np.ndarray:
    """Returns the pairs of two records; a record is the same as itself."""
    return rows[rows[:, 0] != rows[:, 1]]


def _distances(embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    ends = (embeddings[rows[:, side]].astype(np.float64) for side in (0, 1))
    return np.linalg.norm(np.subtract(*ends), axis=1)
