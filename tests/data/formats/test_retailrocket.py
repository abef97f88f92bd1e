"""RetailRocket's layout, on rows of our own."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.events import read_events
from simprod_tf.data.formats.retailrocket import convert
from simprod_tf.data.mining import MiningSettings, mine_pairs, read_categories
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

EVENTS = "timestamp,visitorid,event,itemid,transactionid\n"
PROPERTIES = "timestamp,itemid,property,value\n"


@pytest.fixture
def folder(make_set):
    return make_set("retailrocket")


def test_items_have_their_last_category_and_its_root(folder, tmp_path):
    convert(folder, tmp_path / "out")
    catalog = read_catalog(tmp_path / "out" / "catalog.csv", need_content=False).catalog
    assert list(catalog.ids) == ["101", "102", "103", "104"]
    # 101 moved from 31 to 32; 103 was bought only; 77 is not in the tree.
    assert list(catalog.column("category")) == ["32", "32", "", "77"]
    assert list(catalog.column("root_category")) == ["30", "30", "", ""]


def test_the_events_are_mined(folder, tmp_path):
    done = convert(folder, tmp_path / "out")
    assert "4 items, 3 with a category" in done.notes[0]
    assert "4 events" in done.notes[1]
    table = pq.read_table(tmp_path / "out" / "events.parquet")
    assert table.column_names == ["session", "id", "event", "time"]
    assert str(table["time"][0].as_py()) == "2015-06-02 05:02:12.117000"
    with Embedded(threads=1) as engine:
        log = read_events(tmp_path / "out" / "events.parquet", engine=engine)
        assert (log.counts["views"], log.counts["carts"]) == (2, 1)
        mined = mine_pairs(log, MiningSettings(negative_slots=2)).pairs.to_pylist()
    found = {(row["anchor_id"], row["other_id"], row["label"]) for row in mined}
    assert found == {("102", "103", 1), ("101", "103", 0)}
    categories = read_categories(tmp_path / "out" / "catalog.csv", "category")
    assert categories["id"].to_pylist() == ["101", "102", "104"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "events.csv",
            "timestamp,visitorid,event\n",
            "the header must read timestamp,",
        ),
        ("events.csv", EVENTS, "no row of use is in it"),
        (
            "events.csv",
            f"{EVENTS}1433221332117,1,view,5,\n1433221332117,1,vi",
            "row 2: 3 columns instead of 5",
        ),
        (
            "events.csv",
            f"{EVENTS}1433221332117,1,view,5,\n1433221332117,1,look,5,\n",
            "row 2: column 'event' must be view or addto.* got 'look'",
        ),
        (
            "events.csv",
            f"{EVENTS}1433221332,1,view,5,\n",
            "row 1: column 'timestamp' must be a time in milliseconds",
        ),
        (
            "events.csv",
            f"{EVENTS}2015-06-02,1,view,5,\n",
            "row 1: column 'timestamp' must be .* got '2015-06-02'",
        ),
        ("events.csv", f"{EVENTS}1433221332117,1,view,,\n", "row 1: column 'itemid'"),
        (
            "item_properties_part1.csv",
            f"{PROPERTIES}1433041200000,1,790,n4\n1433041200000,1,categoryid, \n",
            "row 2: column 'value' must be text, got",
        ),
        ("category_tree.csv", "categoryid\n31\n", "column 'parentid' is missing"),
        ("category_tree.csv", "categoryid,parentid\n1,\n1,\n", "row 2: id '1' stands"),
        (
            "category_tree.csv",
            "categoryid,parentid\n0,\n1,2\n2,1\n",
            "row 2: category '1' is its own ancestor",
        ),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_text_that_is_not_csv_is_refused(folder, tmp_path):
    (folder / "events.csv").write_text(f'{EVENTS}"1433221332117,1,view,5,\n')
    with pytest.raises(
        InputError, match="events.csv.*(not CSV with commas|columns inst)"
    ):
        convert(folder, tmp_path / "out")
    (folder / "events.csv").write_bytes(b"timestamp,visit\xe9\n")
    with pytest.raises(InputError, match="events.csv: the header is not UTF-8 text"):
        convert(folder, tmp_path / "out")
