"""YOOCHOOSE's layout, on rows of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.events import read_events
from simprod_tf.data.formats.yoochoose import convert
from simprod_tf.data.mining import MiningSettings, mine_pairs
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

CLICK = "11,2014-04-07T10:51:09.277Z,101,0\n"
BUY = "11,2014-04-07T10:54:09.868Z,103,1046,1\n"


@pytest.fixture
def folder(make_set):
    return make_set("yoochoose")


def test_clicks_and_purchases_are_mined_as_one_log(folder, tmp_path):
    done = convert(folder, tmp_path / "out")
    assert "4 events" in done.notes[0]
    with Embedded(threads=1) as engine:
        log = read_events(tmp_path / "out" / "events.parquet", engine=engine)
        assert (log.counts["views"], log.counts["purchases"]) == (3, 1)
        mined = mine_pairs(log, MiningSettings(negative_slots=2)).pairs.to_pylist()
        first = engine.query("SELECT * FROM events ORDER BY time_us LIMIT 1")
    # The last click is at the purchase's own instant, and before it.
    found = {(row["anchor_id"], row["other_id"], row["label"]) for row in mined}
    assert found == {("102", "103", 1), ("101", "103", 0)}
    assert first["time_us"][0].as_py() == 1396867869277000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("clicks", f"{CLICK}11,2014-04-07T10", "row 2: 2 columns instead of 4"),
        ("clicks", BUY, "row 1: 5 columns instead of 4"),
        ("clicks", f"{CLICK},2014-04-07T10:51:09Z,101,0\n", "row 2: column 'session'"),
        (
            "clicks",
            f"{CLICK}11,1396867869277,101,0\n",
            "row 2: column 'time' must be a time like .* got '1396867869277'",
        ),
        ("buys", CLICK, "row 1: 4 columns instead of 5"),
        ("buys", f"{BUY}11,yesterday,103,1,1\n", "row 2: column 'time' .*'yesterday'"),
        ("buys", "\n", "no row of use is in it|columns instead of 5"),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, name, text, message):
    (folder / f"yoochoose-{name}.dat").write_text(text)
    with pytest.raises(InputError, match=f"yoochoose-{name}.dat.*({message})"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
