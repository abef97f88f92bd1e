"""What comes into an index, checked at the door: products, attributes, questions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Union

import numpy as np
import pyarrow as pa

from simprod_tf.index.folder import Stored
from simprod_tf.index.vectors import checked_ids, checked_vectors

# What a query shall not find: an id, several, or nothing in particular.
Excluded = Union[str, Collection[str], None]


def checked_products(
    ids: Sequence[str],
    embeddings: np.ndarray,
    *,
    encoder_fingerprint: str,
    attributes: pa.Table | None,
    extra: Mapping[str, Any] | None,
) -> Stored:
    """Returns what an index keeps of its products; see `Index.build`.

    Raises:
        ValueError, TypeError: ids or embeddings are not as described; names the id.
    """
    if not isinstance(encoder_fingerprint, str) or not encoder_fingerprint:
        raise ValueError(
            f"encoder_fingerprint is a non-empty str, got {encoder_fingerprint!r}."
        )
    checked = checked_ids(ids)
    vectors = checked_vectors(embeddings, names=checked)
    if attributes is not None and attributes.num_rows != len(checked):
        raise ValueError(
            f"Got {attributes.num_rows} rows of attributes for {len(checked)} ids."
        )
    return Stored(checked, vectors, encoder_fingerprint, extra or {}, attributes)


def fitting_attributes(
    attributes: pa.Table | None, held: pa.Schema | None, *, num_rows: int
) -> pa.Table | None:
    """Returns attributes of new products, with the columns and types of those held.

    Args:
        attributes: what is given for the new products.
        held: the columns that the index has; None where it has no attributes.
        num_rows: how many products are new.

    Raises:
        ValueError: there are too few or too many of them, or a value does not fit.
    """
    if held is None:
        if attributes is not None:
            raise ValueError("The index was built without attributes, got some.")
        return None
    if attributes is None or attributes.num_rows != num_rows:
        found = 0 if attributes is None else attributes.num_rows
        raise ValueError(
            f"Got {found} rows of attributes for {num_rows} ids; the index has "
            f"the attributes {held.names}."
        )
    columns = []
    for field in held:
        try:
            columns.append(attributes.column(field.name).cast(field.type))
        except KeyError:
            raise ValueError(
                "The attributes do not fit those of the index: there is no "
                f"{field.name!r} among {attributes.column_names}."
            ) from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"The attributes do not fit those of the index: {field.name!r} is "
                f"{field.type} there ({error})."
            ) from error
    return pa.table(columns, schema=held)


def checked_k(k: int) -> int:
    """Returns k if at least one product is asked for."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    return int(k)


def one_per_query(
    values: Sequence[Any] | None, num_queries: int, *, what: str
) -> Sequence[Any]:
    """Returns one value for each query; None for each, where nothing is given."""
    if values is None:
        return [None] * num_queries
    if len(values) != num_queries:
        raise ValueError(f"Got {len(values)} {what} for {num_queries} queries.")
    return values
