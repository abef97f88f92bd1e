from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.decider.evidence import (
    EVIDENCE,
    FAMILIES,
    PreparedProducts,
    Vocabulary,
    evidence,
)
from simprod_tf.decider.evidence import features as module

WORDS = (
    "red blue mug cup sony dsc-w120 dscw170 2 gb pack of 3 2007 upg upgrade v9".split()
)


@pytest.fixture(scope="module")
def shop(catalog_of):
    random = np.random.default_rng(0)
    titles = [" ".join(random.choice(WORDS, random.integers(0, 9))) for _ in range(40)]
    catalog = catalog_of(
        titles,
        brand=random.choice(["Sony", "", "Acme Corp"], 40).tolist(),
        price=random.choice(["", "$ 10", "12,50"], 40).tolist(),
        colour=random.choice(["", "red", "dark red"], 40).tolist(),
    )
    return catalog, PreparedProducts.prepare(catalog, Vocabulary.fit(catalog))


def test_names_are_unique_and_of_one_family_each():
    assert len(set(EVIDENCE)) == len(EVIDENCE)
    assert sum(map(len, FAMILIES.values())) == len(EVIDENCE)


def test_a_pair_has_no_order(shop):
    _, products = shop
    starts, ends = (one.ravel() for one in np.mgrid[:40, :40])
    np.testing.assert_array_equal(
        evidence(products, starts, ends), evidence(products, ends, starts)
    )


def test_blocks_do_not_change_the_evidence(shop, monkeypatch):
    _, products = shop
    starts, ends = (one.ravel() for one in np.mgrid[:40, :40])
    whole = evidence(products, starts, ends)
    monkeypatch.setattr(module, "_BLOCK", 37)
    np.testing.assert_array_equal(evidence(products, starts, ends), whole)


def test_two_products_alone_have_the_evidence_they_have_in_the_catalogue(shop):
    catalog, products = shop
    vocabulary = Vocabulary.from_table(Vocabulary.fit(catalog).to_table())
    alone = PreparedProducts.prepare(catalog.take(np.array([3, 8])), vocabulary)
    np.testing.assert_allclose(
        evidence(alone, np.array([0]), np.array([1])),
        evidence(products, np.array([3]), np.array([8])),
        rtol=1e-6,
    )


def test_a_product_agrees_with_itself(shop):
    _, products = shop
    rows = np.flatnonzero(products.title_weight > 0)
    found = dict(zip(EVIDENCE, evidence(products, rows, rows).T))
    np.testing.assert_allclose(found["joined_shared_share"], 1, rtol=1e-6)
    np.testing.assert_allclose(found["title_edit_ratio"], 1)
    assert not found["versions_conflict"].any()


def test_rows_are_float32_and_finite_or_unknown(shop):
    _, products = shop
    found = evidence(products, np.arange(40), np.arange(40)[::-1])
    assert found.dtype == np.float32
    assert found.shape == (40, len(EVIDENCE))
    assert not np.isinf(found).any()


def test_no_pairs_have_no_rows(shop):
    _, products = shop
    none = np.array([], np.int64)
    assert evidence(products, none, none).shape == (0, len(EVIDENCE))


def test_rows_of_two_lengths_are_refused(shop):
    _, products = shop
    with pytest.raises(ValueError, match=r"\[P\] rows, got shapes \(2,\) and \(1,\)"):
        evidence(products, np.array([0, 1]), np.array([0]))
