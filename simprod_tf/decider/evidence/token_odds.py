"""What an unmatched token tells, learned from labelled pairs.

"Upgrade" in one title alone parts two products of software, "software" does not: no
list can know, so that a logistic regression on the unmatched tokens learns it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from simprod_tf.decider.evidence.alignment import aligned
from simprod_tf.decider.evidence.features import lighter_first
from simprod_tf.decider.evidence.prepared import PreparedProducts

TOKEN_ODDS: tuple[str, ...] = (
    "unmatched_odds_sum",
    "unmatched_odds_least",
    "unmatched_odds_most",
)
# Pairs aligned together: bounds memory.
_BLOCK = 1 << 14
_COLUMNS = ("token", "odds")


class TokenOdds:
    """Log-odds of unmatched tokens: how much less likely each makes a similar pair.

    A token is unmatched where the other title has neither it, nor it as a part of a
    compound; one with a near spelling counts as its dissimilarity. Negative odds part
    products; a token that no training pair holds has 0.
    """

    def __init__(self, *, regularisation: float = 1.0) -> None:
        """Takes the weight of the L2 penalty: more keeps odds nearer to 0."""
        if regularisation <= 0:
            raise ValueError(f"regularisation must be above 0, got {regularisation}.")
        self.regularisation = regularisation
        self._odds: dict[str, float] = {}

    def fit(
        self,
        products: PreparedProducts,
        starts: np.ndarray,
        ends: np.ndarray,
        *,
        labels: np.ndarray,
    ) -> TokenOdds:
        """Learns from [P] pairs with labels 1 = similar, 0 = not; returns itself.

        Raises:
            ValueError: the pairs are not of both labels.
        """
        labels = _labels_of_both(labels)
        self._learn(
            _unmatched(products, starts, ends), labels, words=products.words.text
        )
        return self

    def transform(
        self, products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Returns [P, len(TOKEN_ODDS)] float32; (a, b) and (b, a) have the same row."""
        return self._told(_unmatched(products, starts, ends), words=products.words.text)

    def fit_transform(
        self,
        products: PreparedProducts,
        starts: np.ndarray,
        ends: np.ndarray,
        *,
        labels: np.ndarray,
        folds: np.ndarray,
    ) -> np.ndarray:
        """Learns from all pairs, returns each pair's row as the other folds tell it.

        What is learned from a pair knows its label; a model that is trained on such
        rows would trust them too much.

        Args:
            products: of the catalogue.
            starts: [P] int64 rows.
            ends: [P] int64 rows.
            labels: [P], 1 = similar.
            folds: [P] int, which fold each pair is of.

        Raises:
            ValueError: there is one fold alone, or what is left without one of them
                is not of both labels.
        """
        labels, folds = _labels_of_both(labels), np.asarray(folds)
        if len(np.unique(folds)) < 2:
            raise ValueError("folds must be at least 2, got one.")
        unmatched, words = _unmatched(products, starts, ends), products.words.text
        found = np.zeros((len(labels), len(TOKEN_ODDS)), np.float32)
        for fold in np.unique(folds):
            out, rest = folds == fold, folds != fold
            one = TokenOdds(regularisation=self.regularisation)
            one._learn(unmatched[rest], _labels_of_both(labels[rest]), words=words)
            found[out] = one._told(unmatched[out], words=words)
        self._learn(unmatched, labels, words=words)
        return found

    def odds(self, token: str) -> float:
        """Returns the log-odds of a token, 0 for one that training pairs lack."""
        return self._odds.get(token, 0.0)

    def to_table(self) -> pa.Table:
        """Returns `token` and `odds`, the first row ("") with the regularisation."""
        return pa.table(
            {
                "token": pa.array(["", *self._odds], pa.string()),
                "odds": pa.array(
                    [self.regularisation, *self._odds.values()], pa.float64()
                ),
            }
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> TokenOdds:
        """Returns what `to_table` wrote.

        Raises:
            ValueError: it is no such table.
        """
        if tuple(table.column_names) != _COLUMNS:
            raise ValueError(
                f"token odds are a table of {_COLUMNS}, got {table.column_names}."
            )
        odds = dict(zip(*(table.column(name).to_pylist() for name in _COLUMNS)))
        if "" not in odds:
            raise ValueError('token odds have a row "" with the regularisation.')
        learned = cls(regularisation=odds.pop(""))
        learned._odds = odds
        return learned

    def _learn(
        self, unmatched: sp.csr_matrix, labels: np.ndarray, *, words: np.ndarray
    ) -> None:
        seen = np.unique(unmatched.indices)
        if not len(seen):
            self._odds = {}
            return
        # This solver is exact, so that the same pairs give the same odds.
        model = LogisticRegression(C=1 / self.regularisation, solver="liblinear")
        model.fit(unmatched[:, seen], labels)
        self._odds = dict(zip(words[seen].tolist(), model.coef_[0].tolist()))

    def _told(self, unmatched: sp.csr_matrix, *, words: np.ndarray) -> np.ndarray:
        weights = np.zeros(unmatched.shape[1])
        seen = np.unique(unmatched.indices)
        weights[seen] = [self.odds(word) for word in words[seen]]
        told = unmatched.copy()
        told.data = told.data * weights[told.indices]
        # The least and the most over all tokens: 0 where none has such odds.
        columns = (told.sum(axis=1), told.min(axis=1), told.max(axis=1))
        dense = [one.toarray() if sp.issparse(one) else one for one in columns]
        return np.stack([np.asarray(one).ravel() for one in dense], 1).astype(
            np.float32
        )


def _labels_of_both(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels).astype(np.int64)
    if set(np.unique(labels).tolist()) != {0, 1}:
        raise ValueError(
            "token odds need pairs with label 1 and pairs with label 0, got labels "
            f"{np.unique(labels).tolist()}."
        )
    return labels


def _unmatched(
    products: PreparedProducts, starts: np.ndarray, ends: np.ndarray
) -> sp.csr_matrix:
    """Returns [P, W] float64: how unmatched each word is in each pair, 0 to 2."""
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    lighter, heavier = lighter_first(products, starts, ends)
    blocks = [
        _block(products, lighter[begin : begin + _BLOCK], heavier[begin:][:_BLOCK])
        for begin in range(0, max(1, len(starts)), _BLOCK)
    ]
    return sp.vstack(blocks, format="csr")


def _block(
    products: PreparedProducts, lighter: np.ndarray, heavier: np.ndarray
) -> sp.csr_matrix:
    found = aligned(products, lighter, heavier)
    lines, words, weights = [], [], []
    for taken, soft in ((found.one, found.soft_one), (found.two, found.soft_two)):
        left = soft < 1
        lines.append(taken.lines[left])
        words.append(taken.values[left])
        weights.append(1 - soft[left])
    places = np.concatenate(lines), np.concatenate(words)
    shape = len(lighter), len(products.words)
    return sp.csr_matrix((np.concatenate(weights), places), shape=shape)
