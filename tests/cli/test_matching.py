"""`simprod threshold`, `match` and `search --id`, in this process."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.data.tables import read_table
from simprod_tf.errors import FingerprintError, InputError, SimprodError
from simprod_tf.index import ExactIndex
from simprod_tf.matching.decisions import read_decisions
from simprod_tf.matching.threshold import choose_threshold

TWOS = 50


def on_circle(angles, **more):
    turns = np.radians(np.array(list(angles.values()), np.float64))
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return ExactIndex.build(list(angles), points, encoder_fingerprint="f", **more)


def in_twos(apart):
    """Returns the angles of a0, b0, a1, b1, ...: each two `apart`, 6 to the next."""
    return {
        f"{letter}{two}": 6.0 * two + (apart if letter == "b" else 0)
        for two in range(TWOS)
        for letter in "ab"
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with an index, one with views, a catalogue and labelled pairs."""
    folder = tmp_path_factory.mktemp("shop")
    trained = choose_threshold(
        np.repeat([0.02, 0.9], 50), np.repeat([1, 0], 50), fingerprint="f"
    )
    extra = {"decision": trained.to_json()}
    on_circle(in_twos(1), extra=extra).save(folder / "index")
    refused = {"decision": {"refused": "there were no validation pairs."}}
    viewed = on_circle(in_twos(1), extra=refused)
    viewed.attach({"text": on_circle(in_twos(2))})
    viewed.save(folder / "viewed")
    lines = ["id,title,kind,gtin"]
    lines += [f"{id},mug {id[0]}{id[1:]}00 ml,{id[0]}," for id in in_twos(1)]
    (folder / "catalog.csv").write_text("\n".join(lines))
    pairs = ["anchor_id,other_id,label"]
    pairs += [f"a{two},b{two},1" for two in range(TWOS)]
    pairs += [f"b{two},a{two + 1},0" for two in range(TWOS - 1)]
    (folder / "pairs.csv").write_text("\n".join(pairs))
    (folder / "strange.csv").write_text("\n".join([*pairs, "a0,gone,1"]))
    return folder


@pytest.fixture
def run(shop, tmp_path, monkeypatch):
    """Runs a command in the shop's folder; "OUT" is the test's own."""
    monkeypatch.chdir(shop)

    def invoke(*arguments):
        command = [str(one).replace("OUT", str(tmp_path)) for one in arguments]
        done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return invoke


CHOOSE = (
    *("threshold", "viewed", "--pairs", "strange.csv", "--out", "OUT/decision.json"),
    *("--prior", "labelled"),
)
# 50 of 50 keep this promise (50 / 52.7 is 0.949), 50 of 51 do not.
PRECISION = ("--precision", 0.94)
MATCH = ("match", "index", "-k", 2, "--out", "OUT/matches.parquet")
VIEWED = ("match", "viewed", *MATCH[2:])


def told_by(done):
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_a_threshold_is_chosen_told_and_taken_by_match(run, tmp_path):
    told = told_by(run(*CHOOSE, *PRECISION))
    assert "1 pairs left out: the index lacks a product of them" in told
    assert "whole products: similar up to distance" in told
    assert "titles alone: similar up to distance" in told
    assert f"Written to {tmp_path}/decision.json" in told
    chosen = read_decisions(tmp_path / "decision.json")
    # Two of a pair are 1 degree apart (0.0175), by title 2 (0.0349); others 5 and 4.
    assert chosen.by_view["both"].max_distance == pytest.approx(0.01745, abs=1e-5)
    assert chosen.by_view["text"].max_distance == pytest.approx(0.03490, abs=1e-5)

    judged = ("--decision", "OUT/decision.json", "--pairs", "pairs.csv")
    told = told_by(run(*VIEWED, *judged))
    assert "100 products have one; reasons: both 100" in told
    assert "Labelled pairs: 1.000 of the 50 similar ones are candidates" in told
    assert "Decision: precision 1.000, recall 1.000 of the labelled pairs" in told
    rows = pq.read_table(tmp_path / "matches.parquet").to_pylist()
    assert {row["query_id"][1:] == row["id"][1:] for row in rows} == {True}


def test_thresholds_by_category_need_a_catalogue(run):
    by = (*CHOOSE, *PRECISION, "--by", "kind")
    assert "--by needs --catalog" in run(*by).output
    told = told_by(run(*by, "--catalog", "catalog.csv", "--veto", "none"))
    assert (
        "one threshold for all, since by kind no more similar pairs are found" in told
    )
    with pytest.raises(
        SimprodError, match="catalog.csv has no column 'shelf'; the col"
    ):
        run(*CHOOSE, "--by", "shelf", "--catalog", "catalog.csv")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("--prior", "often"),
            "0 and 1, 'estimate' or 'labelled', got 'often'",
        ),
        (("--prior", "1.5"), "between 0 and 1, 'estimate' or 'labelled', got 1.5"),
        (("--precision", "2"), "precision must be above 0 and below 1"),
    ],
)
def test_a_promise_that_cannot_be_meant_is_refused(run, tmp_path, option, message):
    done = run(*CHOOSE, *option)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "decision.json").exists()


def test_the_default_is_what_training_chose(run, tmp_path):
    told = told_by(run(*MATCH, "--groups", "OUT/g.csv", "--bridges", "OUT/b.csv"))
    assert "100 matches; 100 products have one; reasons: both 100" in told
    assert "50 groups with 100 products; 0 accepted pairs lie between groups" in told
    assert f"matches.parquet, {tmp_path}/g.csv, {tmp_path}/b.csv" in told
    assert read_table(tmp_path / "g.csv").strings("group")[:2] == ["a0", "a1"]
    done = run("search", "index", "--id", "a0", "-k", 2)
    rows = [line.split(",") for line in done.output.splitlines()]
    assert rows == [
        ["rank", "id", "distance", "similar"],
        ["1", "b0", "0.0175", "yes"],
        ["2", "a1", "0.1047", "no"],
    ]


def test_without_a_threshold_it_is_said_how_to_get_one(run):
    with pytest.raises(
        SimprodError, match="`simprod threshold`, or give --max-distance. there were no"
    ):
        run(*VIEWED)
    told_by(run(*VIEWED, "--max-distance", 0.02))


def test_new_products_join_groups(run, tmp_path):
    (tmp_path / "new.csv").write_text("id\nb1\n")
    (tmp_path / "old.csv").write_text("id,group\na1,G\na0,H\nb0,H\n")
    more = ("--only", "OUT/new.csv", "--previous", "OUT/old.csv", "--groups")
    told_by(run(*MATCH, *more, "OUT/groups.csv"))
    groups = read_table(tmp_path / "groups.csv")
    assert dict(zip(groups.strings("id"), groups.strings("group"))) == {
        "a0": "H",
        "b0": "H",
        "a1": "G",
        "b1": "G",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bridges", "OUT/b.csv"), "--bridges and --previous go with --groups"),
        (("--previous", "catalog.csv"), "--bridges and --previous go with --groups"),
        (("--groups", "OUT/g.csv", "--bridges", "OUT/g.csv"), "are places apart"),
        (("--veto", "colour"), "quantity, pack, model, brand, condition, got 'colour'"),
        (("--keep", "some"), "keep is one of similar, all, got 'some'"),
        (("--linkage", "ward"), "average, complete, single, got 'ward'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(run, tmp_path, options, message):
    done = run(*MATCH, *options)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split()).replace(" │ │ ", " ")
    assert not (tmp_path / "matches.parquet").exists()


GROUPS = ("--groups", "OUT/g.csv")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (("--only", "pairs.csv"), InputError, "pairs.csv: column 'id' is missing"),
        (
            ("--only", "OUT/only.csv"),
            InputError,
            r"only.csv, row 2: .* no product 'zzz'; `simprod add` takes it in",
        ),
        (
            ("--previous", "catalog.csv", *GROUPS),
            InputError,
            "catalog.csv: column 'group' is missing",
        ),
        (
            ("--only", "OUT/only.csv", "--groups", "OUT/there.csv"),
            SimprodError,
            "there.csv would hold the groups of these products alone; give",
        ),
        (("--groups", "OUT/g.txt"), InputError, r"g.txt: .*\.csv"),
        (("--keys", "--catalog", "OUT/plain.csv"), SimprodError, "no column of keys"),
        (("--veto", "pack"), SimprodError, "from the catalogue: give --catalog"),
        (("--catalog", "OUT/some.csv"), SimprodError, "lacks 99 products of the index"),
        (
            ("--union",),
            SimprodError,
            "a union of picture and title needs an index with",
        ),
        (("--decision", "pairs.csv"), InputError, "pairs.csv: cannot be read as JSON"),
        (("--decision", "OUT/no.json"), InputError, "no.json: holds no decisions"),
        (("--decision", "OUT/g.json"), FingerprintError, "the encoder g, got f"),
    ],
)
def test_what_is_not_there_is_named(run, tmp_path, options, error, message):
    (tmp_path / "only.csv").write_text("id\na0\nzzz\n")
    (tmp_path / "there.csv").write_text("id,group\n")
    (tmp_path / "plain.csv").write_text(
        "\n".join(["id,title", *(f"{id},mug" for id in in_twos(1))])
    )
    (tmp_path / "some.csv").write_text("id,title\na0,mug\n")
    (tmp_path / "no.json").write_text("{}")
    run(*CHOOSE, *PRECISION)
    content = json.loads((tmp_path / "decision.json").read_text())
    content["decisions"]["both"]["encoder_fingerprint"] = "g"
    (tmp_path / "g.json").write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        run(*MATCH, *options)
    assert not (tmp_path / "matches.parquet").exists()


def test_a_union_with_a_stated_distance_is_refused(run):
    with pytest.raises(
        SimprodError, match="a stated distance is one for whole products"
    ):
        run(*VIEWED, "--union", "--max-distance", 0.1)
