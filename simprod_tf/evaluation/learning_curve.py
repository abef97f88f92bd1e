"""A training's history.csv as a learning curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simprod_tf.data.tables import ReadTable, read_table
from simprod_tf.errors import InputError
from simprod_tf.evaluation.report_data import LearningCurve


def read_learning_curve(model: str, path: str | Path) -> LearningCurve:
    """Returns what `history.csv` of a training's folder holds.

    Args:
        model: the name that the report shows.
        path: of the file: a row an epoch, a column a measure.

    Raises:
        InputError: the file is missing, or is no such table.
    """
    read = read_table(path)
    read.require(["epoch"])
    columns = {name: _numbers(read, name) for name in read.table.column_names}
    epochs = columns.pop("epoch")
    order = np.argsort(epochs, kind="stable")
    return LearningCurve(
        model,
        epochs[order].astype(np.int64),
        {name: values[order] for name, values in columns.items()},
    )


def _numbers(read: ReadTable, name: str) -> np.ndarray:
    """Returns a column [E] float64, NaN where it is empty."""
    try:
        return np.array([float(text or "nan") for text in read.strings(name)])
    except ValueError as error:
        raise InputError(
            f"column {name!r} must hold numbers: {error}.", path=read.path
        ) from error
