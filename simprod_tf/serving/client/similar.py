"""Messages of simprod.v1.SimilarProducts: products in, matches out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from simprod_tf.data.catalog import Product
from simprod_tf.errors import ModelError, SimprodError
from simprod_tf.features.image import read_pictures
from simprod_tf.features.product_inputs import Tables
from simprod_tf.index.answer import Match
from simprod_tf.serving.client.encoder import Batch, batches
from simprod_tf.serving.protos import similar_products_pb2 as pb

# A product that need not be in the index, or the id of one that is.
Query = Union[Product, str]

_NUMBER_TYPES = re.compile("(u?int|(half)?float|double|decimal)")
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class IndexChange:
    """What a change did: products that came or went, and how many there are now."""

    num_changed: int
    num_products: int


def similar_request(
    query: Query,
    *,
    k: int,
    where: str | None,
    max_distance: float | None,
    only_similar: bool,
    exclude: Collection[str],
    tables: Tables | None,
) -> pb.SimilarRequest:
    """Returns the question for the nearest products of one; see `Client.similar`.

    Raises:
        InputError: names the picture that cannot be read.
    """
    asked = pb.Query(exclude_ids=exclude)
    if isinstance(query, str):
        asked.id = query
    else:
        (content,) = read_pictures([query.image])
        asked.product.CopyFrom(_product(query, content, tables, {}))
    return pb.SimilarRequest(
        queries=[asked],
        k=k,
        where=where or "",
        max_distance=max_distance,
        only_similar=only_similar,
    )


def matches(response: pb.SimilarResponse, query: Query) -> list[Match]:
    """Returns the products found, the nearest first.

    Raises:
        ModelError: the server answered another number of queries.
    """
    if len(response.results) != 1:
        raise ModelError(
            f"expected the matches of 1 query from the server, got those of "
            f"{len(response.results)}."
        )
    query_id = query if isinstance(query, str) else query.id
    return [
        Match(
            query_id,
            one.id,
            one.distance,
            one.probability if one.HasField("probability") else None,
        )
        for one in response.results[0].matches
    ]


def add_requests(
    products: Sequence[Product],
    status: pb.StatusResponse,
    *,
    tables: Tables | None,
    size: int,
    most_bytes: int,
) -> Iterator[pb.AddRequest]:
    """Yields requests that put products into the index, each when it is asked for.

    Args:
        products: those to add.
        status: of the index: it has the types of the attributes.
        tables: precomputed vectors by name.
        size: products in a request, at most.
        most_bytes: of pictures in a request, about.

    Raises:
        ValueError: there is no product.
        InputError: names the picture that cannot be read.
        SimprodError: an attribute is none of the index's type.
    """
    if not products:
        raise ValueError("give at least one product to add, got none.")
    types = {one.name: one.type for one in status.attributes}
    for batch in batches(products, size=size, most_bytes=most_bytes):
        yield pb.AddRequest(products=_new_products(batch, tables, types))


def _new_products(
    batch: Batch, tables: Tables | None, types: Mapping[str, str]
) -> list[pb.NewProduct]:
    return [
        pb.NewProduct(id=one.id, product=_product(one, content, tables, types))
        for one, content in zip(batch.products, batch.contents)
    ]


def _product(
    product: Product, content: bytes, tables: Tables | None, types: Mapping[str, str]
) -> pb.Product:
    message = pb.Product(image_bytes=content, title=product.title)
    for name in product.attributes:
        message.attributes[name] = _value(product, name, types.get(name, "string"))
    for name, table in (tables or {}).items():
        (vector,) = table.of([product.id])[:]
        if vector.any():
            message.vectors[name].values.extend(vector.tolist())
    return message


def _value(product: Product, name: str, type_: str) -> str | float | bool | None:
    """Returns an attribute, text in a catalogue, as the index's type asks for it."""
    text = product.attributes[name]
    if not text:
        return None
    try:
        if _NUMBER_TYPES.match(type_):
            return float(text)
        return _TRUTHS[text.lower()] if type_ == "bool" else text
    except (ValueError, KeyError):
        raise SimprodError(
            f"product {product.id!r}: {name} is {type_} in the index, got {text!r}."
        ) from None
