"""How often tokens stand in a catalogue: what a shared token is worth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog
from simprod_tf.decider.evidence.fields import record_texts
from simprod_tf.decider.evidence.tokens import codes, tokens

_COLUMNS = ("token", "products")


class Vocabulary:
    """In how many products of a catalogue each token stands; `fit` or `from_table`.

    It is saved with what was trained on it, so that another catalogue's products, or
    two of them alone, are weighed alike.
    """

    def __init__(self, counts: Mapping[str, int], *, num_products: int) -> None:
        """Takes of each token in how many of `num_products` products it stands."""
        if num_products < 1:
            raise ValueError(f"num_products must be at least 1, got {num_products}.")
        self.counts = dict(counts)
        self.num_products = num_products

    @classmethod
    def fit(cls, catalog: Catalog) -> Vocabulary:
        """Returns the tokens and codes in titles and descriptions of a catalogue."""
        counts: Counter[str] = Counter()
        for record in record_texts(catalog):
            text = f"{record.title} {record.text}"
            counts.update({*tokens(text), *codes(text)})
        return cls(counts, num_products=max(1, len(catalog)))

    def __len__(self) -> int:
        """Returns the number of tokens."""
        return len(self.counts)

    def idf(self, token: str) -> float:
        """Returns ln(1 + products / products with it); an unseen token is in one."""
        return math.log1p(self.num_products / self.counts.get(token, 1))

    def idfs(self, words: Sequence[str]) -> np.ndarray:
        """Returns [W] float64, the `idf` of each word."""
        counts = (self.counts.get(word, 1) for word in words)
        return np.log1p(self.num_products / np.fromiter(counts, float, len(words)))

    def to_table(self) -> pa.Table:
        """Returns `token` and `products`; the first row, "", says how many in all."""
        counts = [self.num_products, *self.counts.values()]
        names = pa.array(["", *self.counts], pa.string())
        return pa.table({"token": names, "products": pa.array(counts, pa.int64())})

    @classmethod
    def from_table(cls, table: pa.Table) -> Vocabulary:
        """Returns what `to_table` wrote.

        Raises:
            ValueError: it is no such table.
        """
        if tuple(table.column_names) != _COLUMNS:
            raise ValueError(
                f"a vocabulary is a table of {_COLUMNS}, got {table.column_names}."
            )
        counts = dict(zip(*(table.column(name).to_pylist() for name in _COLUMNS)))
        if "" not in counts:
            raise ValueError(
                'a vocabulary has a row "" with the number of products, got none.'
            )
        return cls(counts, num_products=counts.pop(""))
