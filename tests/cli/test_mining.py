"""The command `mine`, in this process."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.data.pairs import read_pairs
from simprod_tf.errors import InputError, SimprodError

LOG = """session,id,event,time
s,a,view,2024-05-01T10:00:00Z
s,b,view,2024-05-01T10:01:00Z
s,p,order,2024-05-01T10:02:00Z
s,p,refund,2024-05-02T10:00:00Z
t,c,view,2024-05-03T10:00:00Z
t,b,cart,2024-05-03T10:01:00Z
u,c,view,2024-05-03T10:00:00Z
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    return path


def mine(log, *arguments, out="mined.csv"):
    command = ["mine", str(log), "--out", str(log.parent / out), *map(str, arguments)]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200"})


def rows_of(log, name="mined.csv"):
    pairs = read_pairs(log.parent / name, source="mined")
    return {
        a + b: int(n)
        for a, b, n in zip(pairs.anchor_ids, pairs.other_ids, pairs.labels)
    }


def test_pairs_are_written_and_what_was_left_out_is_told(log):
    done = mine(log, "--negative-slots", 2)
    assert done.exit_code == 0, done.output
    assert rows_of(log) == {"bp": 1, "ap": 0}
    told = " ".join(done.output.split())
    assert "2 pairs, 1 of them similar, written to" in told
    assert "From 1 purchases, 1 carts and 4 views; 1 buyers" in told
    assert "1 returns, ignored" in told


def test_options_reach_the_miner(log):
    done = mine(log, "--negative-slots", 2, "--cart-weight", 1, "--max-lookback-min", 1)
    assert rows_of(log) == {"bp": 1, "bc": 1}
    assert "1 negative's view too long before the purchase" in " ".join(
        done.output.split()
    )
    mine(log, "--cart-weight", 1, "--since", "2024-05-02")
    assert rows_of(log) == {"bc": 1}
    mine(log, "--event-name", "refund=purchase", "--until", "2024-05-03")
    assert rows_of(log) == {"bp": 1}


def test_a_category_gate_reads_the_catalogue(log):
    catalog = log.parent / "catalog.csv"
    catalog.write_text("id,kind\na,mug\nb,pot\np,mug\n")
    gate = ("--same-category", "kind", "--catalog", catalog)
    mine(log, "--negative-slots", 2, *gate)
    assert rows_of(log) == {"ap": 0}
    mine(log, "--negative-slots", 2, "--cart-weight", 1, *gate)
    assert rows_of(log) == {"ap": 0}
    done = mine(log, "--negative-slots", 1, *gate, "--same-category-negatives")
    assert "no pair could be mined" in str(done.exception)


def test_the_quality_is_printed_and_reported(log):
    hand = log.parent / "hand.csv"
    hand.write_text("anchor_id,other_id,label\nb,p,1\na,p,1\n")
    report = log.parent / "report.json"
    done = mine(log, "--hand-pairs", hand, "--quality-slots", "1,2", "--report", report)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "slots,pairs,positives right,negatives right" in lines
    assert '2,2,"1.000 [0.207, 1.000] of 1","0.000 [0.000, 0.793] of 1"' in lines
    content = json.loads(report.read_text())
    assert [one["negative_slots"] for one in content["quality"]] == [1, 2, 5]
    two = content["quality"][1]
    assert (two["positives"]["right"], two["negatives"]["share"]) == (1, 0.0)
    assert content["quality"][0]["negatives"]["share"] is None
    assert content["counts"]["returns"] == 1
    assert content["settings"]["negative_slots"] == 5
    assert content["log"]["session"] == "session"
    assert content["log"]["since"] is None


def test_hand_labels_that_know_none_of_the_pairs_are_told_of(log):
    hand = log.parent / "hand.csv"
    hand.write_text("anchor_id,other_id,label\nx,y,1\n")
    done = mine(log, "--hand-pairs", hand)
    assert "none of the mined pairs is among these" in " ".join(done.output.split())


def test_a_log_that_gives_no_pair_is_an_error_with_its_reasons(log):
    done = mine(log, "--min-support", 3)
    assert isinstance(done.exception, SimprodError)
    assert "no pair could be mined" in str(done.exception)
    assert "pairs with too few votes" in str(done.exception)
    assert not (log.parent / "mined.csv").exists()


def test_a_log_without_purchases_says_so(log):
    log.write_text("session,id,event,time\ns,a,view,2024-05-01T10:00:00Z\n")
    done = mine(log)
    assert "no pair could be mined" in str(done.exception)
    assert "From 0 purchases, 0 carts and 1 views" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--same-category", "kind"], "--same-category and --catalog go together"),
        (["--same-category-negatives"], "needs --same-category"),
        (["--quality-slots", "1,2"], "--quality-slots needs --hand-pairs"),
        (["--hand-pairs", "x", "--quality-slots", "1,b"], "whole numbers from 1 on"),
        (["--negative-slots", "0"], "negative_slots must be a whole number"),
        (["--event-name", "click"], "an event name is given as name=view"),
        (["--since", "soon"], "since must be a time like"),
        (["--memory-mb", "0"], "memory_limit_mb must be 1 or more"),
        (["--master", "local"], "--master and --spark-conf go with --engine spark"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(log, arguments, message):
    done = mine(log, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_an_unknown_suffix_is_refused_before_the_work(log):
    done = mine(log, out="mined.txt")
    assert isinstance(done.exception, InputError)
    assert "write to a .csv or .parquet file" in str(done.exception)


def test_a_folder_of_logs_becomes_a_folder_of_pairs(tmp_path):
    header, *rows = LOG.splitlines()
    logs = tmp_path / "logs"
    logs.mkdir()
    for number, row in enumerate(rows):
        (logs / f"{number}.csv").write_text(f"{header}\n{row}\n")
    done = mine(logs, "--negative-slots", 2, out="mined")
    assert done.exit_code == 0, done.output
    assert rows_of(logs, "mined") == {"bp": 1, "ap": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "mined"]


def test_a_faulty_file_keeps_what_was_read_of_the_others(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "0.csv").write_text(LOG)
    (logs / "1.csv").write_text("session,id,event,time\ns,a,look,1\n")
    assert "1.csv, row 1: unknown event 'look'" in str(mine(logs).exception)
    assert len(list(tmp_path.glob("mined.csv.unfinished/*/events/*.parquet"))) == 1
    assert not (tmp_path / "mined.csv").exists()
    (logs / "1.csv").write_text("session,id,event,time\ns,a,view,1\n")
    assert mine(logs).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "mined.csv"]
