"""`simprod index`, `add`, `remove`, `compact` and `search --where`.

In this process, on an index of a few products and a made-up encoder.
"""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simprod_tf.cli import app
from simprod_tf.errors import FingerprintError, InputError, ModelError, SimprodError
from simprod_tf.index import ExactIndex, load_index, publish
from simprod_tf.index.versions import current_folder, versions

SCRIPT = Path(__file__).with_name("index_process.py")
_spec = importlib.util.spec_from_file_location("index_process", SCRIPT)
process = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(process)

CATALOG = """id,title,image,category,price
p1,a,,mug,5
p2,a b,a.png,mug,30
p3,b,,bag,8
p4,unheard,,bag,1
"""
NEW = """id,title,image,category,price
n1,a a b,,mug,12
p3,c,,bag,9
p1,unheard,,mug,5
"""
INDEX = "index catalog.csv --model m1 --kind exact --attribute category "
INDEX += "--attribute price --view image --view text "


@pytest.fixture
def shop(tmp_path, monkeypatch, make_picture):
    """A folder with two catalogues; the encoder is whatever the model's name says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("simprod_tf.export.SavedEncoder", process.Encoder)
    (tmp_path / "catalog.csv").write_text(CATALOG, encoding="utf-8")
    (tmp_path / "new.csv").write_text(NEW, encoding="utf-8")
    make_picture(0, (8, 8)).save(tmp_path / "a.png")
    return tmp_path


def simprod(line):
    return CliRunner().invoke(app, line.split())


def done(line):
    result = simprod(line)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def found(*arguments):
    result = CliRunner().invoke(app, ["search", *arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return [row["id"] for row in csv.DictReader(result.stdout.splitlines())]


def test_an_index_is_made_searched_changed_and_compacted(shop):
    said = done(INDEX + "--out index")
    assert "1 products left out, since they have no picture and no word" in said
    assert ": p4" in said
    assert "Index of 3 products, exact, 1 by image alone, 3 by text alone" in said
    assert "Written to index" in said
    assert found("index", "--id", "p1", "-k", "2") == ["p2", "p3"]
    cheap = ["--where", "category = 'mug' AND price < 20"]
    assert found("index", "--id", "p3", *cheap) == ["p1"]

    said = done("add index new.csv --model m1")
    assert "1 products left out" in said
    assert "1 products are new, 1 replaced, 1 of those left out removed" in said
    assert found("index", "--id", "p3", *cheap) == ["n1"]
    # A title of the same words, in the same shares.
    assert found("index", "--title", "b a a", "--model", "m1", "-k", "1") == ["n1"]
    assert sorted(load_index("index").views["text"].ids) == ["n1", "p2", "p3"]

    said = done("compact index")
    assert "index: 66.7% of the products came since the training; nothing is" in said
    assert "image: 0.0% of the products" in said
    assert "Trained anew: 3 products, exact" in said
    assert load_index("index").drift().changed == 0

    said = done("remove index --id n1 --id p2 --id n1")
    assert "Removed: 2 products; left: 1" in said
    assert found("index", "--id", "p3") == []
    assert load_index("index").views["image"].ids == ()


def test_versions_are_published_one_after_the_other(shop):
    assert "Version 1 is current in root" in done(INDEX + "--publish root")
    assert "Version 2 is current in root" in done(INDEX + "--publish root")
    assert "Version 3 is current in root" in done("add root new.csv --model m1")
    assert [one.n for one in versions("root")] == [3, 3, 3]
    assert "n1" in load_index("root")
    done("rollback root")
    assert "n1" not in load_index("root")
    # The next one builds on what is current, and gets a number of its own.
    said = done("remove root --id p1 --keep 2")
    assert "Version 4 is current in root; deleted: 1, 3" in said
    assert sorted(load_index("root").views["text"].ids) == ["p2", "p3"]


def test_ids_to_remove_come_from_a_table(shop):
    done(INDEX + "--out index")
    (shop / "gone.csv").write_text("id,why\np1,sold\n p2 ,sold\n", encoding="utf-8")
    assert "left: 1" in done("remove index --ids gone.csv")
    (shop / "bad.csv").write_text("product\np3\n", encoding="utf-8")
    refused = simprod("remove index --ids bad.csv").exception
    assert isinstance(refused, InputError)
    message = "bad.csv: column 'id' is missing; the columns are: product"
    assert message in str(refused)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (INDEX, "give --out or --publish, one of them"),
        (INDEX + "--out i --publish r", "give --out or --publish, one of them"),
        (INDEX + "--out i --recall 1.5", "recall lies above 0 and is at most 1"),
        (INDEX + "--out i --leaves 9", "give all three, or none"),
        (
            INDEX.replace("exact", "auto")
            + "--out i --leaves 9 --leaves-to-search 10 --reordered 5",
            "leaves_to_search lies between 1 and num_leaves (9)",
        ),
        (
            INDEX + "--out i --leaves 9 --leaves-to-search 3 --reordered 5",
            "settings of ScaNN are for kind scann or auto",
        ),
        (INDEX + "--out i --view title", "a view is image or text, got 'title'"),
        (INDEX + "--out i --kind faiss", "kind is one of auto, exact, exact-tf, scann"),
        (INDEX + "--publish r --keep 1", "--keep"),
        ("remove index", "give --id or --ids"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(shop, line, message):
    result = simprod(line)
    assert result.exit_code == 2
    flat = " ".join(result.output.replace("│", " ").split())
    assert message in flat
    assert not (shop / "i").exists()


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (INDEX + "--out i --attribute size", SimprodError, "no column 'size'"),
        (INDEX + "--out root", InputError, "root: holds versions of an index; add"),
        (INDEX + "--publish index", InputError, "which is no version of an index"),
        (INDEX + "--publish catalog.csv", InputError, "is a file; name a folder"),
        (
            "add index new.csv --model m2",
            FingerprintError,
            "encoder m1, but encoder m2",
        ),
        ("add root new.csv --model m2", FingerprintError, "encoder m1, but encoder m2"),
        ("add index price.csv --model m1", SimprodError, "'q' has price 'ask', but"),
        ("add index bare.csv --model m1", SimprodError, "attributes category, price:"),
        ("add gone new.csv --model m1", ModelError, "gone holds no index"),
        ("compact gone", ModelError, "gone holds no index"),
        (
            "remove index --id p1 --id x --id y",
            SimprodError,
            "index holds no product 'x', nor 1 others; nothing was removed.",
        ),
    ],
)
def test_what_the_world_gets_wrong_changes_nothing(shop, line, kind, message):
    done(INDEX + "--out index")
    done(INDEX + "--publish root")
    (shop / "price.csv").write_text(
        "id,title,category,price\nq,a,mug,ask\n", encoding="utf-8"
    )
    (shop / "bare.csv").write_text("id,title\nq,a\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()}
    refused = simprod(line).exception
    assert isinstance(refused, kind)
    assert message in str(refused)
    after = {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("place", ["index", "root"])
def test_what_another_process_wrote_meanwhile_is_not_lost(shop, monkeypatch, place):
    done(INDEX + ("--out index" if place == "index" else "--publish root"))
    other = load_index(place)
    encode = process.Encoder.encode

    def slow(self, products, **more):
        other.remove([other.ids[0]])
        if place == "index":
            other.save(place)
        else:
            publish(other, place)
        monkeypatch.setattr(process.Encoder, "encode", encode)
        return encode(self, products, **more)

    monkeypatch.setattr(process.Encoder, "encode", slow)
    refused = simprod(f"add {place} new.csv --model m1").exception
    assert isinstance(refused, InputError)
    assert "another process has changed this index meanwhile" in str(refused)
    assert load_index(place).ids == other.ids
    assert "1 products are new" in done(f"add {place} new.csv --model m1")


def test_an_index_that_has_lost_its_recall_says_so(shop, monkeypatch):
    from simprod_tf.index import Drift

    done(INDEX + "--out index")
    monkeypatch.setattr(
        ExactIndex, "drift", lambda self: Drift(0.5, 0.93, 0.8125, 0.95, 900, 900)
    )
    said = done("add index new.csv --model m1")
    assert "Its recall has fallen to 0.812: `simprod compact index` trains" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [INDEX + "--out index", INDEX + "--publish root", "add index new.csv --model m1",
     "add root new.csv --model m1"],
)  # fmt: skip
def test_a_kill_in_the_midst_leaves_the_old_index_whole(shop, line):
    done(INDEX + "--out index")
    done(INDEX + "--publish root")
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "hang", *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout.readline() == "hanging\n"
        running.kill()
    for place in ("index", "root"):
        assert load_index(place).ids == ("p1", "p2", "p3")
        assert list(load_index(place).views) == ["image", "text"]
    assert current_folder("root").name == "1"
    # Started again, it does what it would have done.
    done(line)
    if line.startswith("add"):
        assert "n1" in load_index(line.split()[1])
