"""Products as an encoder's request, and its answer as embeddings.

What the encoder takes beside picture and title is read from the served signature: text
is a category, numbers are an attribute or precomputed vectors. The pictures are read
and the columns made by the code that training uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_shape_pb2 import TensorShapeProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow_serving.apis.predict_pb2 import PredictRequest

from simprod_tf.data.catalog import Product
from simprod_tf.data.vectors import input_name
from simprod_tf.errors import InputError, ModelError, SimprodError
from simprod_tf.features.image import read_pictures
from simprod_tf.features.product_inputs import (
    CategoryInput,
    NumberInput,
    ProductInputs,
    Tables,
    VectorInput,
    raw_columns,
)
from simprod_tf.serving.client.error import VersionChangedError
from simprod_tf.serving.client.messages import (
    DEFAULT_SIGNATURE,
    Metadata,
    Prediction,
    Target,
    predict_request,
)

_OWN_INPUTS = ("image_bytes", "title")


@dataclass(frozen=True)
class Batch:
    """Some products and the bytes of their pictures, b"" where there is none."""

    products: Sequence[Product]
    contents: Sequence[bytes]


@dataclass(frozen=True)
class ServedEncoder:
    """What a version of an encoder takes and gives.

    Attributes:
        version: its number on the server; None where the server does not tell.
        dim: the length of its embeddings.
        inputs: what it takes beside picture and title.
    """

    version: int | None
    dim: int
    inputs: ProductInputs

    @classmethod
    def of(cls, metadata: Metadata) -> ServedEncoder:
        """Reads the signature.

        Raises:
            ModelError: the model is no encoder.
        """
        signature = metadata.signatures.get(DEFAULT_SIGNATURE, SignatureDef())
        missing = {*_OWN_INPUTS} - {*signature.inputs}
        if missing or "embedding" not in signature.outputs:
            raise ModelError(
                f"expected an encoder's signature {DEFAULT_SIGNATURE!r} (image_bytes, "
                "title -> embedding), got "
                f"{', '.join(sorted(signature.inputs)) or 'no inputs'} -> "
                f"{', '.join(sorted(signature.outputs)) or 'no outputs'}; ask for the "
                "model that `simprod export` wrote."
            )
        dim = signature.outputs["embedding"].tensor_shape.dim[-1].size
        return cls(metadata.version, dim, _inputs(signature))

    def columns(self, batch: Batch, tables: Tables | None) -> dict[str, np.ndarray]:
        """Returns the arrays of a request, each [B] or [B, F].

        Raises:
            SimprodError: an attribute is no number, or vectors have another length.
        """
        named = [self._with_input_names(product) for product in batch.products]
        raw = raw_columns(named, self.inputs, tables)
        contents = np.empty(len(batch.contents), object)
        contents[:] = batch.contents
        return {
            "image_bytes": contents,
            **{name: column[:] for name, column in raw.items()},
        }

    def embeddings(self, answer: Prediction, batch: Batch) -> np.ndarray:
        """Returns an answer's [B, D] float32 embeddings.

        Raises:
            InputError: names the picture that could not be decoded.
            VersionChangedError: another version answered.
            ModelError: the answer does not fit the request.
        """
        if answer.version != self.version and None not in (
            answer.version,
            self.version,
        ):
            raise VersionChangedError(
                grpc.StatusCode.ABORTED,
                f"versions {self.version} and {answer.version} of the model answered; "
                "their embeddings do not compare. Ask again, or give version=...",
            )
        self._require_valid(answer.outputs, batch)
        found = answer.outputs.get("embedding", np.zeros(0, np.float32))
        wanted = (len(batch.products), self.dim)
        if found.shape != wanted or found.dtype != np.float32:
            raise ModelError(
                f"expected `embedding` as float32 {list(wanted)} from the server, got "
                f"{found.dtype} {list(found.shape)}."
            )
        return found

    def _with_input_names(self, product: Product) -> Product:
        """Returns the product with its attributes under the names of the inputs.

        The served signature does not tell the catalogue's own names.
        """
        wanted = {one.name for one in self.inputs.categories}
        wanted |= {one.name for one in self.inputs.numbers}
        found: dict[str, str] = {}
        for name, value in product.attributes.items():
            slug = input_name(name)
            if slug in found:
                raise SimprodError(
                    f"product {product.id!r}: {name!r} and another attribute are both "
                    f"the encoder's input {slug!r}; give one."
                )
            if slug in wanted:
                found[slug] = value
        return replace(product, attributes=found)

    def _require_valid(self, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        # Exports of former versions have no such output: they refuse the whole batch.
        valid = np.asarray(outputs.get("valid", True))
        for row in np.flatnonzero(~np.atleast_1d(valid)):
            fault = outputs["fault"][row].decode("utf-8", "replace")
            raise InputError(
                f"the picture cannot be decoded: {fault}",
                path=batch.products[row].image,
            )


def encode_requests(
    encoder: ServedEncoder,
    target: Target,
    *,
    products: Sequence[Product],
    tables: Tables | None,
    size: int,
    most_bytes: int,
) -> Iterator[tuple[Batch, PredictRequest]]:
    """Yields the requests for some products, each when it is asked for.

    Args:
        encoder: what answers them.
        target: where it is.
        products: those to encode.
        tables: precomputed vectors by name.
        size: products in a request, at most.
        most_bytes: of pictures in a request, about.

    Raises:
        InputError: names the picture that cannot be read.
        SimprodError: an attribute is no number, or vectors have another length.
    """
    for batch in batches(products, size=size, most_bytes=most_bytes):
        yield batch, predict_request(target, encoder.columns(batch, tables))


def batches(
    products: Sequence[Product], *, size: int, most_bytes: int
) -> Iterator[Batch]:
    """Yields products and their pictures, read when they are asked for.

    Args:
        products: all of them.
        size: in a batch, at most.
        most_bytes: of pictures in a batch; one picture alone may have more.

    Raises:
        InputError: names the picture that cannot be read.
    """
    some: list[Product] = []
    contents: list[bytes] = []
    num_bytes = 0
    for product in products:
        (content,) = read_pictures([product.image])
        if some and (len(some) == size or num_bytes + len(content) > most_bytes):
            yield Batch(some, contents)
            some, contents, num_bytes = [], [], 0
        some.append(product)
        contents.append(content)
        num_bytes += len(content)
    if some:
        yield Batch(some, contents)


def _inputs(signature: SignatureDef) -> ProductInputs:
    categories, numbers, vectors = [], [], []
    for name, info in sorted(signature.inputs.items()):
        if name in _OWN_INPUTS:
            continue
        if info.dtype == tf.string.as_datatype_enum:
            categories.append(CategoryInput(name, ()))
        elif _rank(info) == 1:
            numbers.append(NumberInput(name))
        else:
            vectors.append(VectorInput(name, info.tensor_shape.dim[1].size))
    return ProductInputs(None, tuple(categories), tuple(numbers), tuple(vectors))


def _rank(info: TensorInfo) -> int:
    shape: TensorShapeProto = info.tensor_shape
    return len(shape.dim)
