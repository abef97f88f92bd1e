"""The pair decider: whether two candidates are the same, from all that is known.

Two stages of gradient boosting. The first judges each candidate pair by itself, by
words, numbers, model numbers, prices and embeddings. The second sees the first one's
score beside those of the rivals: the other candidates of both products. The first
stage is made of one model a fold; a pair is scored by the one that saw no labelled pair
of its fold, in training as later on, so that the second stage learns from scores such
as it will meet (stacking; Wolpert 1992, "Stacked Generalization").
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from simprod_tf.decider.bound import BoundDecider
from simprod_tf.decider.evidence import PreparedProducts, Vocabulary
from simprod_tf.decider.features import PlainFeatures, score_rows, second_names
from simprod_tf.decider.folds import pair_folds
from simprod_tf.decider.graph import PairGraph
from simprod_tf.decider.implied import implied_pairs
from simprod_tf.decider.learning import DeciderSettings, Labelled, best_f1_cut, learn
from simprod_tf.decider.lexical import LexicalVectors
from simprod_tf.decider.products import DeciderProducts
from simprod_tf.decider.saved import SavedDecider, read_decider, write_decider
from simprod_tf.decider.stages import FirstFeatures, Progress, Stages, first_log_odds
from simprod_tf.decider.trained_pairs import TrainedPairs
from simprod_tf.errors import FingerprintError, SimprodError

# Fewer of either kind tell nothing of the other pairs.
LEAST_PAIRS = 10


class Decider:
    """A learned decider; `fit` or `load` makes one.

    Attributes:
        settings: that it was learned with.
        views: whose embeddings it takes.
        encoder_fingerprint: of the encoder that must have made them, or "".
        record_linkage: whether it was learned on tables, and must be given some.
        best_f1_probability: where F1 on the training pairs was best, each judged by
            models that did not see it; equal or higher counts as the same.
        out_of_fold: [P] these probabilities, in the order given; None once saved.
    """

    def __init__(
        self, saved: SavedDecider, *, out_of_fold: np.ndarray | None = None
    ) -> None:
        """Takes what is saved of a decider."""
        self._saved = saved
        self._stages: Stages = saved.stages
        self.settings = saved.settings
        self.views = saved.views
        self.encoder_fingerprint = saved.encoder_fingerprint
        self.record_linkage = saved.record_linkage
        self.best_f1_probability = saved.best_f1_probability
        self.out_of_fold = out_of_fold

    @classmethod
    def fit(
        cls,
        products: DeciderProducts,
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        settings: DeciderSettings | None = None,
        candidates: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        held_out: np.ndarray | None = None,
        progress: Progress | None = None,
        fitting: Progress | None = None,
    ) -> Decider:
        """Returns a decider learned from labelled pairs.

        Args:
            products: N products, those of the pairs among them; all are context.
            rows: [P, 2] int64 rows of the labelled pairs.
            labels: [P], 1 = the same, 0 = not.
            settings: how.
            candidates: [C, 2] rows of further pairs that will be candidates.
            weights: [P] of the labelled pairs, or None for 1 each.
            held_out: [H, 2] rows of pairs that must not be learned from, even where
                the labels of others imply theirs; candidates all the same.
            progress: told products and then candidate pairs done, and all.
            fitting: told fits of trees done, and all; at once that none is done.

        Raises:
            SimprodError: there are too few pairs of a kind, or pairs within a table.
        """
        settings = DeciderSettings() if settings is None else settings
        rows, labels = np.asarray(rows, np.int64), np.asarray(labels)
        _check_labelled(rows, labels)
        if fitting is not None:
            fitting(0, settings.num_fits)
        vocabulary = Vocabulary.fit(products.catalog)
        proposed = [rows, candidates, held_out]
        plain, _ = _plain(products, vocabulary, proposed, settings, progress)
        pairs = plain.graph.find(*rows.T)
        if (pairs < 0).any():
            raise SimprodError(
                f"{int((pairs < 0).sum())} labelled pairs are of one table, or of a "
                "product with itself; leave them out."
            )
        weights = np.ones(len(rows)) if weights is None else np.asarray(weights)
        labelled = Labelled(pairs, labels, weights)
        # Between tables a thing has hardly more than one record in each: chains of
        # links are faults of labels more often than knowledge.
        if settings.implied_weight and products.tables is None:
            more = implied_pairs(plain.graph, rows, labels, held_out=held_out)
            share = np.full(len(more[0]), settings.implied_weight)
            labelled = labelled.joined(Labelled(*more, share))
        stages, out_of_fold = learn(
            plain,
            vocabulary,
            labelled,
            _folds(plain, settings),
            settings,
            progress=progress,
            fitting=fitting,
        )
        # Of the labelled pairs alone, which come first.
        out_of_fold = out_of_fold[: len(rows)]
        ids = products.catalog.ids
        saved = SavedDecider(
            stages=stages,
            settings=settings,
            trained=TrainedPairs.of(ids[rows[:, 0]], ids[rows[:, 1]]),
            views=tuple(products.embeddings),
            encoder_fingerprint=products.encoder_fingerprint,
            record_linkage=products.tables is not None,
            best_f1_probability=best_f1_cut(labels, out_of_fold),
            num_similar=int(np.count_nonzero(labels == 1)),
        )
        return cls(saved, out_of_fold=out_of_fold)

    @property
    def fingerprint(self) -> str:
        """Of all that was learned."""
        return self._saved.fingerprint

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What the second stage decides by."""
        return second_names(self.views)

    @property
    def gains(self) -> Mapping[str, float]:
        """By feature, how much the second stage's splits by it lowered the loss."""
        return dict(zip(self.feature_names, self._stages.second.gains().tolist()))

    @property
    def num_pairs(self) -> int:
        """How many labelled pairs it was learned on."""
        return len(self._saved.trained)

    def trained_on(
        self, first_ids: Iterable[str], second_ids: Iterable[str]
    ) -> np.ndarray:
        """Returns [P] bool: whether each pair was among those it was learned on."""
        return self._saved.trained.holds(first_ids, second_ids)

    def bind(
        self,
        products: DeciderProducts,
        candidates: np.ndarray | None = None,
        *,
        progress: Progress | None = None,
    ) -> BoundDecider:
        """Returns the decider on a catalogue's candidate pairs.

        These are the given ones and the lexical neighbours; no others can be scored.

        Args:
            products: N products.
            candidates: [C, 2] rows.
            progress: told products and then candidate pairs done, and all.

        Raises:
            FingerprintError: the embeddings are another encoder's.
            SimprodError: embeddings or tables lack that it was learned with.
        """
        self._check_products(products)
        # In the order of training, in which the features stand.
        embeddings = {view: products.embeddings[view] for view in self.views}
        products = DeciderProducts(
            products.catalog, embeddings, products.encoder_fingerprint, products.tables
        )
        plain, lexical = _plain(
            products, self._stages.vocabulary, [candidates], self.settings, progress
        )
        features = FirstFeatures(plain, self._stages.odds, _folds(plain, self.settings))
        log_odds = first_log_odds(features, self._stages.first, progress)
        return BoundDecider(
            self._stages,
            features,
            score_rows(plain.graph, log_odds),
            lexical=lexical,
            views=self.views,
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the decider as a folder, whole or not at all."""
        write_decider(self._saved, folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Decider:
        """Returns what `save` wrote.

        Raises:
            ModelError: the folder holds none, or a damaged one.
        """
        return cls(read_decider(folder))

    def _check_products(self, products: DeciderProducts) -> None:
        lacking = [view for view in self.views if view not in products.embeddings]
        if lacking:
            raise SimprodError(
                f"The decider was learned with embeddings of {', '.join(lacking)}; "
                "give the index that has them."
            )
        if self.views and products.encoder_fingerprint != self.encoder_fingerprint:
            raise FingerprintError(
                f"The decider was learned with encoder {self.encoder_fingerprint}, got "
                f"embeddings of {products.encoder_fingerprint or '(not stated)'}; use "
                "that encoder, or learn the decider again."
            )
        if self.record_linkage != (products.tables is not None):
            raise SimprodError(
                "The decider was learned to link tables; state the column that tells "
                "the table of a product."
                if self.record_linkage
                else "The decider was not learned to link tables; state no column of "
                "tables, or learn it again with one."
            )


def _plain(
    products: DeciderProducts,
    vocabulary: Vocabulary,
    proposed: Sequence[np.ndarray | None],
    settings: DeciderSettings,
    progress: Progress | None,
) -> tuple[PlainFeatures, np.ndarray]:
    """Returns the features that need no labels, and the lexical neighbours."""
    texts = LexicalVectors.of(products.catalog)
    near = texts.nearest(settings.neighbours, tables=products.tables, progress=progress)
    lines, places = np.nonzero(near >= 0)
    lexical = np.stack([lines, near[lines, places].astype(np.int64)], axis=1)
    known = [one for one in proposed if one is not None]
    graph = PairGraph.of(len(products), [lexical, *known], products.tables)
    prepared = PreparedProducts.prepare(products.catalog, vocabulary)
    return PlainFeatures.of(products, prepared, texts, graph), near


def _folds(plain: PlainFeatures, settings: DeciderSettings) -> np.ndarray:
    products = plain.products
    return pair_folds(
        products.catalog.ids,
        plain.graph.ends,
        folds=settings.folds,
        tables=products.tables,
    )


def _check_labelled(rows: np.ndarray, labels: np.ndarray) -> None:
    if rows.ndim != 2 or rows.shape[1:] != (2,) or labels.shape != (len(rows),):
        raise ValueError(
            f"rows must be [P, 2] and labels [P], got shapes {rows.shape} and "
            f"{labels.shape}."
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 1 (the same) or 0 (not).")
    for label, kind in ((1, "similar"), (0, "dissimilar")):
        found = int(np.count_nonzero(labels == label))
        if found < LEAST_PAIRS:
            raise SimprodError(
                f"a decider needs at least {LEAST_PAIRS} {kind} pairs to learn from, "
                f"got {found}; label more."
            )
