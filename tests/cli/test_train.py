"""embed, words, and train with sources of every kind, as a user meets them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def work(simprod, tmp_path_factory):
    """A tiny shop, one of its pictures broken, and vectors for most products."""
    folder = tmp_path_factory.mktemp("work")
    done = simprod("shop", "shop", "--products", 120, "--seed", 3, cwd=folder)
    assert done.returncode == 0, done.stderr
    with open(folder / "shop" / "catalog.csv", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    vectors = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    np.savez(folder / "clip.npz", ids=np.array(ids[:100]), vectors=vectors)
    return folder


EMBED = ("embed", "shop/catalog.csv", "--store", "features", "--image-tower", "small")


def test_embed_computes_each_picture_once(simprod, work):
    first = simprod(*EMBED, "--out", "small.npy", cwd=work)
    assert first.returncode == 0, first.stderr
    ids = (work / "small.ids.txt").read_text(encoding="utf-8").split()
    features = np.load(work / "small.npy")
    assert features.shape == (120, 576)
    assert len(ids) == 120
    again = simprod(*EMBED, cwd=work)
    assert "0 pictures computed, 120 products known before" in again.stderr
    train = simprod(
        "train", "shop/catalog.csv", "--hand-pairs", "shop/hand_pairs.csv", "--epochs",
        1, "--freeze-image-tower", "--feature-store", "features", "--out", "run",
        cwd=work,
    )  # fmt: skip
    assert train.returncode == 0, train.stderr
    assert len(list((work / "features").iterdir())) == 1


def test_unreadable_pictures_are_listed_and_stop_nothing(simprod, work, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "good.webp")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "c.csv").write_text("id,image\na,bad.jpg\nb,good.webp\nc,gone.png\n")
    done = simprod(
        "embed", "c.csv", "--store", "s", "--out", "f.npy", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 pictures unreadable" in done.stderr
    (store,) = (tmp_path / "s").iterdir()
    with open(store / "unreadable.csv", encoding="utf-8") as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"a", "c"}
    assert np.load(tmp_path / "f.npy").any(axis=1).tolist() == [False, True, False]


def test_a_wrong_output_is_refused_before_the_work(simprod, work):
    done = simprod(*EMBED[:2], "--store", "none", "--out", "f.txt", cwd=work)
    assert done.returncode == 1
    assert "f.txt: write vectors to a .npy file" in done.stderr
    assert not (work / "none").exists()


def test_words_says_what_is_known(simprod, rows_of, work):
    rows = rows_of(simprod("words", "shop/catalog.csv", "--min-count", 2, cwd=work))
    assert rows
    assert set(rows[0]) == {"unknown word", "count"}
    (work / "v.txt").write_text("mug 1 2\nblue 3 4\n")
    done = simprod("words", "shop/catalog.csv", "--word-vectors", "v.txt", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "titles are known" in done.stderr


@pytest.mark.slow
def test_sources_of_every_kind_train_export_and_search(simprod, rows_of, work):
    for step in (
        "train shop/catalog.csv --hand-pairs shop/hand_pairs.csv --epochs 2 "
        "--image-tower small --freeze-image-tower --category brand --number price "
        "--features clip.npz --word-weights sif --min-count 2 --unknown-words ngrams "
        "--buckets 50 --freeze-words --modality-dropout 0.2 --word-training fasttext "
        "--precision 0.5 --out runs/all",
        "export runs/all --out models/all",
        "index shop/catalog.csv --model models/all --features clip.npz --out index",
        "evaluate shop/catalog.csv --model models/all --features clip.npz "
        "--by-modality --pairs shop/hand_pairs.csv --split runs/all/split.parquet "
        "--out report",
    ):
        done = simprod(*step.split(), cwd=work)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    manifest = json.loads((work / "runs" / "all" / "manifest.json").read_text())
    assert manifest["inputs"]["numbers"] == [{"column": "price"}]
    assert manifest["inputs"]["vectors"] == [{"name": "clip", "dim": 6, "column": ""}]
    assert 0.5 < manifest["words"]["token_share"] < 1
    rows = rows_of(
        simprod(
            "search", "index", "--model", "models/all", "--title", "blue mug", cwd=work
        )
    )
    assert len(rows) == 10
    # Vectors of a file are not in the export: they are asked for.
    done = simprod(
        "index", "shop/catalog.csv", "--model", "models/all", "--out", "i", cwd=work
    )
    assert done.returncode == 1
    assert "give their file, such as --features clip.npy" in done.stderr
