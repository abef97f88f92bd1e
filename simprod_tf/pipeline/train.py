"""Catalogue and labels -> a trained encoder in a folder."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from simprod_tf.atomic import whole_folder
from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.picture_hash import PictureGroups, near_duplicates
from simprod_tf.data.split import Split, check_split, split_catalog, write_split
from simprod_tf.data.tables import write_table
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import ThresholdError
from simprod_tf.features.pair_shards import PairStream
from simprod_tf.features.product_inputs import known_products
from simprod_tf.features.word_weights import Coverage
from simprod_tf.manifest import fingerprint
from simprod_tf.matching.threshold import choose_threshold
from simprod_tf.pipeline.labels import SideLabels, side_labels
from simprod_tf.pipeline.out_folder import require_outside, require_replaceable
from simprod_tf.pipeline.plan import TrainPlan
from simprod_tf.pipeline.prepare import Prepared, prepare_encoder
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.trained import KIND, TrainedEncoder
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.fit import TrainingSide, ValidationSide, fit_encoder
from simprod_tf.training.precision import FLOAT32, as_float32, precision
from simprod_tf.training.projector import Projector
from simprod_tf.training.settings import EpochReport
from simprod_tf.training.strategy import (
    naming_lost_workers,
    one_by_one,
    strategy_of,
    wait_for_all,
    writes,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        folder, fingerprint: Of the encoder.
        details: What its manifest keeps: settings, counts, the threshold.
        coverage: Of the titles' words, or None without titles.
        unknown_ids: Products of which the encoder knows nothing.
        history: What each epoch came to; those before an interruption, too.
    """

    folder: Path
    fingerprint: str
    details: Mapping[str, Any]
    coverage: Coverage | None
    unknown_ids: tuple[str, ...]
    history: tuple[EpochReport, ...] = ()


def train_run(
    catalog: Catalog,
    out: str | Path,
    *,
    hand: Pairs | None = None,
    mined: Pairs | PairShards | None = None,
    split: Split | None = None,
    allow_leaks: bool = False,
    tables: Sequence[VectorTable] = (),
    store: str | Path | None = None,
    tensorboard: str | Path | None = None,
    plan: TrainPlan | None = None,
    progress: Progress = silent,
) -> TrainResult:
    """Trains an encoder and writes it to the folder `out`, whole or not at all.

    Beside the encoder (see `TrainedEncoder`) stand `split.parquet` and `history.csv`.
    What an interrupted training needs to go on lies in `out` + ".unfinished", and is
    removed at the end.

    Args:
        catalog: The products.
        out: The folder to write; an earlier run's is replaced.
        hand, mined: Labelled pairs with ids of the catalogue; needed but where the plan
            trains on groups. Mined ones may lie in shards: they are read anew each
            epoch, and never all in memory.
        split: Where each product belongs, or None to split by connected component.
        allow_leaks: Use a `split` that leaks.
        tables: Precomputed vectors, as further sources of features.
        store: Folder of the features of frozen image towers, shared by trainings;
            None for `features` beside `out`.
        tensorboard: Folder for TensorBoard, or None.
        plan: Settings.
        progress: Told how far the work is.

    Raises:
        SimprodError: no label is left to train on, the split leaks, or `out` holds
            other files.
    """
    plan = plan or TrainPlan()
    require_replaceable(out, KIND)
    require_outside(out, store, "the features")
    require_outside(out, tensorboard, "TensorBoard's logs")
    near = near_duplicates(catalog, progress=about(progress, "Comparing pictures"))
    split = _split(catalog, split, hand, near, allow_leaks, plan)
    labels = side_labels(
        catalog,
        split,
        hand,
        mined,
        plan,
        memory=_unfinished(Path(out)),
        progress=progress,
    )
    hardware = plan.training.hardware
    strategy = strategy_of(hardware.strategy)
    with contextlib.ExitStack() as stack:
        stack.enter_context(naming_lost_workers(strategy))
        stack.enter_context(precision(hardware.precision))
        stack.enter_context(strategy.scope())
        prepared = prepare_encoder(
            catalog,
            plan,
            tables=tables,
            store=Path(out).parent / "features" if store is None else store,
            progress=progress,
        )
        # A split may know products that this catalogue has not.
        ids = catalog.ids[np.isin(catalog.ids, split.ids("train"))]
        run = _Run(catalog, prepared, labels, ids, near, plan, progress)
        # A store of features has one writer at a time.
        stored = plan.image.frozen and len(prepared.tower_names) > 0
        arrays = one_by_one(strategy, run.arrays) if stored else run.arrays()
        history = run.fit(arrays, Path(out), tensorboard)
        trained = _in_float32(prepared.trained)
    # The threshold is of distances as the saved encoder computes them.
    run = replace(run, prepared=replace(prepared, trained=trained))
    details = {
        "settings": asdict(plan),
        "products": split.counts(),
        "pairs": {
            "train": _pair_counts(labels.train),
            "validation": _pair_counts(labels.validation),
        },
        "words": None if prepared.coverage is None else prepared.coverage.to_json(),
        "decision": run.decision(arrays),
    }
    trained = replace(trained, details=details)
    # Of several workers one writes.
    if writes(strategy):
        with whole_folder(out) as folder:
            write_split(split, folder / "split.parquet")
            _write_history(history, folder / "history.csv")
            trained.save(folder)
        # With what trainings of other settings left behind.
        shutil.rmtree(_unfinished(Path(out)), ignore_errors=True)
    with naming_lost_workers(strategy):
        # Who is done first stays, else the others would take it for lost.
        wait_for_all(strategy)
    unknown = run.products.ids[~known_products(arrays)]
    return TrainResult(
        Path(out),
        trained.fingerprint,
        details,
        prepared.coverage,
        tuple(unknown),
        tuple(history),
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """One training: what it is made of, and its stages."""

    catalog: Catalog
    prepared: Prepared
    labels: SideLabels
    train_ids: np.ndarray
    near: PictureGroups
    plan: TrainPlan
    progress: Progress

    @property
    def products(self) -> Catalog:
        """Those that inputs are needed of: without training only the judging ones."""
        if not self.plan.raw:
            return self.catalog
        pairs = self.labels.validation
        ids = [] if pairs is None else sorted({*pairs.anchor_ids, *pairs.other_ids})
        return self.catalog.take(self.catalog.rows_of(ids))

    def arrays(self) -> dict[str, Any]:
        """Returns the model's inputs."""
        return self.prepared.arrays(self.products, progress=self.progress)

    def fit(
        self, arrays: Mapping[str, Any], out: Path, tensorboard: str | Path | None
    ) -> list[EpochReport]:
        """Fits the model in place."""
        if self.plan.raw:
            return []
        model, training = self.prepared.model, self.plan.training
        shown = _ShownProgress(
            f"Training on {self.plan.train_on}", training.epochs, self.progress
        )
        history = fit_encoder(
            model,
            arrays,
            self.catalog,
            TrainingSide(
                self.labels.train,
                self.train_ids,
                self.labels.classes,
                self.near.component,
            ),
            validation=ValidationSide(
                self.labels.watched,
                self.labels.groups,
                np.flatnonzero(self.labels.groups != ""),
            ),
            settings=training,
            towers=() if self.plan.image.frozen else self.prepared.tower_names,
            augment=self.plan.image.augment,
            backup=self._backup(out),
            callbacks=[shown, *self._shown(model, arrays, tensorboard)],
        )
        # Where it stopped early, too.
        self.progress(shown.what, training.epochs, training.epochs)
        return history

    def decision(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the threshold for the stated precision, or why there is none."""
        pairs = self.labels.validation
        if pairs is None:
            return {"refused": "there were no validation pairs."}
        try:
            return choose_threshold(
                self._distances(arrays, pairs),
                pairs.labels,
                precision=self.plan.precision,
                fingerprint=self.prepared.trained.fingerprint,
                date=date.today().isoformat(),
            ).to_json()
        except ThresholdError as error:
            log.info("%s", error)
            return {"refused": str(error)}

    def _distances(self, arrays: Mapping[str, Any], pairs: Pairs) -> np.ndarray:
        """Returns the [N] distances of pairs."""
        return Embedder(self.prepared.model, arrays).distances(
            self.products.rows_of(pairs.anchor_ids),
            self.products.rows_of(pairs.other_ids),
        )

    def _backup(self, out: Path) -> Path:
        """Returns where this training goes on from; another one has another place."""
        parts = [("plan", json.dumps(asdict(self.plan), sort_keys=True).encode())]
        for name in ("ids", "titles", "images", "groups"):
            column = getattr(self.catalog, name)
            parts.append((f"catalog {name}", "\n".join(column).encode()))
        parts.append(("training side", "\n".join(self.train_ids).encode()))
        train = self.labels.train
        pairs = train.hand if isinstance(train, PairStream) else train
        if isinstance(train, PairStream):
            parts.append(("shards", json.dumps(train.shards.facts()).encode()))
        for name in ("anchor_ids", "other_ids", "labels", "weights"):
            column = () if pairs is None else getattr(pairs, name)
            parts.append((name, "\n".join(map(str, column)).encode()))
        return _unfinished(out) / fingerprint(parts)

    def _shown(
        self,
        model: tf.keras.Model,
        arrays: Mapping[str, Any],
        tensorboard: str | Path | None,
    ) -> list[tf.keras.callbacks.Callback]:
        if tensorboard is None:
            return []
        return [
            tf.keras.callbacks.TensorBoard(str(tensorboard), profile_batch=0),
            Projector(Path(tensorboard) / "projector", model, arrays, self.catalog),
        ]


class _ShownProgress(tf.keras.callbacks.Callback):
    """Tells how many epochs are done, and first that an earlier training goes on."""

    def __init__(self, what: str, epochs: int, progress: Progress) -> None:
        super().__init__()
        self.what, self._epochs, self._progress = what, epochs, progress
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self._begun:
            return
        self._begun = True
        if epoch:
            self.what += f", going on after epoch {epoch}"
        self._progress(self.what, epoch, self._epochs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        log.info("epoch %d of %d: %s", epoch + 1, self._epochs, logs)
        self._progress(self.what, epoch + 1, self._epochs)


def _unfinished(out: Path) -> Path:
    return out.with_name(f"{out.name}.unfinished")


def _split(
    catalog: Catalog,
    split: Split | None,
    hand: Pairs | None,
    near: PictureGroups,
    allow_leaks: bool,
    plan: TrainPlan,
) -> Split:
    if split is not None:
        check_split(catalog, split, hand_pairs=hand, near=near, allow_leaks=allow_leaks)
        return split
    return split_catalog(
        catalog,
        hand_pairs=hand,
        near=near,
        validation=plan.validation,
        test=plan.test,
        # Not the seed of the training: models to be compared share their split.
        seed=0,
    )


def _in_float32(trained: TrainedEncoder) -> TrainedEncoder:
    """Returns the encoder as it is saved, whatever it was trained in."""
    if tf.keras.mixed_precision.global_policy().name == FLOAT32:
        return trained
    towers = [replace(one, model=as_float32(one.model)) for one in trained.towers]
    return replace(trained, head=as_float32(trained.head), towers=tuple(towers))


def _pair_counts(pairs: Pairs | PairStream | None) -> dict[str, int]:
    if pairs is None:
        return {"pairs": 0, "similar": 0}
    return {"pairs": len(pairs), "similar": pairs.num_positives}


def _write_history(history: Sequence[EpochReport], path: Path) -> None:
    """Writes a row an epoch, a column a measure."""
    names = sorted({name for one in history for name in one.logs})
    rows = [{"epoch": one.epoch, **one.logs} for one in history]
    schema = pa.schema(
        [("epoch", pa.int64()), *((name, pa.float64()) for name in names)]
    )
    write_table(pa.Table.from_pylist(rows, schema=schema), path)
