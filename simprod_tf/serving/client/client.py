"""A client of TensorFlow Serving and of `simprod serve`, over gRPC.

    with Client("localhost:8500", model="shop") as client:
        client.wait_until_ready()
        embeddings = client.encode(products)

Every call has a deadline. What is UNAVAILABLE is tried again by gRPC itself, nothing
else is. Errors are `ServingError`s with gRPC's code and say what to do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

import grpc
import numpy as np

from simprod_tf.data.catalog import Product
from simprod_tf.features.product_inputs import Tables
from simprod_tf.index.answer import Match
from simprod_tf.serving.client.calls import Calls
from simprod_tf.serving.client.channel import (
    MAX_MESSAGE_BYTES,
    CallSettings,
    ChannelSettings,
    Tls,
)
from simprod_tf.serving.client.encoder import Batch, ServedEncoder, encode_requests
from simprod_tf.serving.client.error import may_be_outdated, require_not_ready
from simprod_tf.serving.client.messages import (
    DEFAULT_SIGNATURE,
    Metadata,
    Prediction,
    Target,
    VersionStatus,
    metadata,
    metadata_request,
    predict_request,
    status_request,
    statuses,
)
from simprod_tf.serving.client.similar import (
    IndexChange,
    Query,
    add_requests,
    matches,
    similar_request,
)
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.status import ServingError

# Between two questions whether a model is ready.
POLL_S = 0.2
# A model may be replaced while products are encoded; then all are encoded anew.
ROUNDS = 2


class Client:
    """A model on a server, through one long-lived channel that threads may share.

    Use it in a `with` statement, or close it.
    """

    def __init__(
        self,
        address: str,
        *,
        model: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        tls: Tls | None = None,
        chunk: int = 32,
        in_flight: int = 4,
        attempts: int = 4,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        """Opens the channel; the server need not be there yet.

        Args:
            address: `host:port` of gRPC, such as localhost:8500.
            model: the name that it is served under.
            version: its number; the newest that is served unless given.
            label: the version's label, such as stable; instead of `version`.
            timeout: seconds that each call has, all its attempts together.
            tls: None for plain text.
            chunk: products in a request, at most.
            in_flight: requests under way at the same time, for one `encode`.
            attempts: how often a call is tried while the server is UNAVAILABLE, 1 to 5.
            max_message_bytes: of a request, and of an answer.

        Raises:
            InputError: a file of `tls` cannot be used.
        """
        self._calls = Calls(
            Target(model, version, label),
            ChannelSettings(address, tls, max_message_bytes, attempts),
            calls=CallSettings(timeout, chunk, in_flight),
        )
        self._encoder: ServedEncoder | None = None

    def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        self._calls.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def dim(self) -> int:
        """The length of the embeddings, by the served signature."""
        return self._known_encoder().dim

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of encoder and index behind SimilarProducts.

        None where the server has no such service: TensorFlow Serving tells none.
        """
        try:
            return self._similar_status().fingerprint
        except ServingError as error:
            if error.code == grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise

    def encode(
        self,
        products: Sequence[Product],
        *,
        tables: Tables | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 unit-length embeddings, all of one version.

        Args:
            products: The products.
            tables: Precomputed vectors by name, where the encoder takes any.
            batch_size: Products in a request; the client's `chunk` unless given.
            progress: Called with (products done, products in all); starts again where
                the model is replaced meanwhile.

        Raises:
            InputError: names the picture that cannot be read or decoded.
            ModelError: the model is no encoder.
            ServingError: the server refuses, or there is none.
        """
        size = self._calls.settings.chunk_of(batch_size)
        encoder = self._known_encoder()
        for _ in range(ROUNDS):
            try:
                return self._encoded(encoder, products, tables, size, progress)
            except ServingError as error:
                if not may_be_outdated(error):
                    raise
                self._encoder = self._served_encoder()
                if self._encoder.version == encoder.version:
                    raise
                encoder = self._encoder
        return self._encoded(encoder, products, tables, size, progress)

    def predict(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Returns what a signature answers to arrays by name.

        Args:
            inputs: arrays, or what NumPy makes arrays of; text as dtype object.
            signature: what is asked of the model.
            outputs: those wanted; all unless given.
        """
        request = predict_request(
            self._calls.target, inputs, signature=signature, outputs=outputs
        )
        return self._calls.predict(request)

    def metadata(self) -> Metadata:
        """Returns the signatures of the version that answers now."""
        method = self._calls.prediction_service.GetModelMetadata
        return metadata(self._calls.call(method, metadata_request(self._calls.target)))

    def status(self) -> list[VersionStatus]:
        """Returns the states of the model's versions, the newest first."""
        method = self._calls.model_service.GetModelStatus
        return statuses(self._calls.call(method, status_request(self._calls.target)))

    def similar(
        self,
        query: Query,
        *,
        k: int = 10,
        where: str | None = None,
        max_distance: float | None = None,
        only_similar: bool = False,
        exclude: Collection[str] = (),
        tables: Tables | None = None,
    ) -> list[Match]:
        """Returns the products of the index of `simprod serve` that are nearest to one.

        Args:
            query: a product, or the id of one in the index.
            k: how many, at most.
            where: an SQL condition on their attributes, such as price < 20.
            max_distance: of a match, at most, in [0, 2].
            only_similar: whether only what the decision takes for similar is wanted.
            exclude: ids that are not wanted.
            tables: precomputed vectors by name, where the encoder takes any.

        Raises:
            InputError: names the picture that cannot be read.
            ServingError: the server refuses; NotFoundError for an unknown id.
        """
        request = similar_request(
            query,
            k=k,
            where=where,
            max_distance=max_distance,
            only_similar=only_similar,
            exclude=exclude,
            tables=tables,
        )
        response = self._calls.call(self._calls.similar_products.Similar, request)
        return matches(response, query)

    def add(
        self, products: Sequence[Product], *, tables: Tables | None = None
    ) -> IndexChange:
        """Puts products into the server's index, in place of those with the same id.

        They go in requests of `chunk`, one after the other; each is taken in whole or
        not at all, and what an answered one held is on the server's disk.

        Args:
            products: at least one.
            tables: precomputed vectors by name, where the encoder takes any.

        Raises:
            InputError: names the picture that cannot be read.
            SimprodError: an attribute does not fit the index.
            ServingError: the server refuses, and names the product.
        """
        requests = add_requests(
            products,
            self._similar_status(),
            tables=tables,
            size=self._calls.settings.chunk,
            most_bytes=self._calls.settings.chunk_bytes,
        )
        num_new = num_products = 0
        for request in requests:
            response = self._calls.call(self._calls.similar_products.Add, request)
            num_new += response.num_new
            num_products = response.num_products
        return IndexChange(num_new, num_products)

    def remove(self, ids: Sequence[str], *, allow_missing: bool = False) -> IndexChange:
        """Removes products from the server's index: all of them or none.

        Args:
            ids: at least one.
            allow_missing: whether ids that are not there are passed over.

        Raises:
            ServingError: the server refuses; NotFoundError for an unknown id.
        """
        request = pb.RemoveRequest(ids=ids, allow_missing=allow_missing)
        response = self._calls.call(self._calls.similar_products.Remove, request)
        return IndexChange(response.num_removed, response.num_products)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns when the model answers.

        Args:
            timeout: seconds to wait at most.

        Raises:
            DeadlineError: it still does not; says why.
            ServingError: the server refuses for good.
        """
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                self._calls.call(
                    self._calls.prediction_service.GetModelMetadata,
                    metadata_request(self._calls.target),
                    timeout=max(POLL_S, min(left, self._calls.settings.timeout)),
                )
                return
            except ServingError as error:
                require_not_ready(error, waited=timeout, is_over=left <= POLL_S)
            time.sleep(POLL_S)

    def _encoded(
        self,
        encoder: ServedEncoder,
        products: Sequence[Product],
        tables: Tables | None,
        size: int,
        progress: Callable[[int, int], None] | None,
    ) -> np.ndarray:
        blocks = [np.zeros((0, encoder.dim), np.float32)]
        running: deque[tuple[Batch, grpc.Future]] = deque()

        def take() -> None:
            batch, call = running.popleft()
            blocks.append(encoder.embeddings(self._calls.result(call), batch))
            if progress:
                progress(sum(map(len, blocks)), len(products))

        requests = encode_requests(
            encoder,
            self._calls.target,
            products=products,
            tables=tables,
            size=size,
            most_bytes=self._calls.settings.chunk_bytes,
        )
        try:
            # The next pictures are read while the server works on those under way.
            for batch, request in requests:
                if len(running) == self._calls.settings.in_flight:
                    take()
                running.append((batch, self._calls.start(request)))
            while running:
                take()
        finally:
            for _, call in running:
                call.cancel()
        return np.concatenate(blocks)

    def _known_encoder(self) -> ServedEncoder:
        if self._encoder is None:
            self._encoder = self._served_encoder()
        return self._encoder

    def _similar_status(self) -> pb.StatusResponse:
        return self._calls.call(self._calls.similar_products.Status, pb.StatusRequest())

    def _served_encoder(self) -> ServedEncoder:
        return ServedEncoder.of(self.metadata())
