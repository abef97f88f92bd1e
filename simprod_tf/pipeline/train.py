"""Catalogue and labelled pairs -> a trained encoder in a folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError, ThresholdError
from simprod_tf.features.inputs import decode_catalog
from simprod_tf.features.product_inputs import known_products
from simprod_tf.features.word_weights import Coverage
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.pipeline.plan import TrainPlan
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.sources import prepare_sources, stored_features
from simprod_tf.trained import TrainedEncoder, pictures_of
from simprod_tf.training import EpochReport, fit_encoder

log = logging.getLogger(__name__)

_BATCH = 64


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        folder, fingerprint: Of the encoder.
        details: What its manifest keeps: settings, counts, the threshold.
        coverage: Of the titles' words, or None without titles.
        unknown_ids: Products of which the encoder knows nothing.
    """

    folder: Path
    fingerprint: str
    details: Mapping[str, Any]
    coverage: Coverage | None
    unknown_ids: tuple[str, ...]


def train_run(
    catalog: Catalog,
    out: str | Path,
    *,
    hand: Pairs | None = None,
    mined: Pairs | None = None,
    split: Split | None = None,
    tables: Sequence[VectorTable] = (),
    store: str | Path | None = None,
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
        tables: Precomputed vectors, as further sources of features.
        store: Folder of the features of frozen image towers, shared by trainings;
            None for `features` beside `out`.
        plan: Settings.
        progress: Told how far the work is.

    Raises:
        SimprodError: no pair is left to train on, or the split leaks.
    """
    plan = plan or TrainPlan()
    tf.keras.utils.set_random_seed(plan.training.seed)
    split = _split(catalog, split, hand, plan)
    train, validation = _sides(split, hand, mined, plan)
    sources = prepare_sources(catalog, plan, tables, progress=progress)
    encoder_settings = EncoderSettings(embedding_dim=0) if plan.raw else plan.encoder
    if not sources.sources:
        raise SimprodError("the catalogue has no picture, no word and no attribute.")
    head = build_head(sources.sources, encoder_settings)
    trained = TrainedEncoder(head, sources.towers, sources.inputs)
    run = _Run(
        catalog if not plan.raw else _products_of(catalog, validation),
        trained,
        plan,
        {table.name: table for table in tables},
        Path(store) if store is not None else Path(out).parent / "features",
        progress,
    )
    arrays = run.arrays()
    history: list[EpochReport] = []
    if not plan.raw:
        history = run.fit(arrays, train, validation)
    details = {
        "settings": asdict(plan),
        "products": split.counts(),
        "pairs": {"train": _pair_counts(train), "validation": _pair_counts(validation)},
        "words": None if sources.coverage is None else sources.coverage.to_json(),
        "decision": _decision(run.distances(arrays, validation), validation, plan),
    }
    trained = replace(trained, details=details)
    with whole_folder(out) as folder:
        write_split(split, folder / "split.parquet")
        _write_history(history, folder / "history.csv")
        trained.save(folder)
    unknown = run.catalog.ids[~known_products(arrays)]
    return TrainResult(
        Path(out), trained.fingerprint, details, sources.coverage, tuple(unknown)
    )


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


def _products_of(catalog: Catalog, pairs: Pairs | None) -> Catalog:
    """Returns the products of some pairs."""
    if pairs is None:
        return catalog.take(np.zeros(0, np.int64))
    ids = sorted({*pairs.anchor_ids, *pairs.other_ids})
    return catalog.take(catalog.rows_of(ids))


@dataclass(frozen=True, eq=False)
class _Run:
    """One encoder on one catalogue: its inputs as arrays, and what works on them."""

    catalog: Catalog
    trained: TrainedEncoder
    plan: TrainPlan
    tables: Mapping[str, VectorTable]
    store: Path
    progress: Progress

    def model(self) -> tf.keras.Model:
        """Returns what is fitted: the head alone where towers are frozen."""
        frozen = self.plan.image.frozen
        return self.trained.head if frozen else self.trained.model

    def arrays(self) -> dict[str, Any]:
        """Returns the model's inputs, a row a product; large ones lie in files."""
        arrays: dict[str, Any] = self.trained.arrays(list(self.catalog), self.tables)
        for tower in self.trained.towers:
            if self.plan.image.frozen:
                features = stored_features(
                    tower,
                    self.catalog,
                    self.store,
                    dtype=self.plan.image.dtype,
                    progress=self.progress,
                ).features
                arrays[f"{tower.name}_features"] = features
                present = np.asarray(features.present, np.float32)
                arrays["has_image"] = present[:, np.newaxis]
            else:
                arrays[f"{tower.name}_pixels"] = decode_catalog(
                    self.catalog.images,
                    pictures_of(tower),
                    progress=about(self.progress, "Decoding pictures"),
                )
        return arrays

    def fit(
        self, arrays: Mapping[str, Any], train: Pairs, validation: Pairs | None
    ) -> list[EpochReport]:
        """Fits the model in place."""
        what = f"Training on {self.plan.train_on} pairs"
        history = fit_encoder(
            self.model(),
            arrays,
            self.catalog,
            train,
            validation=validation,
            settings=self.plan.training,
            on_epoch=lambda one: self.progress(what, one.epoch, one.epochs),
        )
        epochs = self.plan.training.epochs
        self.progress(what, epochs, epochs)
        return history

    def distances(self, arrays: Mapping[str, Any], pairs: Pairs | None) -> np.ndarray:
        """Returns the [N] distances of pairs."""
        if pairs is None:
            return np.zeros(0, np.float32)
        rows = np.unique(
            [
                self.catalog.rows_of(pairs.anchor_ids),
                self.catalog.rows_of(pairs.other_ids),
            ]
        )
        forward = tf.function(self.model(), reduce_retracing=True)
        blocks = []
        for start in range(0, len(rows), _BATCH):
            some = rows[start : start + _BATCH]
            inputs = {name: tf.constant(array[some]) for name, array in arrays.items()}
            blocks.append(forward(inputs).numpy())
        embeddings = dict(zip(self.catalog.ids[rows], np.concatenate(blocks)))
        return np.array(
            [
                np.linalg.norm(embeddings[a] - embeddings[b])
                for a, b in zip(pairs.anchor_ids, pairs.other_ids)
            ]
        )


def _decision(
    distances: np.ndarray, pairs: Pairs | None, plan: TrainPlan
) -> dict[str, Any]:
    """Returns the threshold for the stated precision, or why there is none."""
    if pairs is None:
        return {"refused": "there were no validation pairs."}
    try:
        decision = choose_threshold(distances, pairs.labels, precision=plan.precision)
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
