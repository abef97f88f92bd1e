"""Which conflicts veto, when nobody says so and when somebody does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog
from simprod_tf.errors import SimprodError
from simprod_tf.index import ExactIndex
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.pipeline.progress import silent
from simprod_tf.pipeline.veto import (
    DEFAULT_VETO,
    chosen_veto,
    conflicts_of,
    in_index_order,
    require_kinds,
)


def catalog(*titles: str) -> Catalog:
    ids = [f"p{row}" for row in range(len(titles))]
    empty = np.array([""] * len(titles), object)
    return Catalog(
        np.array(ids, object), np.array(titles, object), empty, empty, pa.table({})
    )


def decisions(veto: tuple[str, ...] | None) -> Decisions:
    distances = np.repeat([0.1, 0.9], 100)
    whole = choose_threshold(distances, np.repeat([1, 0], 100), fingerprint="f")
    return Decisions("f", {"both": whole}, {}, veto=veto)


def test_what_is_stated_comes_before_the_decisions_and_these_before_the_default():
    products = catalog("mug")
    assert chosen_veto(None, None, products) == DEFAULT_VETO
    assert chosen_veto(None, None, None) == ()
    assert chosen_veto(None, decisions(None), products) == DEFAULT_VETO
    assert chosen_veto(None, decisions(()), products) == ()
    assert chosen_veto(None, decisions(("brand",)), None) == ("brand",)
    assert chosen_veto(("pack",), decisions(("brand",)), products) == ("pack",)
    assert chosen_veto((), decisions(("brand",)), products) == ()


def test_conflicts_are_those_of_the_rows():
    found = conflicts_of(
        catalog("rice 400 g", "rice 200 g", "rice"), ("quantity",), silent
    )
    assert found is not None
    starts, ends = np.array([0, 0, 1]), np.array([1, 2, 2])
    assert {kind: one.tolist() for kind, one in found(starts, ends).items()} == {
        "quantity": [True, False, False]
    }
    assert conflicts_of(None, (), silent) is None
    with pytest.raises(SimprodError, match=r"conflicts \(pack\) .* or --veto none"):
        conflicts_of(None, ("pack",), silent)
    with pytest.raises(ValueError, match="a conflict is one of .* got 'colour'"):
        require_kinds(("pack", "colour"))


def test_a_catalogue_is_brought_into_the_order_of_the_index():
    vectors = np.eye(3, dtype=np.float32)[:2]
    index = ExactIndex.build(["p2", "p0"], vectors, encoder_fingerprint="f")
    assert in_index_order(index, catalog("a", "b", "c")).titles.tolist() == ["c", "a"]
    with pytest.raises(SimprodError, match="lacks 1 products of the index, 'p2'"):
        in_index_order(index, catalog("a"))
