from __future__ import annotations

import numpy as np

from simprod_tf.decider.evidence import PreparedProducts, Vocabulary, evidence


def words_of(products, name, row):
    held = getattr(products, name)
    places = held.values[held.starts[row] : held.starts[row + 1]]
    return set(products.words.text[places])


def test_lists_hold_what_the_columns_say(prepared):
    long = "with case NB-4L and a strap, for those who take their pictures on the road"
    products = prepared(
        ["Canon Power-Shot SD1100 8 MP", ""],
        description=[long, ""],
        brand=["Canon Inc", ""],
        modelno=["SD-1100IS", ""],
        colour=["Silver", ""],
    )
    assert len(products) == 2
    assert words_of(products, "title", 0) == {
        "canon",
        "power",
        "shot",
        "sd1100",
        "8",
        "mp",
    }
    assert {"powershot", "powershotsd1100"} <= words_of(products, "compounds", 0)
    assert words_of(products, "codes", 0) == {"sd1100", "sd1100is"}
    assert words_of(products, "other_codes", 0) == {"nb4l"}
    assert words_of(products, "model", 0) == {"sd1100is"}
    assert words_of(products, "brand", 0) == {"canon", "inc"}
    assert {"strap", "silver", "inc", "sd1100is"} <= words_of(products, "whole", 0)
    assert "canon" not in words_of(products, "text", 0)
    assert words_of(products, "whole", 1) == set()
    assert products.first[1] == -1
    assert products.sorted_title[0] == "8 canon mp power sd1100 shot"


def test_compounds_know_their_parts(prepared):
    products = prepared(["kx tg 93"])
    parts = products.title.values
    text = products.words.text
    for place, made_of in zip(products.compounds.values, products.compound_parts):
        pieces = [text[parts[entry]] for entry in made_of]
        assert text[place] in ("".join(pieces[:2]), "".join(pieces))


def test_progress_reports_the_end(catalog_of):
    calls = []
    PreparedProducts.prepare(
        catalog_of(["a", "b"]),
        Vocabulary({}, num_products=1),
        progress=lambda *call: calls.append(call),
    )
    assert calls == [(2, 2)]


def test_products_without_titles_still_have_evidence(prepared):
    products = prepared(["", ""], colour=["red", "blue"])
    row = evidence(products, np.array([0]), np.array([1]))
    assert row.shape[0] == 1
