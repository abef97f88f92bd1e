"""Catalogue and labelled pairs -> a trained encoder in a folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from simprod_tf.atomic import whole_folder
from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs, join_pairs
from simprod_tf.data.split import Split, check_split, split_catalog, write_split
from simprod_tf.data.tables import write_table
from simprod_tf.errors import SimprodError, ThresholdError
from simprod_tf.features.inputs import decode_catalog, extract_features
from simprod_tf.features.text import title_words
from simprod_tf.features.word_vectors import (
    NO_WORDS,
    WordVectors,
    load_word_vectors,
    train_word_vectors,
)
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.model.alexnet import (
    build_alexnet,
    load_alexnet_weights,
)
from simprod_tf.model.encoder import EncoderSettings, build_encoder, build_head
from simprod_tf.pipeline.plan import (
    ImageTowerSettings,
    TrainPlan,
    WordSettings,
)
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.trained import TrainedEncoder
from simprod_tf.training import EpochReport, fit_encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training came to."""

    folder: Path
    fingerprint: str
    details: Mapping[str, Any]


def train_run(
    catalog: Catalog,
    out: str | Path,
    *,
    hand: Pairs | None = None,
    mined: Pairs | None = None,
    split: Split | None = None,
    plan: TrainPlan | None = None,
    progress: Progress = silent,
) -> TrainResult:
    """Trains an encoder and writes it to the folder `out`, whole or not at all.

    Beside the encoder (see `TrainedEncoder`) stand `split.parquet` and `history.csv`.

    Args:
        catalog: The products.
        out: The folder to write; an earlier one is replaced.
        hand, mined: Labelled pairs with ids of the catalogue; one of them is needed.
        split: Where each product belongs, or None to split by connected component.
        plan: Settings.
        progress: Told how far the work is.

    Raises:
        SimprodError: no pair is left to train on, or the split leaks.
    """
    plan = plan or TrainPlan()
    tf.keras.utils.set_random_seed(plan.training.seed)
    split = _split(catalog, split, hand, plan)
    train, validation = _sides(split, hand, mined, plan)
    vectors = _word_vectors(catalog, plan.words, progress)
    tower = _image_tower(catalog, plan.image)
    encoder_settings = EncoderSettings(embedding_dim=0) if plan.raw else plan.encoder
    head = build_head(_width(tower), vectors.vectors, encoder_settings)
    trained = TrainedEncoder(
        build_encoder(tower, head), plan.image.pictures(), vectors.words
    )
    history: list[EpochReport] = []
    if not plan.raw:
        history = _fit(
            catalog, trained, tower, head, (train, validation), plan, progress
        )
    details = {
        "settings": asdict(plan),
        "products": split.counts(),
        "pairs": {"train": _pair_counts(train), "validation": _pair_counts(validation)},
        "decision": _decision(catalog, trained, validation, plan.precision),
    }
    trained = TrainedEncoder(
        trained.model, trained.pictures, trained.vocabulary, details
    )
    with whole_folder(out) as folder:
        write_split(split, folder / "split.parquet")
        _write_history(history, folder / "history.csv")
        trained.save(folder)
    return TrainResult(Path(out), trained.fingerprint, details)


def _split(
    catalog: Catalog, split: Split | None, hand: Pairs | None, plan: TrainPlan
) -> Split:
    if split is not None:
        check_split(catalog, split, hand_pairs=hand)
        return split
    return split_catalog(
        catalog,
        hand_pairs=hand,
        validation=plan.validation,
        test=plan.test,
        # Not the seed of the training: models to be compared share their split.
        seed=0,
    )


def _sides(
    split: Split, hand: Pairs | None, mined: Pairs | None, plan: TrainPlan
) -> tuple[Pairs, Pairs | None]:
    """Returns the pairs to train on and those to validate on."""
    if mined is not None:
        weights = mined.weights * np.float32(plan.training.mined_weight)
        columns = (mined.anchor_ids, mined.other_ids, mined.labels, weights)
        mined = Pairs(*columns, mined.sources)
    chosen = {"hand": hand, "mined": mined, "both": _joined(hand, mined)}[plan.train_on]
    judge = hand if hand is not None else mined
    if chosen is None or judge is None:
        needed = "hand or mined" if plan.train_on == "both" else plan.train_on
        raise SimprodError(f"there are no {needed} pairs; give a file of them.")
    train = chosen.within(split.ids("train"))
    validation = judge.within(split.ids("validation"))
    if not plan.raw and not 0 < train.num_positives < len(train):
        raise SimprodError(
            f"training needs similar and dissimilar pairs; of {len(chosen)} pairs "
            f"{len(train)} lie on the training side, {train.num_positives} of them "
            "similar. Give more pairs, or a smaller validation and test share."
        )
    return train, validation if len(validation) else None


def _joined(hand: Pairs | None, mined: Pairs | None) -> Pairs | None:
    if hand is None or mined is None:
        return hand if mined is None else mined
    return join_pairs(hand, mined)


def _word_vectors(
    catalog: Catalog, settings: WordSettings, progress: Progress
) -> WordVectors:
    titles = [title for title in catalog.titles if title]
    if not titles:
        return NO_WORDS
    progress("Word vectors", 0, 1)
    words = title_words(titles)
    if settings.path is not None:
        known = {word for title in words for word in title}
        vectors = load_word_vectors(settings.path, keep=known)
    else:
        vectors = train_word_vectors(
            words,
            dim=settings.dim,
            epochs=settings.epochs,
            min_count=settings.min_count,
        )
    progress("Word vectors", 1, 1)
    return vectors


def _image_tower(
    catalog: Catalog, settings: ImageTowerSettings
) -> tf.keras.Model | None:
    if not np.any(catalog.images != ""):
        return None
    tower = build_alexnet(settings.preset, output_layer=settings.output_layer)
    if settings.weights is not None:
        load_alexnet_weights(tower, settings.weights)
    tower.trainable = not settings.frozen
    return tower


def _width(tower: tf.keras.Model | None) -> int:
    return 0 if tower is None else int(tower.output_shape[-1])


def _fit(
    catalog: Catalog,
    trained: TrainedEncoder,
    tower: tf.keras.Model | None,
    head: tf.keras.Model,
    pairs: tuple[Pairs, Pairs | None],
    plan: TrainPlan,
    progress: Progress,
) -> list[EpochReport]:
    """Fits the whole encoder, or its head on features that are computed once."""
    arrays = trained.arrays(list(catalog.titles), list(catalog.images))
    model = trained.model
    if tower is not None and plan.image.frozen:
        model = head
        arrays["image_features"] = extract_features(
            catalog.images,
            tower,
            trained.pictures,
            progress=about(progress, "Features of the pictures"),
        )
    elif tower is not None:
        arrays["image"] = decode_catalog(
            catalog.images,
            trained.pictures,
            progress=about(progress, "Decoding pictures"),
        )
    train, validation = pairs
    what = f"Training on {plan.train_on} pairs"
    history = fit_encoder(
        model,
        arrays,
        catalog,
        train,
        validation=validation,
        settings=plan.training,
        on_epoch=lambda one: progress(what, one.epoch, one.epochs),
    )
    progress(what, plan.training.epochs, plan.training.epochs)
    return history


def _decision(
    catalog: Catalog, trained: TrainedEncoder, pairs: Pairs | None, precision: float
) -> dict[str, Any]:
    """Returns the threshold for the stated precision, or why there is none."""
    if pairs is None:
        return {"refused": "there were no validation pairs."}
    ids = sorted({*pairs.anchor_ids, *pairs.other_ids})
    embeddings = dict(zip(ids, trained.encode([catalog[id] for id in ids])))
    distances = [
        float(np.linalg.norm(embeddings[a] - embeddings[b]))
        for a, b in zip(pairs.anchor_ids, pairs.other_ids)
    ]
    try:
        decision = choose_threshold(
            np.array(distances), pairs.labels, precision=precision
        )
    except ThresholdError as error:
        log.info("%s", error)
        return {"refused": str(error)}
    return decision.to_json()


def _pair_counts(pairs: Pairs | None) -> dict[str, int]:
    if pairs is None:
        return {"pairs": 0, "similar": 0}
    return {"pairs": len(pairs), "similar": pairs.num_positives}


def _write_history(history: list[EpochReport], path: Path) -> None:
    numbers = ("loss", "validation_loss", "validation_pr_auc")
    schema = pa.schema(
        [("epoch", pa.int64()), *((name, pa.float64()) for name in numbers)]
    )
    rows = [{name: getattr(one, name) for name in schema.names} for one in history]
    write_table(pa.Table.from_pylist(rows, schema=schema), path)
