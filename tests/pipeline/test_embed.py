"""What an encoder is asked, for whole products and for views of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, Product, text_array
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import InputError, SimprodError
from simprod_tf.pipeline.embed import (
    alone,
    embed_catalog,
    embed_query,
    embed_view,
    vector_tables,
)

SHOP = Catalog(
    text_array(["p", "q", "r"]),
    text_array(["mug", "", "unheard"]),
    text_array(["p.jpg", "q.jpg", ""]),
    text_array(["g", "g", ""]),
    pa.table({"brand": ["Acme", "Acme", ""], "dim": [[1.0, 0.0], [0.0, 1.0], None]}),
)


class Encoder:
    """Says [1, 0] to all that has a picture, or the title "mug"; notes the question."""

    dim = 2

    def __init__(self, *vectors):
        self.inputs = SimpleNamespace(vectors=vectors)
        self.asked = []
        self.tables = None

    def encode(self, products, *, tables=None, progress=None, **_):
        self.asked, self.tables = list(products), tables
        if progress:
            progress(len(products), len(products))
        known = [bool(one.image) or one.title == "mug" for one in products]
        return np.outer(known, [1, 0]).astype(np.float32)


def wanted(name, column):
    return SimpleNamespace(name=name, column=column, dim=2)


def test_a_view_asks_only_about_products_that_have_it_and_about_nothing_else():
    encoder = Encoder()
    seen = embed_view(encoder, SHOP, "text")
    # No picture, no group and no brand.
    assert encoder.asked == [Product("p", title="mug"), Product("r", title="unheard")]
    assert seen.ids.tolist() == ["p", "q", "r"]
    assert seen.embeddings.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert seen.known.tolist() == [True, False, False]
    seen = embed_view(encoder, SHOP, "image")
    images = [Product("p", image="p.jpg"), Product("q", image="q.jpg")]
    assert encoder.asked == images
    assert seen.known.tolist() == [True, True, False]


def test_alone_leaves_a_picture_or_a_title():
    assert alone(SHOP["p"], "image") == Product("p", image="p.jpg")
    assert alone(SHOP["p"], "text") == Product("p", title="mug")


def test_progress_says_what_it_is_about():
    told = []
    embed_catalog(Encoder(), SHOP, progress=lambda *what: told.append(what))
    embed_view(Encoder(), SHOP, "image", progress=lambda *what: told.append(what))
    assert told == [("Embedding products", 3, 3), ("Embedding products by image", 2, 2)]


def test_whole_products_are_asked_about_with_their_vectors():
    encoder = Encoder(wanted("clip", ""), wanted("own", "dim"))
    file = VectorTable("clip", ["p"], np.ones((1, 2), np.float32))
    seen = embed_catalog(encoder, SHOP, files=[file])
    assert encoder.asked == list(SHOP)
    assert set(encoder.tables) == {"clip", "own"}
    assert seen.known.tolist() == [True, True, False]


def test_vectors_that_are_not_there_are_asked_for():
    message = "takes vectors 'clip' of length 2: give their file, .*--features clip.npy"
    with pytest.raises(SimprodError, match=message):
        vector_tables(Encoder(wanted("clip", "")).inputs, SHOP, [])
    with pytest.raises(SimprodError, match="none"):
        vector_tables(Encoder(wanted("clip", "none")).inputs, SHOP, [])


def test_a_query_is_of_something_that_is_known(picture):
    encoder = Encoder()
    assert embed_query(encoder, title="", image=str(picture)).tolist() == [[1, 0]]
    assert encoder.asked == [Product("query", "", str(picture))]
    with pytest.raises(SimprodError, match=r"nothing of the query \(title 'unheard'"):
        embed_query(encoder, title="unheard", image="")
    with pytest.raises(InputError, match=r"gone\.jpg: there is no such picture"):
        embed_query(encoder, title="mug", image="gone.jpg")
