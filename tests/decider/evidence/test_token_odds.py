from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.decider.evidence import TOKEN_ODDS, TokenOdds

TITLES = [
    *("office", "office upgrade", "office software"),
    *("nero", "nero upgrade", "nero software"),
    *("visio", "visio upgrade", "visio software"),
]
# A product and its upgrade are two things, one and the same with "software" is not.
STARTS = np.array([0, 0, 3, 3, 6, 6])
ENDS = np.array([1, 2, 4, 5, 7, 8])
LABELS = np.array([0, 1, 0, 1, 0, 1])


@pytest.fixture(scope="module")
def shop(prepared):
    return prepared(TITLES)


@pytest.fixture(scope="module")
def learned(shop):
    return TokenOdds().fit(shop, STARTS, ENDS, labels=LABELS)


def test_tokens_that_part_products_have_negative_odds(learned):
    assert learned.odds("upgrade") < 0 < learned.odds("software")
    assert learned.odds("upgrade") == pytest.approx(-learned.odds("software"))
    assert learned.odds("office") == 0


def test_rows_hold_sum_least_and_most(shop, learned):
    up, soft = learned.odds("upgrade"), learned.odds("software")
    row = learned.transform(shop, np.array([1, 1]), np.array([2, 0]))
    expected = [[up + soft, up, soft], [up, up, 0]]
    np.testing.assert_allclose(row, expected, atol=1e-6)
    assert row.dtype == np.float32
    assert row.shape[1] == len(TOKEN_ODDS)


def test_a_pair_has_no_order(shop, learned):
    np.testing.assert_array_equal(
        learned.transform(shop, STARTS, ENDS), learned.transform(shop, ENDS, STARTS)
    )


def test_more_regularisation_gives_smaller_odds(shop, learned):
    strict = TokenOdds(regularisation=100).fit(shop, STARTS, ENDS, labels=LABELS)
    assert learned.odds("upgrade") < strict.odds("upgrade") < 0


def test_training_rows_come_from_the_other_folds(shop):
    folds = np.array([0, 0, 1, 1, 2, 2])
    odds = TokenOdds()
    rows = odds.fit_transform(shop, STARTS, ENDS, labels=LABELS, folds=folds)
    rest = folds != 1
    other = TokenOdds().fit(shop, STARTS[rest], ENDS[rest], labels=LABELS[rest])
    np.testing.assert_array_equal(
        rows[folds == 1], other.transform(shop, STARTS[2:4], ENDS[2:4])
    )
    whole = TokenOdds().fit(shop, STARTS, ENDS, labels=LABELS)
    assert odds.odds("upgrade") == whole.odds("upgrade")


def test_a_token_that_training_lacks_tells_nothing(prepared):
    products = prepared(["mug", "mug blue", "cup", "cup red", "pot", "pot tall"])
    starts, ends = np.array([0, 2, 4]), np.array([1, 3, 5])
    learned = TokenOdds().fit(products, starts[1:], ends[1:], labels=np.array([1, 0]))
    assert learned.transform(products, starts[:1], ends[:1]).tolist() == [[0, 0, 0]]


def test_table_gives_the_same_odds_back(shop, learned):
    again = TokenOdds.from_table(learned.to_table())
    assert again.regularisation == learned.regularisation
    np.testing.assert_array_equal(
        again.transform(shop, STARTS, ENDS), learned.transform(shop, STARTS, ENDS)
    )


def test_equal_titles_leave_nothing_to_learn_from(prepared):
    products = prepared(["mug", "mug", "cup", "cup"])
    pairs = np.array([0, 2]), np.array([1, 3])
    learned = TokenOdds().fit(products, *pairs, labels=np.array([0, 1]))
    assert learned.transform(products, *pairs).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_one_label_alone_is_refused(shop):
    with pytest.raises(
        ValueError, match=r"label 1 and pairs with label 0, got .*\[1\]"
    ):
        TokenOdds().fit(shop, STARTS, ENDS, labels=np.ones(6))


def test_one_fold_alone_is_refused(shop):
    with pytest.raises(ValueError, match="folds must be at least 2, got one"):
        TokenOdds().fit_transform(
            shop, STARTS, ENDS, labels=LABELS, folds=np.zeros(6, int)
        )


def test_wrong_settings_and_tables_are_refused():
    with pytest.raises(ValueError, match="regularisation must be above 0, got 0"):
        TokenOdds(regularisation=0)
    with pytest.raises(ValueError, match=r"token odds are a table of .*got \['id'\]"):
        TokenOdds.from_table(pa.table({"id": [1]}))
    with pytest.raises(ValueError, match="with the regularisation"):
        TokenOdds.from_table(pa.table({"token": ["a"], "odds": [1.0]}))
