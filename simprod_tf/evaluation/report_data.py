"""What the report shows beside the models' measures, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shown:
    """A product as the report shows it.

    Args:
        id: the product's own key.
        title: its title; may be empty.
        image: path of its picture, or "" if it has none.
        group: what it belongs to, or "" if that is not known.
        distance: from the query; None for the query itself, and in a pair.
        right: whether it is of the query's group; None if that is not known.
    """

    id: str
    title: str
    image: str = ""
    group: str = ""
    distance: float | None = None
    right: bool | None = None


@dataclass(frozen=True)
class QueryRow:
    """A query's product and its neighbours, the nearest first."""

    product: Shown
    neighbours: tuple[Shown, ...]


@dataclass(frozen=True)
class QuerySection:
    """Query rows under one heading, say "Worst queries", and how they were chosen."""

    title: str
    rows: tuple[QueryRow, ...]
    note: str = ""


@dataclass(frozen=True)
class Said:
    """What one modality says of a pair.

    Args:
        by: "both", "picture" or "title".
        distance: in [0, 2], or None where it cannot be told.
        missing: why it cannot be told, or "".
        max_distance: the threshold that it is held against, or None.
    """

    by: str
    distance: float | None
    missing: str = ""
    max_distance: float | None = None


@dataclass(frozen=True)
class HardPair:
    """A labelled pair that the model gets wrong, or nearly.

    Args:
        this, that: the two products.
        said: the distance by both modalities, by picture alone, by title alone.
        conflicts: traits in which the two differ, such as "size 38 against 40".
    """

    this: Shown
    that: Shown
    said: tuple[Said, ...]
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class HardPairs:
    """Hard pairs of one kind under a heading, and how they were chosen."""

    title: str
    pairs: tuple[HardPair, ...]
    note: str = ""


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """What each epoch of a training came to.

    Args:
        model: its name in the report.
        epochs: [E] int64, rising.
        measures: [E] float64 by name, NaN where an epoch has none; those of the
            validation begin with "val_".
    """

    model: str
    epochs: np.ndarray
    measures: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        """Checks that each measure has a value an epoch."""
        for name, values in self.measures.items():
            if values.shape != self.epochs.shape:
                raise ValueError(
                    f"{name} must have a value for each of {len(self.epochs)} epochs, "
                    f"got shape {values.shape}."
                )


@dataclass(frozen=True)
class WordCoverage:
    """How many words of the titles judged on have a vector.

    Args:
        models: names of the models with this vocabulary.
        num_words: words in the vocabulary.
        num_tokens, known_tokens: words of the titles, repeats counted.
        num_titles, known_titles: titles with a word, and with a known one.
        unknown: the most frequent unknown words and how often they stand in titles.
    """

    models: tuple[str, ...]
    num_words: int
    num_tokens: int
    known_tokens: int
    num_titles: int
    known_titles: int
    unknown: tuple[tuple[str, int], ...] = ()
