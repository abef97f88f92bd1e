"""What an encoder takes of a product beside its picture, and the ops that prepare it.

The same ops work on a catalogue in training and inside the exported graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Union

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Product, text_array
from simprod_tf.data.vectors import RowsOf, VectorTable, input_name
from simprod_tf.errors import SimprodError
from simprod_tf.features.text import WordIds
from simprod_tf.features.unicode import fold

Column = Union[np.ndarray, RowsOf]
Tables = Mapping[str, VectorTable]
_BLOCK_ROWS = 4096
# Names that the encoder's own inputs have.
RESERVED = ("image", "image_bytes", "text", "title", "word")


@dataclass(frozen=True)
class TextInput:
    """Titles as ids of words: see `simprod_tf.features.text.WordIds`."""

    vocabulary: tuple[str, ...]
    unknown: str = "drop"
    buckets: int = 0


@dataclass(frozen=True)
class CategoryInput:
    """A column of text; `values` in order of their ids, from 1 on."""

    column: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the encoder calls it."""
        return input_name(self.column)


@dataclass(frozen=True)
class NumberInput:
    """A column of numbers."""

    column: str

    @property
    def name(self) -> str:
        """What the encoder calls it."""
        return input_name(self.column)


@dataclass(frozen=True)
class VectorInput:
    """Precomputed vectors, of a file or (`column`) of the catalogue itself."""

    name: str
    dim: int
    column: str = ""


@dataclass(frozen=True)
class ProductInputs:
    """What of a product the encoder takes, its picture aside."""

    text: TextInput | None = None
    categories: tuple[CategoryInput, ...] = ()
    numbers: tuple[NumberInput, ...] = ()
    vectors: tuple[VectorInput, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the names are different and free."""
        names = [one.name for one in self._named()]
        for name in names:
            if name in RESERVED or names.count(name) > 1:
                raise ValueError(
                    f"{name!r} is taken: attributes and vectors need names of their "
                    f"own, none of {', '.join(RESERVED)}."
                )

    @property
    def has_more(self) -> bool:
        """Whether attributes or vectors tell of products, beside picture and title."""
        return bool(self._named())

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; the vocabulary stays out, it has a file of its own."""
        content = asdict(self)
        if self.text is not None:
            del content["text"]["vocabulary"]
        return content

    @classmethod
    def from_json(
        cls, content: Mapping[str, Any], vocabulary: Sequence[str] = ()
    ) -> ProductInputs:
        """Returns what `to_json` gave, with that vocabulary."""
        text = content["text"]
        return cls(
            None if text is None else TextInput(tuple(vocabulary), **text),
            tuple(
                CategoryInput(one["column"], tuple(one["values"]))
                for one in content["categories"]
            ),
            tuple(NumberInput(**one) for one in content["numbers"]),
            tuple(VectorInput(**one) for one in content["vectors"]),
        )

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the raw tensors beside `image_bytes` and `title`, by name."""
        shapes: dict[str, tuple[list[int | None], tf.DType]] = {}
        shapes.update({one.name: ([None], tf.string) for one in self.categories})
        shapes.update({one.name: ([None], tf.float32) for one in self.numbers})
        shapes.update({one.name: ([None, one.dim], tf.float32) for one in self.vectors})
        return {
            name: tf.TensorSpec(shape, dtype, name)
            for name, (shape, dtype) in shapes.items()
        }

    def _named(self) -> tuple[CategoryInput | NumberInput | VectorInput, ...]:
        return (*self.categories, *self.numbers, *self.vectors)


class InputOps(tf.Module):
    """Raw tensors of products -> the inputs of an encoder's head, pictures aside."""

    def __init__(self, inputs: ProductInputs) -> None:
        """Builds the look-up tables."""
        super().__init__(name="input_ops")
        self.inputs = inputs
        text = inputs.text
        self.word_ids = None
        if text is not None:
            self.word_ids = WordIds(
                text.vocabulary, unknown=text.unknown, buckets=text.buckets
            )
        self.value_ids = {one.name: _value_table(one) for one in inputs.categories}

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the head's inputs.

        Args:
            raw: `title` [B] string; a category [B] string; a number [B] float32, NaN
                where it is missing; a vector [B, F] float32, zeros where it is.
        """
        found: dict[str, tf.Tensor] = {}
        if self.word_ids is not None:
            found["word_ids"] = self.word_ids(raw["title"])
        for name, table in self.value_ids.items():
            ids = table.lookup(tf.strings.strip(fold(raw[name])))
            found[f"{name}_id"] = tf.cast(ids, tf.int32)[:, tf.newaxis]
        for number in self.inputs.numbers:
            value = raw[number.name][:, tf.newaxis]
            there = tf.math.is_finite(value)
            found[f"{number.name}_number"] = tf.where(there, value, 0.0)
            found[f"has_{number.name}"] = tf.cast(there, tf.float32)
        for vector in self.inputs.vectors:
            value = raw[vector.name]
            there = tf.reduce_any(value != 0, axis=1, keepdims=True)
            found[f"{vector.name}_features"] = value
            found[f"has_{vector.name}"] = tf.cast(there, tf.float32)
        return found


def raw_columns(
    products: Sequence[Product], inputs: ProductInputs, tables: Tables | None = None
) -> dict[str, Column]:
    """Returns products as the raw tensors that `InputOps` takes, each [P] or [P, F].

    Args:
        products: The products.
        inputs: What is wanted of them.
        tables: Precomputed vectors by name; products that have none get zeros.

    Raises:
        SimprodError: a number is none, or vectors have another length.
    """
    columns: dict[str, Column] = {"title": text_array([p.title for p in products])}
    for category in inputs.categories:
        columns[category.name] = text_array(
            [p.attributes.get(category.column, "") for p in products]
        )
    for number in inputs.numbers:
        columns[number.name] = np.array(
            [_number(p, number.column) for p in products], np.float32
        )
    ids = [p.id for p in products]
    for vector in inputs.vectors:
        columns[vector.name] = _vectors(vector, ids, tables or {})
    return columns


def product_arrays(
    products: Sequence[Product], inputs: ProductInputs, tables: Tables | None = None
) -> dict[str, Column]:
    """Returns the inputs of the head for products, pictures aside, each [P, ...].

    Precomputed vectors stay where they are, and are gathered when asked for.
    """
    raw = raw_columns(products, inputs, tables)
    ops = InputOps(inputs)
    blocks: dict[str, list[np.ndarray]] = {}
    lazy = {f"{one.name}_features": raw[one.name] for one in inputs.vectors}
    for start in range(0, max(1, len(products)), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        found = ops({name: as_tensor(column[part]) for name, column in raw.items()})
        for name, block in found.items():
            if name not in lazy:
                blocks.setdefault(name, []).append(block.numpy())
    return {**{name: _joined(parts) for name, parts in blocks.items()}, **lazy}


def as_tensor(column: np.ndarray) -> tf.Tensor:
    """Returns a column of `raw_columns`, or a part of it, as a tensor."""
    if column.dtype == object:
        return tf.constant(column.tolist(), tf.string)
    return tf.constant(column)


def known_products(arrays: Mapping[str, Column]) -> np.ndarray:
    """Returns [P] bool: of which products anything is known, by a head's inputs."""
    flags = [
        np.any(np.asarray(array[:]) != 0, axis=1)
        for name, array in arrays.items()
        if name.startswith("has_") or name.endswith(("_id", "word_ids"))
    ]
    return np.any(flags, axis=0)


def category_input(column: str, values: Sequence[str]) -> CategoryInput:
    """Returns the input of a column: its values, folded, in order of the alphabet."""
    folded = tf.strings.strip(fold(tf.constant(list(values), tf.string))).numpy()
    known = sorted({value.decode("utf-8") for value in folded} - {""})
    if not known:
        raise ValueError(f"no product has a {column!r}.")
    return CategoryInput(column, tuple(known))


def number_points(numbers: np.ndarray, *, most: int = 16) -> tuple[float, ...]:
    """Returns at most `most` rising quantiles of [P] numbers, NaN where missing."""
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return ()
    points = np.quantile(known, np.linspace(0, 1, most))
    return tuple(sorted({float(np.float32(point)) for point in points}))


def _number(product: Product, column: str) -> float:
    text = product.attributes.get(column, "")
    if not text:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        raise SimprodError(
            f"product {product.id!r}: {column} must be a number, got {text!r}."
        ) from None
    return number


def _vectors(vector: VectorInput, ids: Sequence[str], tables: Tables) -> Column:
    table = tables.get(vector.name)
    if table is None:
        return RowsOf(
            np.zeros((0, vector.dim), np.float32), np.full(len(ids), -1, np.int64)
        )
    if table.dim != vector.dim:
        raise SimprodError(
            f"the encoder takes vectors {vector.name!r} of length {vector.dim}, got "
            f"length {table.dim}."
        )
    return table.of(ids)


def _value_table(category: CategoryInput) -> tf.lookup.StaticHashTable:
    size = len(category.values)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(category.values), tf.string),
            tf.range(1, size + 1, dtype=tf.int64),
        ),
        default_value=0,
    )


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    """Returns blocks one below the other, padded with 0 to the widest."""
    width = max(block.shape[1] for block in blocks)
    return np.concatenate(
        [np.pad(block, ((0, 0), (0, width - block.shape[1]))) for block in blocks]
    )
