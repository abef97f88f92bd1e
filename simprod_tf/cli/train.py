"""The sub-command train."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simprod_tf.cli import train_options as of
from simprod_tf.cli.console import bars, labelled_pairs, options, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.cli.features import (
    ExtraWords,
    FeatureType,
    ImageSize,
    ImageTowers,
    ImageWeights,
    MinCount,
    OutputLayer,
    WordVectorPath,
    tower_settings,
)

if TYPE_CHECKING:
    from simprod_tf.data.catalog import Catalog
    from simprod_tf.data.pair_shards import PairShards
    from simprod_tf.data.pairs import Pairs
    from simprod_tf.data.vectors import VectorTable
    from simprod_tf.training.settings import EpochReport


def train(
    catalog: CatalogPath,
    out: of.OutFolder,
    hand_pairs: of.HandPairs = None,
    mined_pairs: of.MinedPairs = None,
    train_on: of.TrainOn = "",
    mined_weight: of.MinedWeight = 1.0,
    split: of.Split = None,
    validation: of.Validation = 0.15,
    test: of.Test = 0.25,
    allow_leaks: of.AllowLeaks = False,
    precision: of.Precision = 0.9,
    image_tower: ImageTowers = None,
    image_weights: ImageWeights = None,
    output_layer: OutputLayer = None,
    image_size: ImageSize = None,
    freeze_image_tower: of.FreezeImageTower = None,
    train_layers: of.TrainLayers = ".*",
    head_epochs: of.HeadEpochs = 0,
    tower_rate: of.TowerRate = 1.0,
    min_crop: of.MinCrop = 0.8,
    colour: of.Colour = 0.1,
    erasing: of.Erasing = 0.0,
    feature_store: of.FeatureStore = None,
    feature_type: FeatureType = "float16",
    word_vectors: WordVectorPath = None,
    word_training: of.WordTraining = "skipgram",
    word_weights: of.WordWeights = "idf",
    min_count: MinCount = 1,
    extra_words: ExtraWords = 0,
    unknown_words: of.UnknownWords = "drop",
    buckets: of.Buckets = None,
    freeze_words: of.FreezeWords = False,
    word_rate: of.WordRate = 1.0,
    category: of.Category = None,
    number: of.Number = None,
    features: of.Features = None,
    features_column: of.FeaturesColumn = None,
    raw: of.Raw = False,
    embedding_dim: of.EmbeddingDim = 128,
    hidden_units: of.HiddenUnits = 0,
    dropout: of.Dropout = 0.1,
    modality_dropout: of.ModalityDropout = 0.0,
    batch_norm: of.BatchNorm = False,
    loss: of.Loss = "npairs",
    margin: of.Margin = None,
    similar_margin: of.SimilarMargin = 0.3,
    temperature: of.Temperature = 0.1,
    scale: of.Scale = 30.0,
    ramp_epochs: of.RampEpochs = 5,
    batches: of.Batches = None,
    batch_size: of.BatchSize = 128,
    per_group: of.PerGroup = 4,
    hard_negatives: of.HardNegatives = 0,
    refresh_epochs: of.RefreshEpochs = 3,
    random_negatives: of.RandomNegatives = 0.0,
    negatives_column: of.NegativesColumn = None,
    negative_weight: of.NegativeWeight = 0.5,
    epochs: of.Epochs = 40,
    monitor: of.Monitor = None,
    patience: of.Patience = 10,
    learning_rate: of.LearningRate = 1e-3,
    weight_decay: of.WeightDecay = 0.0,
    schedule: of.Schedule = "constant",
    warmup_epochs: of.WarmupEpochs = 0.0,
    clip_norm: of.ClipNorm = None,
    strategy: of.Strategy = "none",
    workers: of.Workers = "",
    worker: of.Worker = None,
    numbers: of.Numbers = "float32",
    xla: of.Xla = False,
    tensorboard: of.Tensorboard = None,
    seed: of.Seed = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Train the encoder on labelled pairs, or on groups of the same product.

    A training that was interrupted goes on where it stopped when it is started again.

    Example: `simprod train shop/catalog.csv --hand-pairs shop/hand_pairs.csv
    --mined-pairs mined.parquet --out runs/both`

    Example: `simprod train photos.csv --image-tower weights/alexnet.npz
    --train-image-tower --loss arcface --schedule cosine --out runs/arcface`

    Example, on the first of two machines: `simprod train /data/catalog.csv
    --mined-pairs /data/mined --workers 10.0.0.1:2222,10.0.0.2:2222 --worker 0
    --out /data/runs/mined`
    """
    given = dict(locals())
    with options():
        given["strategy"] = _strategy(strategy, workers, worker)
    from simprod_tf.data.split import read_split
    from simprod_tf.pipeline.train import train_run

    if not train_on:
        given["train_on"] = "both" if hand_pairs or mined_pairs else "groups"
    with options():
        plan = _plan(given)
    with bars() as progress:
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not (features or features_column or category or number),
            check_pictures=not plan.image.frozen,
        )
        result = train_run(
            products,
            out,
            hand=labelled_pairs(hand_pairs, "hand", products.ids),
            mined=_mined(mined_pairs, products.ids),
            split=None if split is None else read_split(split),
            allow_leaks=allow_leaks,
            tables=_tables(products, features, features_column),
            store=feature_store,
            tensorboard=tensorboard,
            plan=plan,
            progress=progress,
        )
    if result.coverage is not None:
        say(str(result.coverage))
    if result.history:
        say(_kept(result.history, plan.training.monitor))
    if result.unknown_ids:
        say(
            f"{len(result.unknown_ids)} products have nothing that the encoder knows: "
            f"{', '.join(result.unknown_ids[:5])}"
            + (", ..." if len(result.unknown_ids) > 5 else "")
        )
    say(f"Encoder {result.fingerprint} written to {out}; {_decided(result.details)}")


def _strategy(strategy: str, workers: str, worker: int | None) -> str:
    """Returns the strategy's name; `--workers` go where TensorFlow looks for them."""
    if not workers:
        if worker is not None:
            raise ValueError("--worker says which of --workers this is: give both.")
        return strategy
    if worker is None:
        raise ValueError("--workers takes --worker too: which of them this is, from 0.")
    if strategy not in ("none", "multi-worker"):
        raise ValueError(f"--workers train multi-worker, not {strategy}.")
    if os.environ.get("TF_CONFIG"):
        raise ValueError("TF_CONFIG is set, too: unset it, or leave out --workers.")
    from simprod_tf.training.strategy import cluster_config

    addresses = [one.strip() for one in workers.split(",") if one.strip()]
    os.environ["TF_CONFIG"] = cluster_config(addresses, worker)
    return "multi-worker"


def _mined(path: Path | None, ids: np.ndarray) -> Pairs | PairShards | None:
    """Returns mined pairs: those of a folder stay in its shards."""
    from simprod_tf.data.pair_shards import PairShards

    if path is not None and path.is_dir():
        return PairShards.open(path)
    return labelled_pairs(path, "mined", ids)


def _plan(given: dict[str, Any]) -> Any:
    """Returns the TrainPlan of the options, by their names."""
    from simprod_tf.features.augment import AugmentSettings
    from simprod_tf.model.encoder import EncoderSettings
    from simprod_tf.pipeline.plan import (
        AttributeSettings,
        ImageSettings,
        TrainPlan,
        WordSettings,
    )

    towers = tower_settings(
        *(given[n] for n in ("image_tower", "image_weights")),
        *(given[n] for n in ("output_layer", "image_size")),
    )
    frozen = given["freeze_image_tower"]
    if frozen is None:
        frozen = any(one.spec != "small" or one.weights for one in towers)
    buckets = given["buckets"]
    if buckets is None:
        buckets = 0 if given["unknown_words"] == "drop" else 4096
    path = given["word_vectors"]
    return TrainPlan(
        image=ImageSettings(
            towers,
            frozen,
            given["feature_type"],
            AugmentSettings(**_of(given, "min_crop", "colour", "erasing")),
        ),
        words=WordSettings(
            None if path is None else str(path),
            kind=given["word_training"],
            weighting=given["word_weights"],
            unknown=given["unknown_words"],
            buckets=buckets,
            train_words=not given["freeze_words"],
            **_of(given, "min_count", "extra_words"),
        ),
        attributes=AttributeSettings(
            tuple(given["category"] or ()), tuple(given["number"] or ())
        ),
        encoder=EncoderSettings(
            batch_norm=given["batch_norm"] or given["loss"] == "arcface",
            **_of(
                given, "embedding_dim", "hidden_units", "dropout", "modality_dropout"
            ),
        ),
        training=_training(given),
        **_of(given, "train_on", "raw", "validation", "test", "precision"),
    )


def _training(given: dict[str, Any]) -> Any:
    from simprod_tf.training.optimizer import OptimizerSettings
    from simprod_tf.training.settings import (
        BatchSettings,
        FineTuning,
        Hardware,
        LossSettings,
        NegativeSettings,
        TrainingSettings,
    )

    return TrainingSettings(
        loss=LossSettings(
            given["loss"],
            **_of(given, "margin", "similar_margin", "temperature", "scale"),
            **_of(given, "ramp_epochs"),
        ),
        batch=BatchSettings(given["batches"], given["batch_size"], given["per_group"]),
        optimizer=OptimizerSettings(
            **_of(given, "learning_rate", "weight_decay", "schedule"),
            **_of(given, "warmup_epochs", "clip_norm"),
        ),
        negatives=NegativeSettings(
            given["hard_negatives"],
            given["refresh_epochs"],
            given["random_negatives"],
            given["negatives_column"],
            given["negative_weight"],
        ),
        fine_tuning=FineTuning(
            given["train_layers"],
            **_of(given, "head_epochs", "tower_rate", "word_rate"),
        ),
        hardware=Hardware(given["strategy"], given["numbers"], given["xla"]),
        **_of(given, "epochs", "monitor", "patience", "mined_weight", "seed"),
    )


def _of(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names}


def _tables(
    products: Catalog, files: list[Path] | None, columns: list[str] | None
) -> list[VectorTable]:
    from simprod_tf.data.vectors import column_vectors, read_vectors

    with options():
        return [
            *(read_vectors(path) for path in files or ()),
            *(column_vectors(products, column) for column in columns or ()),
        ]


def _kept(history: Sequence[EpochReport], monitor: str | None) -> str:
    """Returns which epoch the encoder is of, and what decided that."""
    from simprod_tf.training.settings import MONITORS

    names = [f"val_{name}" for name in ([monitor] if monitor else MONITORS)]
    name = next((name for name in names if name in history[0].logs), None)
    if name is None:
        return (
            f"Epoch {len(history)}, the last, is kept: the validation side has nothing "
            "to choose by"
        )
    best = max(history, key=lambda one: np.nan_to_num(one.logs[name], nan=-np.inf))
    return f"Epoch {best.epoch} of {len(history)} is kept: {name} {best.logs[name]:.3f}"


def _decided(details) -> str:  # type: ignore[no-untyped-def]
    decision = details["decision"]
    if "refused" in decision:
        return f"no threshold: {decision['refused']}"
    return (
        f"similar up to distance {decision['max_distance']:.3f} (precision at least "
        f"{decision['precision_lower_bound']:.3f} on {decision['num_pairs']} pairs)"
    )
