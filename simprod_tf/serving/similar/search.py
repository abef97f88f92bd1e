"""Queries of a request -> embeddings; products found -> matches of an answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import grpc
import numpy as np

from simprod_tf.index.answer import Match
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import plain_values
from simprod_tf.serving.similar.trio import Trio
from simprod_tf.serving.status import ServingError


def invalid(message: str) -> ServingError:
    """Returns the error of a request that is wrong in itself."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def raw_embeddings(
    queries: Sequence[pb.Query], trio: Trio, timeout: float | None
) -> np.ndarray:
    """Returns [Q, D] float32, unit length; zeros where the query is an id."""
    embeddings = np.zeros((len(queries), trio.index.dim), np.float32)
    raw = [line for line, one in enumerate(queries) if one.HasField("product")]
    if raw:
        encoded = trio.encoder.encode(
            [queries[line].product for line in raw], timeout=timeout
        )
        for line, embedding, fault in zip(raw, encoded.embeddings, encoded.faults):
            if fault:
                raise invalid(f"Query {line}: {fault}.")
            embeddings[line] = embedding
    for line, query in enumerate(queries):
        if query.HasField("embedding"):
            embeddings[line] = vector_of(query.embedding, trio, f"query {line}")
    return embeddings


def take_stored(
    queries: Sequence[pb.Query], trio: Trio, embeddings: np.ndarray
) -> None:
    """Writes the embeddings of queries by id."""
    for line, query in enumerate(queries):
        if query.HasField("id"):
            if query.id not in trio.index:
                raise ServingError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Query {line}: the index holds no product {query.id!r}.",
                )
            embeddings[line] = trio.index.embedding(query.id)


def limits_of(queries: Sequence[pb.Query], trio: Trio) -> list[float]:
    """Returns up to which distance a query's matches are similar; nan for nobody."""
    if trio.decisions is None:
        return [math.nan] * len(queries)
    whole, category = trio.decisions.whole, trio.category
    if not category:
        return [whole.max_distance] * len(queries)
    values = (plain_values(one.product.attributes).get(category) for one in queries)
    return [whole.by_category.get(str(value), whole.max_distance) for value in values]


def stored_limits(
    queries: Sequence[pb.Query], trio: Trio, limits: list[float]
) -> list[float]:
    """Returns the limits, with those of queries by id put in."""
    if not trio.category or trio.decisions is None:
        return limits
    whole, categories = trio.decisions.whole, trio.categories
    return [
        whole.by_category.get(categories.get(query.id, ""), whole.max_distance)
        if query.HasField("id")
        else limit
        for query, limit in zip(queries, limits)
    ]


def matches_of(
    found: Sequence[Match], request: pb.SimilarRequest, trio: Trio, limit: float
) -> Iterator[pb.Match]:
    farthest = request.max_distance if request.HasField("max_distance") else math.inf
    if request.only_similar:
        farthest = min(farthest, limit)
    kept = [one for one in found if one.distance <= farthest]
    if trio.decisions is None or not kept:
        yield from (pb.Match(id=one.id, distance=one.distance) for one in kept)
        return
    distances = np.array([one.distance for one in kept])
    for one, probability in zip(kept, trio.decisions.whole.probability(distances)):
        yield pb.Match(
            id=one.id,
            distance=one.distance,
            probability=float(probability),
            similar=one.distance <= limit,
        )


def excluded(query: pb.Query) -> list[str]:
    return [*query.exclude_ids, *([query.id] if query.HasField("id") else [])]


def vector_of(vector: pb.Vector, trio: Trio, what: str) -> np.ndarray:
    values = np.array(vector.values, np.float32)
    if values.shape != (trio.index.dim,):
        raise invalid(
            f"The embedding of {what} has {len(values)} numbers, expected "
            f"{trio.index.dim}."
        )
    return values
