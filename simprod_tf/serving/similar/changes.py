"""Changes of an index: checked before they are logged, applied after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import pyarrow as pa
from google.protobuf.struct_pb2 import Struct

from simprod_tf.index.base import Index
from simprod_tf.index.vectors import checked_ids, checked_vectors
from simprod_tf.serving.protos import similar_products_pb2 as pb

_FLOATS = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class Added:
    """Products that come in, in place of those with the same id.

    Attributes:
        ids: C product ids.
        embeddings: [C, D] float32, unit length.
        attributes: C rows with the columns of the index; None where it has none.
        encoder_fingerprint: of the encoder that made the embeddings.
        record: what the log keeps of it.
    """

    ids: tuple[str, ...]
    embeddings: np.ndarray
    attributes: pa.Table | None
    encoder_fingerprint: str
    record: bytes

    def apply(self, index: Index) -> int:
        """Returns how many of the products are new to the index."""
        # What the views hold of a product is stale; `simprod add` embeds by view anew.
        for view in index.views.values():
            view.remove([id for id in self.ids if id in view])
        return index.add(self.ids, self.embeddings, attributes=self.attributes)


@dataclass(frozen=True, eq=False)
class Removed:
    """Products that go.

    Attributes:
        ids: of the products.
        allow_missing: whether those that are not there are passed over.
        record: what the log keeps of it.
    """

    ids: tuple[str, ...]
    allow_missing: bool
    record: bytes

    def apply(self, index: Index) -> int:
        """Returns how many of the products were there."""
        there = [id for id in self.ids if id in index]
        index.remove(there)
        return len(there)


Change = Union[Added, Removed]


def added(
    products: Sequence[pb.NewProduct],
    embeddings: np.ndarray,
    *,
    schema: pa.Schema | None,
    encoder_fingerprint: str,
) -> Added:
    """Returns products as a change.

    Args:
        products: C products.
        embeddings: [C, D] float32, unit length within 1e-3.
        schema: the columns of the index's attributes; None where it has none.
        encoder_fingerprint: of the encoder that made the embeddings.

    Raises:
        ValueError: an id is empty or there twice, a vector is not of unit length, or an
            attribute does not fit; names the product.
    """
    ids = checked_ids([one.id for one in products])
    vectors = checked_vectors(embeddings, names=ids)
    record = pb.LogRecord(
        added=pb.AddedProducts(
            products=products, embeddings=vectors.astype(_FLOATS).tobytes()
        )
    )
    table = None if schema is None else attribute_table(products, schema)
    return Added(ids, vectors, table, encoder_fingerprint, record.SerializeToString())


def removed(ids: Sequence[str], *, allow_missing: bool = False) -> Removed:
    """Returns the removal of products as a change.

    Raises:
        ValueError: an id is empty or there twice.
    """
    checked = checked_ids(ids)
    record = pb.LogRecord(removed=pb.RemovedProducts(ids=checked))
    return Removed(checked, allow_missing, record.SerializeToString())


def logged_embeddings(logged: pb.AddedProducts) -> np.ndarray:
    """Returns the [C, D] float32 embeddings of a record."""
    flat = np.frombuffer(logged.embeddings, _FLOATS).astype(np.float32)
    return flat.reshape(len(logged.products), -1)


def attribute_table(products: Sequence[pb.NewProduct], schema: pa.Schema) -> pa.Table:
    """Returns the products' attributes, with the columns and types of an index.

    What a product lacks is null; what the index has no column for is left out.

    Raises:
        ValueError: a value does not fit; names the product and the attribute.
    """
    rows = [plain_values(one.product.attributes) for one in products]
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            columns.append(_column(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            raise _misfit(products, values, field) from None
    return pa.table(columns, schema=schema)


def plain_values(attributes: Struct) -> dict[str, Any]:
    """Returns the attributes as str, float, bool or None; lists and objects as such."""
    return {name: _plain(value) for name, value in attributes.fields.items()}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    found = getattr(value, kind)
    return None if isinstance(found, float) and math.isnan(found) else found


def _column(values: list[Any], type_: pa.DataType) -> pa.Array:
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_boolean(plain):
        column = pa.array(values, pa.bool_())
    elif pa.types.is_floating(plain) or pa.types.is_integer(plain):
        if any(isinstance(value, bool) for value in values):
            raise pa.ArrowInvalid("A truth value is no number.")
        column = pa.array(values, pa.float64())
    else:
        # Text, and what has no type of its own in JSON, such as dates.
        column = pa.array(values, pa.string())
    # To a dictionary no cast leads but from its own type.
    column = column.cast(plain)
    return column.dictionary_encode().cast(type_) if plain != type_ else column


def _misfit(
    products: Sequence[pb.NewProduct], values: list[Any], field: pa.Field
) -> ValueError:
    for product, value in zip(products, values):
        try:
            _column([value], field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            return ValueError(
                f"The product {product.id!r} has {field.name} {_shown(value)}, but the "
                f"index holds {field.name} as {field.type}; correct it."
            )
    return ValueError(f"The attribute {field.name!r} is not {field.type}.")


def _shown(value: Any) -> str:
    return repr(value)[:100] if isinstance(value, (str, float, bool)) else "a structure"
