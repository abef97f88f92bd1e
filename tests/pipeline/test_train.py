"""Catalogue and pairs -> a run folder, in both modes."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import canonical_pairs, write_pairs
from simprod_tf.data.split import Split, read_split
from simprod_tf.data.tables import read_table
from simprod_tf.errors import SimprodError
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.model.encoder import EncoderSettings
from simprod_tf.model.image_tower import build_image_tower
from simprod_tf.pipeline.plan import ImageSettings, TrainPlan, WordSettings
from simprod_tf.pipeline.train import train_run
from simprod_tf.trained import TrainedEncoder
from simprod_tf.training.settings import (
    BatchSettings,
    Hardware,
    LossSettings,
    NegativeSettings,
    TrainingSettings,
)

QUICK = TrainPlan(
    words=WordSettings(dim=8, epochs=2, min_count=1),
    encoder=EncoderSettings(embedding_dim=8, hidden_units=16),
    training=TrainingSettings(epochs=2, batch=BatchSettings(size=16)),
    precision=0.5,
)
# Without pictures: a second rather than several.
WORDS_ONLY = replace(QUICK, image=ImageSettings(towers=()))


def training(**kw):
    return replace(QUICK.training, **kw)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """60 products in 20 groups: a colour each, drawn and named."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(0)
    lines = ["id,title,image,group"]
    for group in range(20):
        colour = rng.integers(0, 255, 3)
        for offer in range(3):
            light = np.clip(colour + rng.integers(-30, 30), 0, 255)
            name = f"{group}-{offer}.png"
            Image.new("RGB", (20, 20), tuple(int(c) for c in light)).save(folder / name)
            title = "" if offer == 2 else f"thing number{group} offer {offer}{group}"
            lines.append(f"p{group:02}{offer},{title},{name},g{group}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    catalog = read_catalog(folder / "catalog.csv").catalog
    ids = catalog.ids.reshape(20, 3)
    similar = [(a, b) for group in ids for a, b in zip(group, group[1:])]
    other = [(a, b) for a, b in zip(ids[:, 0], np.roll(ids[:, 0], 1))]
    other += [(a, b) for a, b in zip(ids[:, 1], np.roll(ids[:, 1], 2))]
    anchors, others = zip(*similar, *other)
    labels = [1] * len(similar) + [0] * len(other)
    # Enough dissimilar pairs within each side, whatever the split.
    more = [(a, b) for a in ids[:, 2] for b in ids[:, 0] if a[:3] < b[:3]]
    mined = canonical_pairs(
        [a for a, _ in [*similar, *more]],
        [b for _, b in [*similar, *more]],
        [1] * len(similar) + [0] * len(more),
        source="mined",
    )
    return catalog, canonical_pairs(anchors, others, labels), mined


def columns_of(run):
    with open(run / "history.csv", encoding="utf-8") as file:
        return next(csv.reader(file))


def test_a_run_folder_holds_encoder_split_history_and_decision(shop, tmp_path):
    catalog, hand, mined = shop
    told = []
    result = train_run(
        catalog,
        tmp_path / "run",
        hand=hand,
        mined=mined,
        plan=QUICK,
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    trained = TrainedEncoder.load(tmp_path / "run")
    assert trained.fingerprint == result.fingerprint
    assert (
        trained.details["products"]
        == read_split(tmp_path / "run" / "split.parquet").counts()
    )
    history = read_table(tmp_path / "run" / "history.csv")
    assert history.strings("epoch") == ["1", "2"]
    assert columns_of(tmp_path / "run") == [
        "epoch",
        "loss",
        "val_loss",
        "val_map_at_r",
        "val_pr_auc",
        "val_recall_at_1",
    ]
    assert not (tmp_path / "run.unfinished").exists()
    assert set(result.details["decision"]) & {"max_distance", "refused"}
    assert ("Training on both", 2, 2) in told
    assert ("Training on both", 0, 2) in told
    assert [one.epoch for one in result.history] == [1, 2]
    assert ("Decoding pictures", 60, 60) in told


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_tower_keeps_its_weights_and_a_trained_one_does_not(
    shop, tmp_path, frozen
):
    catalog, hand, mined = shop
    plan = TrainPlan(
        image=ImageSettings(frozen=frozen),
        words=QUICK.words,
        encoder=QUICK.encoder,
        training=TrainingSettings(epochs=1, seed=4),
        validation=0,
        test=0,
    )
    train_run(catalog, tmp_path / "run", hand=hand, mined=mined, plan=plan)
    found = TrainedEncoder.load(tmp_path / "run")
    # The tower is the first thing that the seed decides.
    tf.keras.utils.set_random_seed(4)
    before = build_image_tower("small").model.get_weights()
    after = found.towers[0].model.get_weights()
    same = [np.array_equal(a, b) for a, b in zip(before, after)]
    assert all(same) if frozen else not any(same)
    assert (found.head.get_layer("missing_text").get_weights()[0] != 0).any()
    assert TrainedEncoder.load(tmp_path / "run").details["decision"] == {
        "refused": "there were no validation pairs."
    }


def test_raw_features_are_not_trained(shop, tmp_path):
    catalog, hand, _ = shop
    train_run(
        catalog,
        tmp_path / "raw",
        hand=hand,
        plan=TrainPlan(raw=True, words=QUICK.words),
    )
    trained = TrainedEncoder.load(tmp_path / "raw")
    assert trained.dim == 576 + 8
    assert read_table(tmp_path / "raw" / "history.csv").rows == []


def test_all_trainings_share_one_split_and_validate_by_hand(shop, tmp_path):
    catalog, hand, mined = shop
    details = {}
    for train_on in ("hand", "mined", "both"):
        plan = replace(WORDS_ONLY, train_on=train_on, training=training(epochs=1))
        out = tmp_path / train_on
        details[train_on] = train_run(
            catalog, out, hand=hand, mined=mined, plan=plan
        ).details
    splits = {(tmp_path / on / "split.parquet").read_bytes() for on in details}
    assert len(splits) == 1
    counts = {on: one["pairs"] for on, one in details.items()}
    assert len({str(one["validation"]) for one in counts.values()}) == 1
    assert counts["hand"]["train"] != counts["mined"]["train"]
    assert counts["both"]["train"]["pairs"] > counts["mined"]["train"]["pairs"]


def test_what_cannot_be_trained_is_refused(shop, tmp_path):
    catalog, hand, _ = shop
    with pytest.raises(SimprodError, match="there are no hand or mined pairs"):
        train_run(catalog, tmp_path / "a", plan=QUICK)
    with pytest.raises(SimprodError, match="there are no mined pairs"):
        train_run(catalog, tmp_path / "a", hand=hand, plan=TrainPlan(train_on="mined"))
    similar = hand.where(hand.labels == 1)
    # To npairs, the default, all others in a batch are dissimilar.
    plan = replace(QUICK, training=training(loss=LossSettings("contrastive")))
    with pytest.raises(SimprodError, match="needs similar and dissimilar pairs"):
        train_run(catalog, tmp_path / "a", hand=similar, plan=plan)
    split = leaky(catalog)
    with pytest.raises(SimprodError, match="the split leaks"):
        train_run(catalog, tmp_path / "a", hand=hand, split=split, plan=QUICK)
    assert not (tmp_path / "a").exists()


class Interrupts:
    """Progress that stops the training after some epochs, and tells of them."""

    def __init__(self, after=None):
        self.after, self.epochs, self.said = after, [], set()

    def __call__(self, what, done, total):
        if what.startswith("Training on"):
            self.epochs.append(done)
            self.said.add(what)
            if done == self.after:
                raise KeyboardInterrupt


def test_an_interrupted_training_goes_on_where_it_stopped(shop, tmp_path):
    catalog, hand, _ = shop
    plan = replace(WORDS_ONLY, train_on="hand", training=training(epochs=3))

    def train(out, progress, plan=plan):
        return train_run(
            catalog, tmp_path / out, hand=hand, plan=plan, progress=progress
        )

    whole = train("whole", Interrupts())
    with pytest.raises(KeyboardInterrupt):
        train("parts", Interrupts(after=2))
    assert (tmp_path / "parts.unfinished").is_dir()
    assert not (tmp_path / "parts").exists()
    rest = Interrupts()
    found = train("parts", rest)
    assert rest.epochs[:2] == [2, 3]
    assert rest.said == {"Training on hand, going on after epoch 2"}
    assert found.fingerprint == whole.fingerprint
    assert found.details == whole.details
    for name in ("history.csv", "split.parquet"):
        one, other = (tmp_path / out / name for out in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / "parts.unfinished").exists()


@pytest.mark.slow
def test_an_interrupted_training_on_shards_goes_on_where_it_stopped(shop, tmp_path):
    catalog, hand, mined = shop
    shards = in_shards(mined, tmp_path / "mined")
    plan = replace(WORDS_ONLY, training=training(epochs=3))
    told = []

    def train(out, interrupts):
        def progress(what, done, total):
            told.append((out, what))
            interrupts(what, done, total)

        return train_run(
            catalog, tmp_path / out, hand=hand, mined=shards, plan=plan,
            progress=progress,
        )  # fmt: skip

    whole = train("whole", Interrupts())
    with pytest.raises(KeyboardInterrupt):
        train("parts", Interrupts(after=2))
    (count,) = (tmp_path / "parts.unfinished").glob("pairs-*.npz")
    assert count.stat().st_size
    told.clear()
    found = train("parts", Interrupts())
    # Counted once, and not again.
    assert ("parts", "Counting mined pairs") not in told
    assert found.fingerprint == whole.fingerprint
    assert found.details == whole.details
    assert not (tmp_path / "parts.unfinished").exists()


@pytest.mark.slow
def test_a_training_of_other_settings_takes_nothing_up(shop, tmp_path):
    catalog, hand, _ = shop
    plan = replace(WORDS_ONLY, train_on="hand", training=training(epochs=2))
    with pytest.raises(KeyboardInterrupt):
        train_run(
            catalog, tmp_path / "run", hand=hand, plan=plan, progress=Interrupts(1)
        )
    other, told = replace(plan, training=training(epochs=2, seed=9)), Interrupts()
    train_run(catalog, tmp_path / "run", hand=hand, plan=other, progress=told)
    assert told.epochs[:3] == [0, 1, 2]
    assert told.said == {"Training on hand"}
    assert not (tmp_path / "run.unfinished").exists()


@pytest.mark.slow
def test_a_training_on_a_changed_catalogue_takes_nothing_up(shop, tmp_path):
    catalog, hand, _ = shop
    plan = replace(WORDS_ONLY, train_on="hand", training=training(epochs=2))
    with pytest.raises(KeyboardInterrupt):
        train_run(
            catalog, tmp_path / "run", hand=hand, plan=plan, progress=Interrupts(1)
        )
    titles = catalog.titles.copy()
    titles[0] = "a title of words that no other product has"
    told = Interrupts()
    changed = replace(catalog, titles=titles)
    train_run(changed, tmp_path / "run", hand=hand, plan=plan, progress=told)
    assert told.epochs[0] == 0


def test_a_folder_of_other_files_is_not_replaced(shop, tmp_path):
    catalog, hand, _ = shop
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(SimprodError, match="are no trained encoder and would be lost"):
        train_run(catalog, tmp_path, hand=hand, plan=WORDS_ONLY)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    run = tmp_path / "run"
    for options in ({"tensorboard": run / "logs"}, {"store": run / "features"}):
        with pytest.raises(SimprodError, match="would be lost there"):
            train_run(catalog, run, hand=hand, plan=WORDS_ONLY, **options)


def test_groups_train_without_any_pair(shop, tmp_path):
    catalog, _, _ = shop
    plan = replace(
        WORDS_ONLY,
        train_on="groups",
        training=training(loss=LossSettings("arcface"), batch=BatchSettings(size=16)),
    )
    result = train_run(catalog, tmp_path / "run", plan=plan)
    assert columns_of(tmp_path / "run") == [
        "epoch",
        "loss",
        "val_map_at_r",
        "val_pr_auc",
        "val_recall_at_1",
    ]
    assert result.details["pairs"]["validation"]["similar"] > 0
    assert result.details["settings"]["training"]["loss"]["name"] == "arcface"


def test_drawn_negatives_are_used(shop, tmp_path):
    catalog, hand, _ = shop
    similar = hand.where(hand.labels == 1)
    negatives = NegativeSettings(hard=1, random=2, refresh_epochs=1)
    plan = replace(WORDS_ONLY, train_on="hand", training=training(negatives=negatives))
    train_run(catalog, tmp_path / "run", hand=similar, plan=plan)
    assert len(read_table(tmp_path / "run" / "history.csv").rows) == 2


def leaky(catalog):
    return Split({id: ("train", "test")[i % 2] for i, id in enumerate(catalog.ids)})


def test_a_split_that_leaks_may_be_allowed_and_is_warned_of(shop, tmp_path, caplog):
    catalog, hand, _ = shop
    # Every second product is on a side: pairs within them.
    more = canonical_pairs(
        [*catalog.ids, *catalog.ids[::2]],
        [*np.roll(catalog.ids, 2), *np.roll(catalog.ids, 6)[::2]],
        [1] * 60 + [0] * 30,
    )
    split = leaky(catalog)
    plan = replace(WORDS_ONLY, train_on="hand", training=training(epochs=1))
    result = train_run(
        catalog, tmp_path / "run", hand=more, split=split, allow_leaks=True, plan=plan
    )
    assert "the split leaks" in caplog.text
    assert result.details["products"] == {"train": 30, "validation": 0, "test": 30}
    assert read_split(tmp_path / "run" / "split.parquet") == split


def test_a_split_of_more_products_serves(shop, tmp_path):
    catalog, hand, _ = shop
    train_run(
        catalog, tmp_path / "whole", hand=hand, plan=replace(WORDS_ONLY, raw=True)
    )
    split = read_split(tmp_path / "whole" / "split.parquet")
    some = catalog.take(np.arange(45))
    plan = replace(
        WORDS_ONLY, train_on="hand", training=training(negatives=NegativeSettings(1))
    )
    fewer = hand.within(some.ids)
    result = train_run(some, tmp_path / "some", hand=fewer, split=split, plan=plan)
    assert result.details["pairs"]["train"]["pairs"] > 0


def in_shards(pairs, folder):
    """The pairs in three shards."""
    for number in range(3):
        some = pairs.where(np.arange(len(pairs)) % 3 == number)
        write_pairs(some, folder / f"part-{number:05d}.parquet")
    return PairShards.open(folder)


def test_mined_shards_train_on_as_many_pairs_as_their_file(shop, tmp_path):
    catalog, hand, mined = shop
    plan = replace(WORDS_ONLY, training=training(epochs=1))
    details = [
        train_run(
            catalog, tmp_path / f"run{number}", hand=hand, mined=some, plan=plan
        ).details
        for number, some in enumerate((in_shards(mined, tmp_path / "mined"), mined))
    ]
    assert details[0]["pairs"] == details[1]["pairs"]
    assert details[0]["pairs"]["train"]["pairs"] > 100
    assert not (tmp_path / "run0.unfinished").exists()


def test_tensorboard_has_scalars_and_embeddings(shop, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    catalog, hand, _ = shop
    plan = replace(WORDS_ONLY, train_on="hand", training=training(epochs=2))
    board = tmp_path / "board"
    train_run(catalog, tmp_path / "run", hand=hand, plan=plan, tensorboard=board)
    # Keras' own files; of validation Keras writes to a folder of its own.
    found = {}
    for folder in ("train", "validation"):
        events = EventAccumulator(str(board / folder)).Reload()
        for tag in events.Tags()["tensors"]:
            found[f"{folder}/{tag}"] = [one.step for one in events.Tensors(tag)]
    assert found["train/epoch_loss"] == [0, 1]
    assert found["validation/epoch_pr_auc"] == [0, 1]
    vectors = (board / "projector" / "vectors.tsv").read_text().splitlines()
    assert len(vectors) == 60
    assert (board / "projector" / "sprite.png").exists()


def test_mixed_precision_saves_float32_and_its_threshold(shop, tmp_path):
    catalog, hand, _ = shop
    plan = replace(
        WORDS_ONLY,
        train_on="hand",
        training=training(epochs=1, hardware=Hardware(precision="mixed_bfloat16")),
    )
    result = train_run(catalog, tmp_path / "run", hand=hand, plan=plan)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    trained = TrainedEncoder.load(tmp_path / "run")
    layers = trained.head.layers
    assert {one.compute_dtype for one in layers} == {"float32", "int32"}
    assert {one.dtype for one in trained.head.weights} == {tf.float32}
    # The threshold is one of the distances that the saved encoder itself computes.
    validation = read_split(tmp_path / "run" / "split.parquet").ids("validation")
    pairs = hand.within(validation)
    first, second = (
        trained.encode([catalog[id] for id in ids])
        for ids in (pairs.anchor_ids, pairs.other_ids)
    )
    expected = choose_threshold(
        np.linalg.norm(first - second, axis=1), pairs.labels, precision=plan.precision
    )
    found = result.details["decision"]["max_distance"]
    assert found == pytest.approx(expected.max_distance, abs=1e-5)


@pytest.mark.slow
def test_mirrored_on_one_device_comes_to_the_same(shop, tmp_path):
    catalog, hand, _ = shop
    found = []
    for strategy in ("none", "mirrored"):
        plan = replace(
            WORDS_ONLY,
            encoder=EncoderSettings(embedding_dim=8, dropout=0),
            train_on="hand",
            training=training(epochs=1, hardware=Hardware(strategy)),
        )
        train_run(catalog, tmp_path / strategy, hand=hand, plan=plan)
        found.append(TrainedEncoder.load(tmp_path / strategy).head.get_weights())
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_several_machines_need_their_cluster(shop, tmp_path, monkeypatch):
    catalog, hand, _ = shop
    monkeypatch.delenv("TF_CONFIG", raising=False)
    plan = replace(
        WORDS_ONLY,
        train_on="hand",
        training=training(hardware=Hardware("multi-worker")),
    )
    with pytest.raises(SimprodError, match="TF_CONFIG, which is not set; on the first"):
        train_run(catalog, tmp_path / "run", hand=hand, plan=plan)
    assert list(tmp_path.iterdir()) == []
