"""OTTO's logs as Parquet, on sessions of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.events import read_events
from simprod_tf.data.formats.otto_log import convert
from simprod_tf.data.mining import MiningSettings, mine_pairs
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError


@pytest.fixture
def folder(make_set):
    return make_set("otto")


def mined(path):
    with Embedded(threads=1) as engine:
        log = read_events(path, engine=engine)
        pairs = mine_pairs(log, MiningSettings(negative_slots=2)).pairs.to_pylist()
    return {(row["anchor_id"], row["other_id"], row["label"]) for row in pairs}


def test_parquet_and_the_log_itself_are_mined_alike(folder, tmp_path):
    (folder / "otto-other.jsonl").write_text(
        '{"session":1,"events":[{"aid":5,"ts":1659304800025,"type":"carts"}]}\n'
    )
    (folder / "notes.jsonl").write_text('{"no": "session"}\n')
    done = convert(folder, tmp_path / "out")
    names = [path.name for path in done.paths]
    assert names == ["otto-other.parquet", "otto-train.parquet"]
    found = mined(tmp_path / "out" / "otto-train.parquet")
    assert found == mined(folder / "otto-train.jsonl")
    assert found == {("102", "103", 1), ("101", "103", 0)}


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ('{"aid":5,"ts":1659304800025,"type":"looks"}', "unknown event 'looks'"),
        ('{"aid":5,"ts":"noon","type":"clicks"}', "must be a time"),
        ('{"aid":5,"ts":16593', "row 2: not JSON"),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, event, message):
    with (folder / "otto-train.jsonl").open("a") as file:
        file.write(f'{{"session":12,"events":[{event}]}}\n')
    with pytest.raises(InputError, match=f"otto-train.jsonl.*{message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
