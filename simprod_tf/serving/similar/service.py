"""What simprod.v1.SimilarProducts answers: messages in, messages out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np
import pyarrow as pa

from simprod_tf.engine.embedded import QueryError
from simprod_tf.errors import SimprodError
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.server.limits import Deadline
from simprod_tf.serving.similar.bundle import Bundle
from simprod_tf.serving.similar.changes import (
    Added,
    Change,
    added,
    plain_values,
    removed,
)
from simprod_tf.serving.similar.log_file import LogError
from simprod_tf.serving.similar.search import (
    excluded,
    invalid,
    limits_of,
    matches_of,
    raw_embeddings,
    stored_limits,
    take_stored,
    vector_of,
)
from simprod_tf.serving.similar.store import Outcome
from simprod_tf.serving.similar.trio import OutdatedError, Trio
from simprod_tf.serving.status import ServingError

_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
_DEFAULT_K = 10
# A trio that came into use while products were encoded: once more, and once more.
_TRIES = 3


@dataclass(frozen=True)
class SimilarLimits:
    """How much one request may ask for.

    Attributes:
        k: matches of a query, and ids excluded of it.
        queries: in one request.
        products: to be added, or removed, by one request.
        where_length: characters of a condition.
    """

    k: int = 1000
    queries: int = 256
    products: int = 1000
    where_length: int = 10_000

    def __post_init__(self) -> None:
        """Refuses limits by which nothing could be asked."""
        if min(self.k, self.queries, self.products, self.where_length) < 1:
            raise ValueError(f"Limits are at least 1, got {self}.")


class SimilarService:
    """Answers requests by the trio of a bundle; threads may share it."""

    def __init__(self, bundle: Bundle, *, limits: SimilarLimits | None = None) -> None:
        """Takes what answers."""
        self._bundle, self._limits = bundle, limits or SimilarLimits()

    def similar(
        self, request: pb.SimilarRequest, *, timeout: float | None = None
    ) -> pb.SimilarResponse:
        """Returns the nearest products of each query.

        Args:
            request: the queries.
            timeout: seconds that the encoder may take.

        Raises:
            ServingError: INVALID_ARGUMENT for what is wrong with the request, naming
                the query; NOT_FOUND for an unknown id; FAILED_PRECONDITION for another
                fingerprint, or `only_similar` without a decision.
        """
        trio = self._trio(request.fingerprint)
        self._check(request, trio)
        embeddings = raw_embeddings(request.queries, trio, timeout)
        limits = limits_of(request.queries, trio)
        with _refusing_searches(), trio.lock.reading():
            take_stored(request.queries, trio, embeddings)
            limits = stored_limits(request.queries, trio, limits)
            found = trio.index.search(
                embeddings,
                k=request.k if request.HasField("k") else _DEFAULT_K,
                exclude=[excluded(query) for query in request.queries],
                where=request.where or None,
            )
        return pb.SimilarResponse(
            fingerprint=trio.fingerprint,
            index_version=trio.version,
            results=[
                pb.Matches(matches=matches_of(line, request, trio, limit))
                for line, limit in zip(found, limits)
            ],
        )

    def add(
        self, request: pb.AddRequest, *, timeout: float | None = None
    ) -> pb.AddResponse:
        """Takes products in; they are on disk when it returns.

        Args:
            request: the products.
            timeout: seconds to wait; the products may come in after that.

        Raises:
            ServingError: INVALID_ARGUMENT for what is wrong with a product, naming it;
                FAILED_PRECONDITION for another fingerprint; DEADLINE_EXCEEDED;
                UNAVAILABLE where the log cannot be written.
        """
        self._check_count(len(request.products), "products")
        outcome, trio = self._changed(
            request.fingerprint,
            lambda trio, left: _added(request, trio, left),
            timeout=timeout,
        )
        return pb.AddResponse(
            fingerprint=trio.fingerprint,
            index_version=outcome.version,
            num_new=outcome.count,
            num_products=outcome.num_products,
        )

    def remove(
        self, request: pb.RemoveRequest, *, timeout: float | None = None
    ) -> pb.RemoveResponse:
        """Removes products; that is on disk when it returns.

        Args:
            request: the ids.
            timeout: seconds to wait; the products may go after that.

        Raises:
            ServingError: as of `add`; NOT_FOUND names a product that is not there.
        """
        self._check_count(len(request.ids), "ids")
        with _refusing_values():
            change = removed(request.ids, allow_missing=request.allow_missing)
        outcome, trio = self._changed(
            request.fingerprint, lambda trio, left: change, timeout=timeout
        )
        return pb.RemoveResponse(
            fingerprint=trio.fingerprint,
            index_version=outcome.version,
            num_removed=outcome.count,
            num_products=outcome.num_products,
        )

    def status(
        self, request: pb.StatusRequest, *, timeout: float | None = None
    ) -> pb.StatusResponse:
        """Returns what is served, and how well.

        Raises:
            ServingError: FAILED_PRECONDITION for another fingerprint; UNAVAILABLE while
                the server closes.
        """
        trio, store = self._trio(request.fingerprint), self._bundle.store
        with _refusing_changes():
            drift = store.drift()
        schema = trio.schema or pa.schema([])
        return pb.StatusResponse(
            fingerprint=trio.fingerprint,
            index_version=trio.version,
            encoder_version=trio.encoder.version,
            num_products=len(trio.index),
            index_kind=trio.index.kind,
            dim=trio.index.dim,
            attributes=[
                pb.Attribute(name=one.name, type=str(one.type)) for one in schema
            ],
            decision=_decision(trio),
            drift=pb.DriftSummary(
                changed=drift.changed,
                recall=drift.recall,
                recall_of_changed=drift.recall_of_changed,
                wanted=drift.wanted,
                due=drift.due,
            ),
            log=pb.LogSummary(num_records=store.num_records, num_bytes=store.num_bytes),
            problem=self._bundle.problem,
        )

    def _trio(self, fingerprint: str) -> Trio:
        trio = self._bundle.trio
        if fingerprint and fingerprint != trio.fingerprint:
            raise ServingError(
                _PRECONDITION,
                f"The request is for encoder {fingerprint}, but {trio.fingerprint} is "
                "in use; ask without a fingerprint, or with this one.",
            )
        return trio

    def _check(self, request: pb.SimilarRequest, trio: Trio) -> None:
        limits = self._limits
        self._check_at_most(len(request.queries), limits.queries, "queries")
        if request.HasField("k"):
            self._check_at_most(request.k, limits.k, "k")
        for line, query in enumerate(request.queries):
            if query.WhichOneof("what") is None:
                raise invalid(f"Query {line} has no id, product or embedding.")
            if len(query.exclude_ids) > limits.k:
                raise invalid(
                    f"Query {line} excludes {len(query.exclude_ids)} ids, at most "
                    f"{limits.k} may be."
                )
            if query.HasField("embedding"):
                _require_fingerprint(request.fingerprint)
            _require_plain(query.product, f"Query {line}")
        if len(request.where) > limits.where_length:
            raise invalid(
                f"`where` has {len(request.where)} characters, at most "
                f"{limits.where_length} may be."
            )
        if request.HasField("max_distance") and not 0 <= request.max_distance <= 2:
            raise invalid(f"max_distance lies in [0, 2], got {request.max_distance}.")
        if request.only_similar and trio.decisions is None:
            raise ServingError(
                _PRECONDITION,
                "only_similar needs a decision, and there is none: choose one with "
                "`simprod threshold`, or ask with max_distance.",
            )

    def _check_count(self, count: int, what: str) -> None:
        self._check_at_most(count, self._limits.products, what)

    @staticmethod
    def _check_at_most(count: int, most: int, what: str) -> None:
        if not 1 <= count <= most:
            raise invalid(f"{what} must be between 1 and {most}, got {count}.")

    def _changed(
        self,
        fingerprint: str,
        make: Callable[[Trio, float | None], Change],
        *,
        timeout: float | None,
    ) -> tuple[Outcome, Trio]:
        """Makes a change for the trio in use; for the next one, if that came first."""
        left = Deadline(timeout).left
        for _ in range(_TRIES):
            trio = self._trio(fingerprint)
            change = make(trio, left())
            try:
                with _refusing_changes():
                    return self._bundle.store.change(change, timeout=left()), trio
            except OutdatedError:
                continue
        raise ServingError(
            grpc.StatusCode.UNAVAILABLE,
            "Other versions of the index came into use while the products were encoded;"
            " try again.",
        )


def _added(request: pb.AddRequest, trio: Trio, timeout: float | None) -> Added:
    """Returns the products as a change for this trio."""
    products = list(request.products)
    known = trio.encoder.columns | frozenset(trio.schema.names if trio.schema else ())
    raw = []
    for row, product in enumerate(products):
        if product.HasField("embedding"):
            _require_fingerprint(request.fingerprint)
        else:
            raw.append(row)
        _require_plain(product.product, f"The product {product.id!r}")
        for name in plain_values(product.product.attributes):
            if name not in known:
                raise invalid(
                    f"The product {product.id!r} has an attribute {name!r}; there are: "
                    f"{', '.join(sorted(known)) or 'none'}."
                )
    encoded = trio.encoder.encode(
        [products[row].product for row in raw], timeout=timeout
    )
    embeddings = np.zeros((len(products), trio.index.dim), np.float32)
    for row, embedding, fault in zip(raw, encoded.embeddings, encoded.faults):
        if fault:
            raise invalid(f"The product {products[row].id!r}: {fault}.")
        embeddings[row] = embedding
    for row, product in enumerate(products):
        if product.HasField("embedding"):
            embeddings[row] = vector_of(
                product.embedding, trio, f"product {product.id!r}"
            )
    with _refusing_values():
        return added(
            products,
            embeddings,
            schema=trio.schema,
            encoder_fingerprint=trio.fingerprint,
        )


def _require_fingerprint(fingerprint: str) -> None:
    if not fingerprint:
        raise invalid(
            "An embedding is of one encoder: state its fingerprint in the request."
        )


def _require_plain(product: pb.Product, what: str) -> None:
    # Deeply nested ones, which protobuf reads in a request, it would not read again in
    # the log, where they stand one level deeper.
    for name, value in product.attributes.fields.items():
        if value.WhichOneof("kind") in ("list_value", "struct_value"):
            raise invalid(
                f"{what} has an attribute {name!r} that is a list or an object; "
                "attributes are text, numbers, true or false."
            )


def _decision(trio: Trio) -> pb.DecisionSummary | None:
    if trio.decisions is None:
        return None
    whole = trio.decisions.whole
    return pb.DecisionSummary(
        max_distance=whole.max_distance,
        target_precision=whole.target_precision,
        precision_lower_bound=whole.precision_lower_bound,
        category=trio.category,
        date=whole.date,
    )


@contextmanager
def _refusing_values() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise invalid(str(error)) from error


@contextmanager
def _refusing_searches() -> Iterator[None]:
    try:
        yield
    except (QueryError, ValueError) as error:
        raise invalid(str(error)) from error
    except ServingError:
        raise
    except SimprodError as error:
        # The index has no attributes to ask about.
        raise invalid(str(error)) from error


@contextmanager
def _refusing_changes() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise ServingError(grpc.StatusCode.NOT_FOUND, error.args[0]) from error
    except LogError as error:
        raise ServingError(grpc.StatusCode.UNAVAILABLE, str(error)) from error
    except FutureTimeoutError:
        raise ServingError(
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "The deadline passed; the change may still be made.",
        ) from None
