"""Catalogue and pairs -> a run folder, in both modes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.data.split import Split, read_split
from simprod_tf.data.tables import read_table
from simprod_tf.errors import SimprodError
from simprod_tf.model.encoder import EncoderSettings
from simprod_tf.model.image_tower import build_image_tower
from simprod_tf.pipeline.plan import ImageSettings, TrainPlan, WordSettings
from simprod_tf.pipeline.train import train_run
from simprod_tf.trained import TrainedEncoder
from simprod_tf.training import TrainingSettings

QUICK = TrainPlan(
    words=WordSettings(dim=8, epochs=2, min_count=1),
    encoder=EncoderSettings(embedding_dim=8, hidden_units=16),
    training=TrainingSettings(epochs=2, batch_size=16),
    precision=0.5,
)


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
    assert set(result.details["decision"]) & {"max_distance", "refused"}
    assert ("Training on both pairs", 2, 2) in told
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
        plan = TrainPlan(train_on=train_on, words=QUICK.words, training=QUICK.training)
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
    with pytest.raises(SimprodError, match="needs similar and dissimilar pairs"):
        train_run(catalog, tmp_path / "a", hand=similar, plan=QUICK)
    leaky = Split({id: ("train", "test")[i % 2] for i, id in enumerate(catalog.ids)})
    with pytest.raises(SimprodError, match="the split leaks"):
        train_run(catalog, tmp_path / "a", hand=hand, split=leaky, plan=QUICK)
    assert not (tmp_path / "a").exists()
