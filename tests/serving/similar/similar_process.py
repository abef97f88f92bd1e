"""A small shop for tests of SimilarProducts, and a process that changes it.

Run as a script, it forks a child for each line `ROOT SEED` that it reads. The child
adds and removes products by several threads, and says before and after each change what
it is: `try add GROUP`, `ok add GROUP`. A group is three products that come by one
request. When the child is dead, the script says `dead`.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa

from simprod_tf.index.build import load_index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.versions import current_folder, publish
from simprod_tf.manifest import write_manifest
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import added, removed
from simprod_tf.serving.similar.store import Store, StoreOptions
from simprod_tf.serving.similar.trio import Encoded, Trio

DIM = 8
GROUP = 3


INPUTS = {
    "text": {"unknown": "drop", "buckets": 0},
    "categories": [{"column": "Brand", "values": ["acme"]}],
    "numbers": [{"column": "price"}],
    "vectors": [{"name": "clip", "dim": 2, "column": ""}],
}


def save_encoder(folder, fingerprint, *, has_faults=True):
    """Saves a stand-in: of what it is given, each input decides one dimension."""
    import tensorflow as tf

    def embed(image_bytes, title, brand, price, clip):
        there = [
            tf.cast(tf.strings.length(image_bytes), tf.float32),
            tf.cast(tf.strings.length(title), tf.float32),
            tf.cast(tf.strings.length(brand), tf.float32),
            tf.where(tf.math.is_nan(price), 0.0, price),
            tf.reduce_sum(clip, axis=1),
        ]
        valid = tf.not_equal(image_bytes, "bad")
        raw = tf.stack(there, axis=1) * tf.cast(valid, tf.float32)[:, None]
        found = {"embedding": tf.math.divide_no_nan(raw, tf.norm(raw, axis=1)[:, None])}
        if has_faults:
            fault = tf.where(valid, "", "of an unknown format")
            found.update(valid=valid, fault=fault)
        return found

    texts = {
        name: tf.TensorSpec([None], tf.string, name)
        for name in ("image_bytes", "title", "brand")
    }
    price = tf.TensorSpec([None], tf.float32, "price")
    clip = tf.TensorSpec([None, 2], tf.float32, "clip")
    module = tf.Module()
    call = tf.function(embed).get_concrete_function(**texts, price=price, clip=clip)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": call})
    manifest = {
        "kind": "exported encoder",
        "fingerprint": fingerprint,
        "dim": 5,
        "inputs": INPUTS,
    }
    write_manifest(folder, manifest)


class FakeEncoder:
    """An encoder whose embedding is a hash of the title and of the fingerprint."""

    columns = frozenset({"colour"})

    def __init__(self, fingerprint="f1", *, version=1):
        self.fingerprint, self.version = fingerprint, version

    def encode(self, products, *, timeout=None):
        faults = tuple(self.fault(one) for one in products)
        rows = [self.vector(one.title) for one in products]
        embeddings = np.array(rows, np.float32).reshape(-1, DIM)
        embeddings[[bool(fault) for fault in faults]] = 0
        return Encoded(embeddings, faults)

    def vector(self, title):
        seed = hashlib.sha256(f"{self.fingerprint}{title}".encode()).digest()
        vector = np.random.default_rng(list(seed)).normal(size=DIM)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    @staticmethod
    def fault(product):
        if product.image_bytes == b"bad":
            return "the picture cannot be used: of an unknown format"
        return "" if product.title else "the encoder knows nothing of it"


def index_of(titles, *, encoder=None, attributes=None, extra=None):
    """Returns an exact index of products whose ids are their titles."""
    encoder = encoder or FakeEncoder()
    return ExactIndex.build(
        list(titles),
        np.array([encoder.vector(title) for title in titles], np.float32),
        encoder_fingerprint=encoder.fingerprint,
        attributes=None if attributes is None else pa.table(attributes),
        extra=extra,
    )


def trio_of(root, *, encoder=None, decisions=None):
    """Returns the current version of a root with an encoder."""
    folder = current_folder(root)
    return Trio.of(
        load_index(folder),
        version=int(folder.name),
        encoder=encoder or FakeEncoder(),
        decisions=decisions,
    )


def open_store(root, *, encoder=None, **options):
    """Returns the store over a root, its log within."""
    return Store(
        trio_of(root, encoder=encoder),
        root,
        log_folder=root / "log",
        options=StoreOptions(**options),
    )


def product(id, *, title=None, **attributes):
    """Returns a product whose title is its id, if nothing else is said."""
    one = pb.NewProduct(id=id, product=pb.Product(title=id if title is None else title))
    one.product.attributes.update(attributes)
    return one


def adding(*products, trio, encoder=None):
    """Returns products as a change for a trio; where they are ids, by these."""
    encoder = encoder or trio.encoder
    messages = [product(one) if isinstance(one, str) else one for one in products]
    encoded = encoder.encode([one.product for one in messages])
    return added(
        messages,
        encoded.embeddings,
        schema=trio.schema,
        encoder_fingerprint=encoder.fingerprint,
    )


def ids_of(group):
    """Returns the ids of the products of a group."""
    return [f"{group}/{part}" for part in range(GROUP)]


def decision_of(fingerprint="f1", *, max_distance=0.5, by_category=None):
    """Returns a decision whose probability at distance 0 is 1 / (1 + e^-4)."""
    return Decision(
        max_distance=max_distance,
        target_precision=0.9,
        precision=0.94,
        precision_lower_bound=0.91,
        recall=0.5,
        num_pairs=1000,
        num_positives=300,
        num_accepted=160,
        labelled_prior=0.3,
        prior=0.05,
        prior_source="given",
        confidence=0.95,
        method="fixed sequence, Wilson bound",
        date="2026-11-23",
        encoder_fingerprint=fingerprint,
        calibration=Calibration(slope=-6.0, intercept=4.0),
        by_category=by_category or {},
    )


def decisions_of(fingerprint="f1", *, category="", **options):
    """Returns that decision as the decisions of an encoder."""
    whole = decision_of(fingerprint, **options)
    return Decisions(fingerprint, {"both": whole}, {}, category=category)


def publish_shop(root):
    """Publishes an index of twenty products."""
    return publish(index_of([f"old {number}" for number in range(20)]), root)


def change_for_ever(root, seed):
    """Adds and removes groups by four threads, until this process is killed."""
    store = open_store(root, checkpoint_records=25)
    say("open")

    def work(name):
        chance = random.Random(f"{seed} {name}")
        mine = []
        for number in range(1_000_000):
            if mine and chance.random() < 0.4:
                group = mine.pop(chance.randrange(len(mine)))
                say(f"try remove {group}")
                store.change(removed(ids_of(group)))
                say(f"ok remove {group}")
            else:
                group = f"{seed}-{name}-{number}"
                change = adding(*ids_of(group), trio=store.trio)
                say(f"try add {group}")
                store.change(change)
                say(f"ok add {group}")
                mine.append(group)
            if store.is_checkpoint_due:
                store.checkpoint()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def say(text):
    """Writes a line at once, whole even where several threads write."""
    os.write(1, f"{text}\n".encode())


def main():
    """Forks a child for each line, and tells its end."""
    for line in sys.stdin:
        root, seed = line.split()
        child = os.fork()
        if not child:
            try:
                change_for_ever(Path(root), int(seed))
            finally:
                os._exit(1)
        say(f"pid {child}")
        os.waitpid(child, 0)
        say("dead")


if __name__ == "__main__":
    main()
