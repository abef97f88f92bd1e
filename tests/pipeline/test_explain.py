"""Pairs explained on a plane, by an encoder that adds up what it sees."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import FingerprintError, SimprodError
from simprod_tf.features.product_inputs import VectorInput
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.explain import NOT_SIMILAR, SIMILAR, UNDECIDED
from simprod_tf.pipeline.explain import explain_pair

ANGLES = {"north": 90, "east": 0, "south": -90}


def decisions(category="", fingerprint="f", **limits):
    """Returns decisions of these limits by view; a dict gives them by category."""
    return Decisions(
        "f",
        {view: decision(limit, fingerprint) for view, limit in limits.items()},
        {},
        category,
    )


def decision(limit, fingerprint):
    by_category = limit if isinstance(limit, dict) else {}
    return Decision(
        max_distance=0.1 if by_category else limit,
        target_precision=0.9,
        precision=0.95,
        precision_lower_bound=0.9,
        recall=0.5,
        num_pairs=10,
        num_positives=5,
        num_accepted=5,
        labelled_prior=0.5,
        prior=0.5,
        prior_source="labelled",
        confidence=0.95,
        method="",
        date="",
        encoder_fingerprint=fingerprint,
        calibration=Calibration(-1.0, 0.5),
        by_category=by_category,
    )


class Encoder:
    fingerprint = "f"
    inputs = SimpleNamespace(vectors=())

    def __init__(self):
        self.tables: list = []
        self.asked: list = []

    def encode(self, products, *, tables=None):
        self.tables.append(tables)
        self.asked += products
        found = np.zeros((len(products), 2), np.float32)
        for row, product in enumerate(products):
            for word in (product.image, *product.title.split()):
                if word in ANGLES:
                    angle = math.radians(ANGLES[word])
                    found[row] += (math.cos(angle), math.sin(angle))
            found[row] /= max(np.linalg.norm(found[row]), 1e-9)
        return found


CATALOG = Catalog(
    text_array(["p01", "p02", "p03", "p04", "q"]),
    text_array(["east 400 g", "east 200 g", "", "odd", "north"]),
    text_array(["north", "south", "north", "north", ""]),
    text_array([""] * 5),
    pa.table({"brand": ["Acme", "Acme", "Bolt", None, None]}),
)


def test_three_distances_are_told_and_the_whole_one_decides():
    encoder = Encoder()
    limits = decisions(both=1.5, image=0.5)
    found = explain_pair(encoder, CATALOG, ("p01", "p02"), decisions=limits)
    both, image, text = found.standings
    # Whole: north-east and south-east; pictures: north and south.
    assert both.distance == pytest.approx(math.sqrt(2))
    assert image.distance == pytest.approx(2)
    assert text.distance == pytest.approx(0, abs=1e-6)
    assert found.verdict == SIMILAR
    # Each has the threshold of its view; that of titles alone was refused.
    assert [one.threshold for one in found.standings] == [1.5, 0.5, None]
    assert [one.below for one in found.standings] == [True, False, None]
    assert [(t.kind, t.differs) for t in found.traits] == [
        ("quantity", True),
        ("brand", False),
    ]
    assert found.shared_tokens == ("east",)
    assert (found.this_tokens, found.that_tokens) == (("400g",), ("200g",))
    alone = encoder.asked[2:]
    assert all(one.attributes == {} and not (one.title and one.image) for one in alone)
    nearer = decisions(both=1.4)
    further = explain_pair(Encoder(), CATALOG, ("p01", "p02"), decisions=nearer)
    assert further.verdict == NOT_SIMILAR


def test_the_first_product_has_the_threshold_of_its_category():
    limits = decisions("brand", both={"Acme": 1.5, "Bolt": 0.5})
    found = explain_pair(Encoder(), CATALOG, ("p01", "p03"), decisions=limits)
    assert found.standings[0].threshold == 1.5
    found = explain_pair(Encoder(), CATALOG, ("p03", "p01"), decisions=limits)
    assert found.standings[0].threshold == 0.5
    found = explain_pair(Encoder(), CATALOG, ("p04", "p01"), decisions=limits)
    assert found.standings[0].threshold == 0.1
    with pytest.raises(SimprodError, match="go by 'shelf', and the catalogue has no"):
        explain_pair(
            Encoder(),
            CATALOG,
            ("p01", "p03"),
            decisions=decisions("shelf", both={"": 1}),
        )


def test_thresholds_of_another_encoder_are_refused():
    stranger = decisions(both=1.0, fingerprint="g")
    with pytest.raises(FingerprintError, match="for the encoder g, got f"):
        explain_pair(Encoder(), CATALOG, ("p01", "p02"), decisions=stranger)


def test_what_is_missing_is_named():
    image, text = explain_pair(Encoder(), CATALOG, ("p03", "q")).standings[1:]
    assert str(image) == "not known: q has no picture"
    assert str(text) == "not known: p03 has no title"
    found = explain_pair(Encoder(), CATALOG, ("p01", "p04"))
    assert found.standings[2].missing == (
        "the encoder knows nothing of p04 by the title alone"
    )
    assert found.verdict == UNDECIDED


def test_a_product_of_which_nothing_is_known_leaves_it_undecided():
    empty = Catalog(
        text_array(["a", "b"]), text_array(["odd", "east"]), text_array(["", ""]),
        text_array(["", ""]), pa.table({}),
    )  # fmt: skip
    found = explain_pair(Encoder(), empty, ("a", "b"), decisions=decisions(both=1.0))
    assert found.verdict == UNDECIDED
    assert found.sentence.startswith(
        "Undecided: the distance is not known: the encoder knows nothing of a."
    )
    assert found.standings[1].missing == "a and b have no picture"


def test_precomputed_vectors_go_with_whole_products_alone():
    encoder = Encoder()
    encoder.inputs = SimpleNamespace(vectors=(VectorInput("clip", 3),))
    clip = VectorTable("clip", list(CATALOG.ids), np.ones((5, 3), np.float32))
    explain_pair(encoder, CATALOG, ("p01", "p02"), files=[clip])
    assert encoder.tables == [{"clip": clip}, None, None]


def test_unknown_ids_are_refused_and_near_ones_named():
    with pytest.raises(SimprodError, match="no product 'p1'; near to it are: p01"):
        explain_pair(Encoder(), CATALOG, ("p1", "p02"))
    with pytest.raises(SimprodError, match="no product 'zzz'\\.$"):
        explain_pair(Encoder(), CATALOG, ("p01", "zzz"))
    with pytest.raises(SimprodError, match="two products are needed, got 'q' twice"):
        explain_pair(Encoder(), CATALOG, ("q", "q"))
