"""Gradient boosting on rows of features: LightGBM, kept as its own text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from simprod_tf.errors import ModelError


@dataclass(frozen=True)
class BoostingSettings:
    """How trees are grown; LightGBM's names (Ke et al. 2017).

    Attributes:
        trees: how many.
        learning_rate: share of each tree that counts.
        leaves: of a tree, at most.
        least_rows: of a leaf.
        rows_share: of the rows drawn for a tree.
        features_share: of the features drawn for a tree.
        l2: penalty on the leaves' values.
    """

    trees: int = 200
    learning_rate: float = 0.05
    leaves: int = 15
    least_rows: int = 20
    rows_share: float = 0.8
    features_share: float = 0.5
    l2: float = 1.0

    def parameters(self, seed: int) -> dict[str, object]:
        """Returns them as LightGBM takes them."""
        return {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least_rows,
            "bagging_fraction": self.rows_share,
            "bagging_freq": 1,
            "feature_fraction": self.features_share,
            "lambda_l2": self.l2,
            "seed": seed,
            # Equal on every machine, however many threads there are.
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


class Boosting:
    """An ensemble of boosted trees, whose log-odds are averaged."""

    def __init__(self, boosters: Sequence[lgb.Booster]) -> None:
        """Takes boosters on the same features."""
        if not boosters:
            raise ValueError("An ensemble needs at least one booster.")
        self._boosters = tuple(boosters)

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        labels: np.ndarray,
        settings: BoostingSettings,
        *,
        names: Sequence[str],
        seeds: Sequence[int],
        weights: np.ndarray | None = None,
    ) -> Boosting:
        """Returns boosters learned from [P, F] float features, NaN = not known.

        Args:
            features: of the pairs.
            labels: [P], 1 = similar, 0 = not.
            settings: of each booster.
            names: of the F features.
            seeds: one a booster.
            weights: [P] of the pairs, or None for 1 each.
        """
        boosters = []
        for seed in seeds:
            data = lgb.Dataset(
                features, labels, weight=weights, feature_name=list(names)
            )
            parameters = settings.parameters(seed)
            boosters.append(lgb.train(parameters, data, settings.trees))
        return cls(boosters)

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Returns [P] float64."""
        if not len(features):
            return np.zeros(0)
        found = [one.predict(features, raw_score=True) for one in self._boosters]
        return np.mean(np.asarray(found, np.float64), axis=0)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Returns [P, F + 1] float64: what each feature adds; last, what all have.

        Rows sum to `log_odds` (Lundberg et al. 2020, "From local explanations to global
        understanding with explainable AI for trees").
        """
        if not len(features):
            return np.zeros((0, features.shape[1] + 1))
        found = [one.predict(features, pred_contrib=True) for one in self._boosters]
        return np.mean(np.asarray(found, np.float64), axis=0)

    def gains(self) -> np.ndarray:
        """Returns [F] float64: how much splits by each feature lowered the loss."""
        found = [one.feature_importance("gain") for one in self._boosters]
        return np.mean(np.asarray(found, np.float64), axis=0)

    def texts(self) -> list[str]:
        """Returns each booster as LightGBM writes it."""
        return [one.model_to_string() for one in self._boosters]

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> Boosting:
        """Returns what `texts` told.

        Raises:
            ModelError: a text is none of LightGBM's.
        """
        try:
            return cls([lgb.Booster(model_str=text) for text in texts])
        except lgb.basic.LightGBMError as error:
            raise ModelError(f"LightGBM cannot read its model: {error}.") from error
