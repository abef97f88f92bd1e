"""Conditions on attributes: the rows they give, and what they may not hold."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.engine.embedded import QueryError
from simprod_tf.errors import SimprodError
from simprod_tf.index import filters
from simprod_tf.index.filters import AttributeFilter, rows_where

SHOP = pa.table(
    {
        "category": ["mugs", "hats", None, "mugs", "mu'gs"],
        "price": [5.0, None, 20.0, float("nan"), 7.5],
        "locale": pa.array(["de", "at", "us", "de", "at"]).dictionary_encode(),
        "Brand Name": ["Acme", "b", "c", "acme", None],
        "stock": pa.array([1, 2, 3, 4, 5], pa.int32()),
        "vector": [[1.0], [2.0], [3.0], [4.0], [5.0]],
    }
)


@pytest.fixture(scope="module")
def shop():
    with AttributeFilter(SHOP) as one:
        yield one


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("category = 'mugs'", [0, 3]),
        (
            "category = 'mugs' AND price BETWEEN 5 AND 20 AND locale IN ('de', 'at')",
            [0],
        ),
        ("price >= 5", [0, 2, 4]),
        ("NOT price > 5", [0]),
        ("category <> 'mugs'", [1, 4]),
        ("category NOT IN ('mugs', 'hats')", [4]),
        ("category IS NULL OR price IS NULL", [1, 2, 3]),
        ("locale = 'xx'", []),
        ("category = 'mu''gs'", [4]),
        ("\"brand name\" ILIKE 'acme'", [0, 3]),
        ("lower(\"Brand Name\") = 'acme' -- either case", [0, 3]),
        ("category LIKE 'm%' AND category NOT LIKE '%''%'", [0, 3]),
        ("starts_with(category, 'mu') AND length(category) > 4", [4]),
        ("stock % 2 = 1 AND stock * 2 - 1 > 1", [2, 4]),
        ("CASE WHEN stock > 2 THEN price > 7 ELSE true END", [0, 1, 2, 4]),
        ("TRY_CAST(category AS DOUBLE) > 1", []),
        ("stock = 1 /* ; */ OR category = ';'", [0]),
        ("true", [0, 1, 2, 3, 4]),
    ],
)
def test_the_rows_that_satisfy_a_condition(shop, where, rows):
    found = shop.rows(where)
    assert found.dtype == np.int64
    assert found.tolist() == rows
    assert rows_where(SHOP, where).tolist() == rows


def test_agrees_with_numpy_on_many_rows():
    rng = np.random.default_rng(0)
    price, kind = rng.random(200_000) * 100, rng.integers(0, 50, 200_000)
    kinds = np.array([f"kind {i}" for i in range(50)])[kind]
    table = pa.table({"price": price, "kind": kinds})
    found = rows_where(table, "kind = 'kind 7' OR price < 0.5")
    np.testing.assert_array_equal(found, np.flatnonzero((kind == 7) | (price < 0.5)))


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("colour = 'red'", r"there is no column 'colour'.*the columns are: category"),
        ("products.price > 3", "there is no column 'products.price'"),
        ("rowid = 1", "there is no column 'rowid'"),
        ('"row in the index" = 1', "there is no column 'row in the index'"),
        ("vector IS NULL", "there is no column 'vector'"),
        ("price", "it is a value, neither true nor false"),
        ("NULL", "it is a value, neither true nor false"),
        ("category", "it is a value, neither true nor false"),
        ("price = 'x'", "Could not convert string 'x' to DOUBLE"),
        ("category = 5", "Could not convert string 'mugs' to INT32"),
        ("price LIKE", "syntax error"),
        ("price > (3", "syntax error"),
        ("category = 'mugs", "unterminated"),
        ("", "it is empty"),
        (" \n ", "it is empty"),
        ("true\0) OR (true", "NUL"),
        ("NOT " * 900 + "true", "nested too deeply"),
        ("x" * 1000, "no column 'xxx"),
    ],
)
def test_what_is_no_condition_is_refused(shop, where, reason):
    with pytest.raises(QueryError, match=reason) as refused:
        shop.rows(where)
    assert "price (number), locale (text), Brand Name (text)" in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("true; DROP TABLE products", "it is more than one expression"),
        ("true; SELECT true", "it is more than one expression"),
        ("true;", "syntax error"),
        ("true) OR (true", "syntax error"),
        ("true, true", "it is more than one expression"),
        ("true AS x", "it is more than one expression"),
        ("true FROM products", "it is more than one expression"),
        ("true WHERE true", "it is more than one expression"),
        ("true ORDER BY 1", "it is more than one expression"),
        ("true LIMIT 1", "it is more than one expression"),
        ("true GROUP BY true", "it is more than one expression"),
        ("true HAVING true", "it is more than one expression"),
        ("true QUALIFY true", "it is more than one expression"),
        ("true USING SAMPLE 1", "it is more than one expression"),
        ("true UNION SELECT true", "it is more than one expression"),
        ("DISTINCT true", "it is more than one expression"),
        ("true WINDOW w AS (PARTITION BY stock)", "syntax error"),
        ("category IN (SELECT 'mugs')", "a condition holds no subquery"),
        ("EXISTS (FROM read_csv('/etc/passwd'))", "a condition holds no subquery"),
        ("stock = ANY([1, 2])", "a condition holds no subquery"),
        ("row_number() OVER () = 1", "a condition holds no window"),
        ("? = 1", "a condition holds no parameter"),
        ("#1", "a condition holds no positional reference"),
        ("COLUMNS('price') > 1", "a condition holds no star"),
        ("*", "a condition holds no star"),
        ("count(*) > 1", "no function 'count_star' for conditions, but: abs, ceil"),
        ("random() < 0.5", "no function 'random'"),
        ("getenv('HOME') = ''", "no function 'getenv'"),
        ("current_setting('threads') = 1", "no function 'current_setting'"),
        ("length(repeat('x', 1000000000)) > 1", "no function 'repeat'"),
    ],
)
def test_a_condition_reaches_nothing_but_its_columns(shop, where, reason):
    with pytest.raises(QueryError, match=reason):
        shop.rows(where)
    assert len(shop.rows("true")) == 5


def test_the_database_itself_reads_no_files(shop, tmp_path):
    path = tmp_path / "secret.csv"
    path.write_text("word\nsecret\n")
    with pytest.raises(QueryError, match="disabled by configuration"):
        shop._engine.query(f"SELECT * FROM read_csv('{path}')")
    with pytest.raises(QueryError, match="locked"):
        shop._engine.run("SET enable_external_access = true")


def test_a_result_is_kept_and_cannot_be_altered(shop):
    first = shop.rows("stock > 3")
    assert shop.rows("stock > 3") is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0


def test_results_used_longest_ago_are_forgotten_first():
    with AttributeFilter(SHOP, cached_rows=5) as shop:
        first, second = shop.rows("stock < 3"), shop.rows("stock > 3")
        assert shop.rows("stock < 3") is first
        # Seven rows are two too many: those of `second` go.
        shop.rows("stock IN (2, 3)")
        assert shop.rows("stock < 3") is first
        assert shop.rows("stock > 3") is not second
        every = shop.rows("stock > 0")
        assert every.tolist() == [0, 1, 2, 3, 4]


def test_results_without_rows_are_forgotten_too(monkeypatch):
    monkeypatch.setattr(filters, "_CACHED_RESULTS", 2)
    with AttributeFilter(SHOP) as shop:
        first, second = shop.rows("stock > 10"), shop.rows("stock > 20")
        shop.rows("stock > 30")
        assert shop.rows("stock > 20") is second
        assert shop.rows("stock > 10") is not first


def test_threads_share_a_filter(shop):
    wrong = []

    def ask(start):
        for number in range(start, start + 10):
            rows = shop.rows(f"stock > {number} - {start}")
            if rows.tolist() != list(range(number - start, 5)):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_columns_are_those_without_lists(shop):
    assert shop.columns == ("category", "price", "locale", "Brand Name", "stock")


def test_names_that_differ_in_case_alone_are_refused():
    with pytest.raises(SimprodError, match="'Brand' and 'brand' have one name"):
        AttributeFilter(pa.table({"Brand": ["a"], "brand": ["b"]}))


@pytest.mark.parametrize("num_products", [0, 3])
def test_an_index_without_attributes_has_no_columns(num_products):
    lists = pa.array([[1.0]] * num_products, pa.list_(pa.float32()))
    table = pa.table({"vector": lists})
    assert rows_where(table, "true").tolist() == list(range(num_products))
    with pytest.raises(QueryError, match="the columns are: none"):
        rows_where(table, "price > 1")
