"""Changes of a log, made again: for the encoder they were made for, or a newer one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from google.protobuf.message import DecodeError

from simprod_tf.errors import InputError
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import (
    Added,
    Change,
    added,
    logged_embeddings,
    removed,
)
from simprod_tf.serving.similar.log_file import LogHeader
from simprod_tf.serving.similar.trio import Trio
from simprod_tf.serving.similar.write_ahead_log import WriteAheadLog

logger = logging.getLogger(__name__)


def replay(log: WriteAheadLog, trio: Trio) -> frozenset[int]:
    """Makes the changes of a log in a trio that nobody uses yet.

    Products that cannot be carried over are named in the program's log.

    Returns:
        The numbers of the files that such products stand in.

    Raises:
        InputError: a record cannot be read.
    """
    left_out = set()
    for number, header, record in log.records():
        try:
            logged = pb.LogRecord.FromString(record)
        except DecodeError as error:
            raise InputError(
                f"file {number}.log holds a record that this simprod_tf cannot read; "
                "use the version that wrote it.",
                path=log.folder,
            ) from error
        changes, faults = _again(logged, header, trio)
        for change in changes:
            trio.take(change)
        for fault in faults:
            logger.warning("Not carried over, kept in file %d.log: %s", number, fault)
            left_out.add(number)
    return frozenset(left_out)


def _again(
    logged: pb.LogRecord, header: LogHeader, trio: Trio
) -> tuple[Sequence[Change], list[str]]:
    if logged.HasField("removed"):
        return [removed(logged.removed.ids, allow_missing=True)], []
    is_same = header.encoder_fingerprint == trio.fingerprint
    return added_again(logged.added, trio, is_same_encoder=is_same)


def added_again(
    logged: pb.AddedProducts, trio: Trio, *, is_same_encoder: bool
) -> tuple[list[Added], list[str]]:
    """Returns the products of a record for this trio, and why others are left out.

    Args:
        logged: what the log kept.
        trio: what they shall come into.
        is_same_encoder: whether its encoder made the embeddings in the record; else the
            products are encoded anew.
    """
    products, faults = list(logged.products), []
    if is_same_encoder:
        embeddings = logged_embeddings(logged)
    else:
        encoded = trio.encoder.encode([one.product for one in products])
        embeddings = encoded.embeddings
        faults = [
            f"product {one.id!r} cannot be encoded by {trio.fingerprint}: {fault}"
            for one, fault in zip(products, encoded.faults)
            if fault
        ]
        kept = [row for row, fault in enumerate(encoded.faults) if not fault]
        products, embeddings = [products[row] for row in kept], embeddings[kept]
    if not products:
        return [], faults
    try:
        return [_one_change(products, embeddings, trio)], faults
    except ValueError:
        # An attribute is of another type in this index: the others still come in.
        found = list(_singly(products, embeddings, trio))
        changes = [one for one in found if isinstance(one, Added)]
        return changes, faults + [one for one in found if isinstance(one, str)]


def _singly(
    products: list[pb.NewProduct], embeddings: np.ndarray, trio: Trio
) -> Iterator[Added | str]:
    for row, product in enumerate(products):
        try:
            yield _one_change([product], embeddings[[row]], trio)
        except ValueError as error:
            yield str(error)


def _one_change(
    products: list[pb.NewProduct], embeddings: np.ndarray, trio: Trio
) -> Added:
    return added(
        products,
        embeddings,
        schema=trio.schema,
        encoder_fingerprint=trio.fingerprint,
    )
