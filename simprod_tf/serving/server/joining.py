"""The tensors of several requests as one batch, and the batch's outputs apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def trailing(array: np.ndarray) -> tuple[int, ...]:
    """Returns an array's shape without its rows."""
    return array.shape[1:]


def join(
    requests: Sequence[Mapping[str, np.ndarray]], *, rows: int
) -> dict[str, np.ndarray]:
    """Returns the requests' inputs below each other, filled up to `rows`.

    Rows that fill up are copies of the first one, which the model can take. Where
    shapes differ beyond the rows, the shorter are padded at their ends with their own
    first element, as TF Serving does (BatchingSessionOptions).

    Args:
        requests: their inputs, of the same names, dtypes and ranks; [B, ...] each.
        rows: at least as many as the requests have together.
    """
    joined = {}
    for name in requests[0]:
        arrays = [request[name] for request in requests]
        shape = np.max([trailing(array) for array in arrays], axis=0)
        parts = [_padded(array, tuple(int(size) for size in shape)) for array in arrays]
        missing = rows - sum(len(part) for part in parts)
        if missing:
            parts.append(np.repeat(parts[0][:1], missing, axis=0))
        joined[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return joined


def split_rows(
    outputs: Sequence[np.ndarray], rows: Sequence[int]
) -> list[list[np.ndarray]]:
    """Returns each request's outputs; the rows that filled up are left out.

    Args:
        outputs: [B, ...] each.
        rows: of each request, in the order of joining.
    """
    apart, start = [], 0
    for count in rows:
        apart.append([output[start : start + count] for output in outputs])
        start += count
    return apart


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if trailing(array) == shape:
        return array
    fill = array.flat[0] if array.size else (b"" if array.dtype.hasobject else 0)
    whole = np.full((len(array), *shape), fill, array.dtype)
    whole[tuple(slice(size) for size in array.shape)] = array
    return whole
