"""embed, words, and train with sources of every kind, as a user meets them."""

from __future__ import annotations

import csv
import inspect
import json
import socket
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simprod_tf.cli.train import _plan, train


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


@pytest.mark.slow
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


def plan_of(**options):
    """The plan of these options, the others as they are by default."""
    parameters = inspect.signature(train).parameters
    given = {name: one.default for name, one in parameters.items()}
    given.update({"train_on": "both", **options})
    return asdict(_plan(given))


OPTIONS = {
    "train_on": ("groups", "train_on"),
    "mined_weight": (0.5, "training.mined_weight"),
    "validation": (0.2, "validation"),
    "test": (0.1, "test"),
    "precision": (0.8, "precision"),
    "freeze_image_tower": (True, "image.frozen"),
    "train_layers": ("small/conv", "training.fine_tuning.layers"),
    "head_epochs": (3, "training.fine_tuning.head_epochs"),
    "tower_rate": (0.1, "training.fine_tuning.tower_rate"),
    "min_crop": (0.6, "image.augment.min_crop"),
    "colour": (0.3, "image.augment.colour"),
    "erasing": (0.4, "image.augment.erasing"),
    "feature_type": ("float32", "image.dtype"),
    "word_vectors": (Path("v.txt"), "words.path"),
    "word_training": ("fasttext", "words.kind"),
    "word_weights": ("sif", "words.weighting"),
    "min_count": (2, "words.min_count"),
    "extra_words": (7, "words.extra_words"),
    "word_rate": (0.2, "training.fine_tuning.word_rate"),
    "raw": (True, "raw"),
    "embedding_dim": (64, "encoder.embedding_dim"),
    "hidden_units": (32, "encoder.hidden_units"),
    "dropout": (0.3, "encoder.dropout"),
    "modality_dropout": (0.2, "encoder.modality_dropout"),
    "batch_norm": (True, "encoder.batch_norm"),
    "loss": ("double_margin", "training.loss.name"),
    "margin": (0.7, "training.loss.margin"),
    "similar_margin": (0.2, "training.loss.similar_margin"),
    "temperature": (0.05, "training.loss.temperature"),
    "scale": (16.0, "training.loss.scale"),
    "ramp_epochs": (2, "training.loss.ramp_epochs"),
    "batches": ("groups", "training.batch.form"),
    "batch_size": (64, "training.batch.size"),
    "per_group": (3, "training.batch.per_group"),
    "hard_negatives": (2, "training.negatives.hard"),
    "refresh_epochs": (4, "training.negatives.refresh_epochs"),
    "random_negatives": (1.5, "training.negatives.random"),
    "negatives_column": ("category", "training.negatives.column"),
    "negative_weight": (0.3, "training.negatives.weight"),
    "epochs": (9, "training.epochs"),
    "monitor": ("map_at_r", "training.monitor"),
    "patience": (2, "training.patience"),
    "learning_rate": (0.01, "training.optimizer.learning_rate"),
    "weight_decay": (0.05, "training.optimizer.weight_decay"),
    "schedule": ("cosine", "training.optimizer.schedule"),
    "warmup_epochs": (1.5, "training.optimizer.warmup_epochs"),
    "clip_norm": (2.0, "training.optimizer.clip_norm"),
    "strategy": ("mirrored", "training.hardware.strategy"),
    "numbers": ("mixed_bfloat16", "training.hardware.precision"),
    "xla": (True, "training.hardware.xla"),
    "seed": (4, "training.seed"),
}


def flat(tree, path=""):
    """The leaves of nested settings, by their path."""
    if not isinstance(tree, dict):
        return {path: tree}
    found = {}
    for name, one in tree.items():
        found.update(flat(one, f"{path}.{name}" if path else name))
    return found


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_reaches_its_setting_and_no_other(option):
    value, path = OPTIONS[option]
    before, after = flat(plan_of()), flat(plan_of(**{option: value}))
    changed = {name: after[name] for name in after if after[name] != before[name]}
    assert changed == {path: str(value) if option == "word_vectors" else value}


def test_options_that_mean_more_than_one_setting():
    assert plan_of(loss="arcface")["encoder"]["batch_norm"]
    assert plan_of(freeze_words=True)["words"]["train_words"] is False
    assert plan_of(unknown_words="hash")["words"]["buckets"] == 4096
    assert plan_of(category=["brand"], number=["price"])["attributes"] == {
        "categories": ("brand",),
        "numbers": ("price",),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--loss", "hinge"), "loss must be one of contrastive"),
        (("--loss", "arcface", "--batches", "twin"), "must be one of groups"),
        (
            ("--loss", "triplet_hard", "--hard-negatives", 2),
            "drawn negatives are pairs",
        ),
        (("--monitor", "loss"), "monitor must be one of pr_auc"),
        (("--worker", 0), "--worker says which of --workers this is: give both"),
        (("--workers", "a:1,b:1"), "--workers takes --worker too"),
        (("--workers", "a:1,b", "--worker", 0), "a worker is host:port"),
        (
            ("--workers", "a:1", "--worker", 0, "--strategy", "mirrored"),
            "--workers train multi-worker, not mirrored",
        ),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(options, message):
    from typer.testing import CliRunner

    from simprod_tf.cli import app

    done = CliRunner().invoke(
        app, ["train", "c.csv", "--out", "run", *map(str, options)]
    )
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


def test_the_epoch_that_is_kept_is_told():
    from simprod_tf.cli.train import _kept
    from simprod_tf.training.settings import EpochReport

    def history(**columns):
        rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
        return [EpochReport(n, 9, row) for n, row in enumerate(rows, start=1)]

    both = history(val_map_at_r=[0.9, 0.8], val_pr_auc=[float("nan"), 0.25])
    assert _kept(both, None) == "Epoch 2 of 2 is kept: val_pr_auc 0.250"
    assert _kept(both, "map_at_r") == "Epoch 1 of 2 is kept: val_map_at_r 0.900"
    told = _kept(history(loss=[2.0, 1.0]), None)
    assert told.startswith("Epoch 2, the last, is kept: the validation side has noth")


@pytest.mark.slow
def test_groups_alone_train_with_arcface(simprod, work):
    done = simprod(
        "train", "shop/catalog.csv", "--loss", "arcface", "--epochs", 1, "--scale", 16,
        "--freeze-image-tower", "--feature-store", "features", "--out", "runs/groups",
        cwd=work,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((work / "runs" / "groups" / "manifest.json").read_text())
    settings = manifest["settings"]
    assert settings["train_on"] == "groups"
    assert settings["training"]["loss"]["scale"] == 16
    assert settings["encoder"]["batch_norm"]
    assert not (work / "runs" / "groups.unfinished").exists()


@pytest.mark.slow
def test_what_only_the_training_finds_is_one_line_too(simprod, work):
    for options, message in (
        (("--strategy", "multi-worker"), "TF_CONFIG, which is not set"),
        (
            ("--negatives-column", "nope", "--random-negatives", 1),
            "no column 'nope'; the columns are",
        ),
    ):
        done = simprod(
            "train", "shop/catalog.csv", "--hand-pairs", "shop/hand_pairs.csv",
            "--freeze-image-tower", "--out", "none", *options, cwd=work,
        )  # fmt: skip
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        (line,) = (one for one in done.stderr.splitlines() if "simprod: " in one)
        assert message in line
        assert not (work / "none").exists()


@pytest.mark.slow
def test_a_cluster_of_one_machine_trains(simprod, work, monkeypatch):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    cluster = {"worker": [f"localhost:{port}"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    # Pictures that are checked, and decoded, by TensorFlow before the training.
    done = simprod(
        "train", "shop/catalog.csv", "--hand-pairs", "shop/hand_pairs.csv", "--epochs",
        1, "--train-image-tower", "--strategy", "multi-worker", "--out", "runs/cluster",
        cwd=work,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (work / "runs" / "cluster" / "manifest.json").exists()
