"""The blended index of an index with views."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index.base import Index
from simprod_tf.index.build import load_index
from simprod_tf.index.exact import ExactIndex
from simprod_tf.matching.blending import Blending
from simprod_tf.pipeline.blend import blend_index

# Two that are at right angles to the third; of the first, the view by text lacks it.
VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)


@pytest.fixture
def index() -> Index:
    whole = ExactIndex.build(
        ["a", "b", "c"],
        VECTORS,
        encoder_fingerprint="f",
        extra={"decision": {"max_distance": 1.0}},
        attributes=pa.table({"price": [1, 2, 3]}),
    )
    text = ExactIndex.build(["b", "c"], VECTORS[1:], encoder_fingerprint="f")
    whole.attach({"text": text})
    return whole


def test_blends_the_index_and_each_view_with_its_own_neighbours(index):
    # Each with its nearest neighbour, which weighs 1 (alpha 0): the normalised sums.
    made = blend_index(index, Blending(k=1, alpha=0.0))
    np.testing.assert_allclose(
        made.embeddings,
        np.array([[1.8, 0.6], [1.8, 0.6], [0.8, 1.6]]) / np.sqrt([[3.6], [3.6], [3.2]]),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        made.views["text"].embeddings,
        np.array([[0.8, 1.6], [0.8, 1.6]]) / np.sqrt(3.2),
        rtol=1e-6,
    )


def test_saved_it_is_an_index_with_its_views_and_without_a_decision(index, tmp_path):
    made = blend_index(index, Blending(k=1))
    made.save(tmp_path / "blended")
    again = load_index(tmp_path / "blended")
    assert again.encoder_fingerprint == made.encoder_fingerprint != "f"
    assert again.extra["blended_from"] == "f"
    assert "decision" not in again.extra
    assert again.attributes == index.attributes
    assert again.ids == index.ids
    assert again.views["text"].ids == ("b", "c")
    np.testing.assert_array_equal(again.embeddings, made.embeddings)


def test_tells_how_far_it_is_and_leaves_the_index_as_it_was(index):
    told = []
    blend_index(index, Blending(k=1), progress=lambda *what: told.append(what))
    assert told == [("Blending", done, 2) for done in (0, 1, 2)]
    np.testing.assert_array_equal(index.embeddings, VECTORS)
    assert index.extra == {"decision": {"max_distance": 1.0}}
