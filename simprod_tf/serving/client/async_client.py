"""The client of `client.py` for asyncio: the same calls, awaited.

async with AsyncClient("localhost:8500", model="shop") as client:
    await client.wait_until_ready()
    embeddings = await client.encode(products)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from simprod_tf.data.catalog import Product
from simprod_tf.features.product_inputs import Tables
from simprod_tf.index.answer import Match
from simprod_tf.serving.client.channel import (
    MAX_MESSAGE_BYTES,
    CallSettings,
    ChannelSettings,
    Tls,
)
from simprod_tf.serving.client.client import POLL_S, ROUNDS
from simprod_tf.serving.client.encoder import Batch, ServedEncoder, encode_requests
from simprod_tf.serving.client.error import (
    may_be_outdated,
    require_not_ready,
    serving_error,
)
from simprod_tf.serving.client.messages import (
    DEFAULT_SIGNATURE,
    Metadata,
    Prediction,
    Target,
    VersionStatus,
    metadata,
    metadata_request,
    predict_request,
    prediction,
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
from simprod_tf.serving.protos.similar_products_pb2_grpc import SimilarProductsStub
from simprod_tf.serving.status import ServingError


class AsyncClient:
    """A model on a server, for one event loop. Use it in `async with`, or close it.

    Arguments, results and errors are those of `simprod_tf.serving.Client`.
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
        """Opens the channel, in the loop that runs; see `Client`."""
        self._target = Target(model, version, label)
        self._settings = ChannelSettings(address, tls, max_message_bytes, attempts)
        self._calls = CallSettings(timeout, chunk, in_flight)
        self._channel = self._settings.open_async()
        self._prediction_service = PredictionServiceStub(self._channel)
        self._model_service = ModelServiceStub(self._channel)
        self._similar_products = SimilarProductsStub(self._channel)
        self._encoder: ServedEncoder | None = None

    async def close(self) -> None:
        """Closes the channel; calls under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def dim(self) -> int:
        """Returns the length of the embeddings, by the served signature."""
        return (await self._known_encoder()).dim

    async def fingerprint(self) -> str | None:
        """Returns the fingerprint, or None; see `Client.fingerprint`."""
        try:
            return (await self._similar_status()).fingerprint
        except ServingError as error:
            if error.code == grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise

    async def encode(
        self,
        products: Sequence[Product],
        *,
        tables: Tables | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 embeddings; see `Client.encode`."""
        size = self._calls.chunk_of(batch_size)
        encoder = await self._known_encoder()
        for _ in range(ROUNDS):
            try:
                return await self._encoded(encoder, products, tables, size, progress)
            except ServingError as error:
                if not may_be_outdated(error):
                    raise
                self._encoder = await self._served_encoder()
                if self._encoder.version == encoder.version:
                    raise
                encoder = self._encoder
        return await self._encoded(encoder, products, tables, size, progress)

    async def predict(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> Prediction:
        """Returns what a signature answers to arrays by name; see `Client.predict`."""
        return await self._answer(
            predict_request(self._target, inputs, signature=signature, outputs=outputs)
        )

    async def metadata(self) -> Metadata:
        """Returns the signatures of the version that answers now."""
        method = self._prediction_service.GetModelMetadata
        return metadata(await self._call(method, metadata_request(self._target)))

    async def status(self) -> list[VersionStatus]:
        """Returns the states of the model's versions, the newest first."""
        method = self._model_service.GetModelStatus
        return statuses(await self._call(method, status_request(self._target)))

    async def similar(
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
        """Returns the nearest products of the index; see `Client.similar`."""
        request = similar_request(
            query,
            k=k,
            where=where,
            max_distance=max_distance,
            only_similar=only_similar,
            exclude=exclude,
            tables=tables,
        )
        response = await self._call(self._similar_products.Similar, request)
        return matches(response, query)

    async def add(
        self, products: Sequence[Product], *, tables: Tables | None = None
    ) -> IndexChange:
        """Puts products into the server's index; see `Client.add`."""
        requests = add_requests(
            products,
            await self._similar_status(),
            tables=tables,
            size=self._calls.chunk,
            most_bytes=self._calls.chunk_bytes,
        )
        num_new = num_products = 0
        while request := await asyncio.to_thread(next, requests, None):
            response = await self._call(self._similar_products.Add, request)
            num_new += response.num_new
            num_products = response.num_products
        return IndexChange(num_new, num_products)

    async def remove(
        self, ids: Sequence[str], *, allow_missing: bool = False
    ) -> IndexChange:
        """Removes products from the server's index; see `Client.remove`."""
        request = pb.RemoveRequest(ids=ids, allow_missing=allow_missing)
        response = await self._call(self._similar_products.Remove, request)
        return IndexChange(response.num_removed, response.num_products)

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Returns when the model answers; see `Client.wait_until_ready`."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                await self._call(
                    self._prediction_service.GetModelMetadata,
                    metadata_request(self._target),
                    timeout=max(POLL_S, min(left, self._calls.timeout)),
                )
                return
            except ServingError as error:
                require_not_ready(error, waited=timeout, is_over=left <= POLL_S)
            await asyncio.sleep(POLL_S)

    async def _encoded(
        self,
        encoder: ServedEncoder,
        products: Sequence[Product],
        tables: Tables | None,
        size: int,
        progress: Callable[[int, int], None] | None,
    ) -> np.ndarray:
        blocks = [np.zeros((0, encoder.dim), np.float32)]
        running: deque[tuple[Batch, asyncio.Task[Prediction]]] = deque()

        async def take() -> None:
            batch, call = running.popleft()
            blocks.append(encoder.embeddings(await call, batch))
            if progress:
                progress(sum(map(len, blocks)), len(products))

        requests = encode_requests(
            encoder,
            self._target,
            products=products,
            tables=tables,
            size=size,
            most_bytes=self._calls.chunk_bytes,
        )
        try:
            # Reading pictures would hold up the loop.
            while found := await asyncio.to_thread(next, requests, None):
                batch, request = found
                if len(running) == self._calls.in_flight:
                    await take()
                running.append((batch, asyncio.create_task(self._answer(request))))
            while running:
                await take()
        finally:
            for _, call in running:
                call.cancel()
            await asyncio.gather(*(call for _, call in running), return_exceptions=True)
        return np.concatenate(blocks)

    async def _known_encoder(self) -> ServedEncoder:
        if self._encoder is None:
            self._encoder = await self._served_encoder()
        return self._encoder

    async def _similar_status(self) -> pb.StatusResponse:
        return await self._call(self._similar_products.Status, pb.StatusRequest())

    async def _served_encoder(self) -> ServedEncoder:
        return ServedEncoder.of(await self.metadata())

    async def _answer(self, request: PredictRequest) -> Prediction:
        response = await self._call(self._prediction_service.Predict, request)
        return prediction(response, max_bytes=self._settings.max_message_bytes)

    async def _call(
        self, method: Any, request: Any, *, timeout: float | None = None
    ) -> Any:
        seconds = self._calls.timeout if timeout is None else timeout
        try:
            return await method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise serving_error(
                error, self._settings, model=self._target.model, timeout=seconds
            ) from error
