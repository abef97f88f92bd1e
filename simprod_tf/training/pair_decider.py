"""Fits the cross-attention model that says whether two products are the same.

It learns from labelled pairs and is told nothing but texts: the title, and what of the
attributes is written behind it. While training, words are dropped, swapped and cut, and
the model numbers of a pair are renamed alike on both sides: what must agree is learned,
not which numbers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.text import title_words
from simprod_tf.features.word_vectors import WordVectors, train_word_vectors
from simprod_tf.features.word_weights import WordCounts, idf_weights
from simprod_tf.model.cross_attention import build_cross_attention
from simprod_tf.training.pair_batches import (
    PREDICTED,
    examples_of,
    padded_words,
    training_batches,
    validation_batches,
    with_implied,
)
from simprod_tf.training.pair_decider_settings import PairDeciderSettings


@dataclass(frozen=True, eq=False)
class PairDecider:
    """A fitted model.

    Attributes:
        model: `build_cross_attention`'s.
        settings: by which it was fitted; columns and max_words hold from then on.
        history: by epoch, `loss` and `pr_auc`, of validation pairs with `val_` before.
    """

    model: tf.keras.Model
    settings: PairDeciderSettings
    history: Mapping[str, list[float]]

    def probabilities(
        self, catalog: Catalog, starts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Returns [N] float32, that the products in rows starts[i], ends[i] are one."""
        words = decider_words(catalog, self.settings)
        forward = tf.function(
            lambda *titles: tf.sigmoid(self.model(titles, training=False))[:, 0],
            input_signature=[tf.TensorSpec([None, None], tf.string)] * 2,
        )
        lengths = np.array([len(one) for one in words], np.int64)
        # Of like length together: a batch is as wide as its longest text.
        order = np.argsort(lengths[starts] + lengths[ends], kind="stable")
        found = np.zeros(len(order), np.float32)
        for first in range(0, len(order), PREDICTED):
            rows = order[first : first + PREDICTED]
            sides = [
                padded_words([words[i] for i in of[rows]]) for of in (starts, ends)
            ]
            found[rows] = forward(*sides).numpy()
        return found


def decider_texts(catalog: Catalog, columns: Sequence[str]) -> list[str]:
    """Returns the text of each product: its title, then these attributes."""
    parts = [catalog.titles, *(catalog.column(name) for name in columns)]
    return [" ".join(part for part in product if part) for product in zip(*parts)]


def decider_words(catalog: Catalog, settings: PairDeciderSettings) -> list[list[str]]:
    """Returns the words of each product's text, at most `max_words`."""
    texts = decider_texts(catalog, settings.columns)
    return [words[: settings.max_words] for words in title_words(texts)]


def fit_pair_decider(
    catalog: Catalog,
    pairs: Pairs,
    settings: PairDeciderSettings | None = None,
    *,
    word_vectors: WordVectors | None = None,
    validation: Pairs | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> PairDecider:
    """Returns a model fitted to labelled pairs; with one thread repeatable.

    Args:
        catalog: the products; its texts also give word vectors and frequencies.
        pairs: labelled; both labels must be among them. What follows from two similar
            pairs, a = b and b = c, is learned too.
        settings: see there.
        word_vectors: further vectors of words, from elsewhere.
        validation: further pairs, measured after each epoch.
        seed: of weights, dropout, order and changes.
        progress: called with (epochs done, epochs in all).

    Raises:
        ValueError: the pairs are all of one label.
    """
    chosen = settings or PairDeciderSettings()
    if not 0 < pairs.num_positives < len(pairs):
        raise ValueError(
            "pairs must be some similar and some not, got "
            f"{pairs.num_positives} similar of {len(pairs)}."
        )
    words = decider_words(catalog, chosen)
    examples = with_implied(catalog, pairs)
    tf.keras.utils.set_random_seed(seed)
    model = _new_model(words, word_vectors, chosen, seed)
    steps = max(1, len(examples.labels) // chosen.batch_size)
    _compile(model, chosen, steps)
    checked = None
    if validation is not None:
        checked = validation_batches(words, examples_of(catalog, validation))
    history = model.fit(
        training_batches(words, examples, chosen, seed=seed),
        steps_per_epoch=steps,
        epochs=chosen.epochs,
        validation_data=checked,
        callbacks=[] if progress is None else [_EpochCount(chosen.epochs, progress)],
        verbose=0,
    ).history
    return PairDecider(model, chosen, history)


def cross_fitted_probabilities(
    catalog: Catalog,
    pairs: Pairs,
    settings: PairDeciderSettings | None = None,
    *,
    folds: np.ndarray,
    word_vectors: WordVectors | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Returns [N] float32: each pair by a model that was fitted without its fold.

    For a threshold, and as evidence of a further model, which must not see what this
    one has learned by heart.

    Args:
        catalog, pairs, settings, word_vectors, seed: as for `fit_pair_decider`.
        folds: [N] int64, which fold each pair is in; two at least.
        progress: called with (folds done, folds in all).
    """
    names = np.unique(folds)
    if len(folds) != len(pairs) or len(names) < 2:
        raise ValueError(
            f"expected a fold for each of {len(pairs)} pairs, and two folds at least; "
            f"got {len(folds)} in {len(names)} folds."
        )
    starts, ends = (catalog.rows_of(x) for x in (pairs.anchor_ids, pairs.other_ids))
    found = np.zeros(len(pairs), np.float32)
    for done, name in enumerate(names, start=1):
        out = folds == name
        decider = fit_pair_decider(
            catalog,
            pairs.where(~out),
            settings,
            word_vectors=word_vectors,
            seed=seed,
        )
        found[out] = decider.probabilities(catalog, starts[out], ends[out])
        if progress:
            progress(done, len(names))
    return found


def _new_model(
    texts: Sequence[Sequence[str]],
    word_vectors: WordVectors | None,
    settings: PairDeciderSettings,
    seed: int,
) -> tf.keras.Model:
    """Returns the model, with vectors of the texts' words, own and given ones."""
    own = train_word_vectors(
        texts, dim=settings.vector_dim, epochs=settings.vector_epochs, seed=seed
    )
    vectors = _unit(own.vectors)
    if word_vectors is not None:
        row = {word: row for row, word in enumerate(word_vectors.words)}
        given = np.zeros((len(own), word_vectors.dim), np.float32)
        for place, word in enumerate(own.words):
            if word in row:
                given[place] = word_vectors.vectors[row[word]]
        vectors = np.concatenate([vectors, _unit(given)], axis=1)
    idf = idf_weights(own.words, WordCounts(texts))
    return build_cross_attention(own.words, vectors, idf=idf, settings=settings.model)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, 1e-9)


def _compile(model: tf.keras.Model, settings: PairDeciderSettings, steps: int) -> None:
    rate = tf.keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, (settings.epochs - 1) * steps),
        warmup_target=settings.learning_rate,
        warmup_steps=steps,
        alpha=0.02,
    )
    model.compile(
        tf.keras.optimizers.AdamW(
            rate, weight_decay=settings.weight_decay, clipnorm=1.0
        ),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
        weighted_metrics=[
            tf.keras.metrics.AUC(curve="PR", from_logits=True, name="pr_auc")
        ],
    )


class _EpochCount(tf.keras.callbacks.Callback):
    """Tells `progress` of each epoch that ends."""

    def __init__(self, epochs: int, progress: Callable[[int, int], None]) -> None:
        super().__init__()
        self._epochs, self._progress = epochs, progress

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts from 1."""
        self._progress(epoch + 1, self._epochs)
