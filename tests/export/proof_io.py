"""What the proofs share: products come as JSON, results go out as .npz.

The proofs run in processes of their own that know nothing of simprod_tf, as a user's
would; numpy is all that this module needs.
"""

from __future__ import annotations

import base64
import json
import sys

import numpy as np


def read_products(path: str) -> dict[str, np.ndarray]:
    """Returns `image_bytes` and `title`, each [B] of bytes, dtype object."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    pictures = [base64.b64decode(one) for one in content["image_bytes"]]
    titles = [one.encode("utf-8") for one in content["title"]]
    return {"image_bytes": objects(pictures), "title": objects(titles)}


def objects(values: list[bytes]) -> np.ndarray:
    """Returns bytes as dtype object: "S" would drop trailing zeros of a picture."""
    return np.array([*values, None], object)[:-1]


def finish(path: str, **arrays: np.ndarray) -> None:
    """Writes the results, bytes as "S"; refuses if simprod_tf was imported."""
    ours = [name for name in sys.modules if name.split(".")[0] == "simprod_tf"]
    if ours:
        raise SystemExit(f"The proof must not import {ours}.")
    plain = {}
    for name, array in arrays.items():
        array = np.asarray(array)
        plain[name] = array.astype("S") if array.dtype == object else array
    np.savez(path, **plain)
