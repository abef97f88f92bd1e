"""Mined pairs in shards -> what a training learns from and is judged by.

They are not read into memory: one pass counts them and keeps a sample to judge by; then
the training reads them anew each epoch.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pair_count import (
    TRAIN,
    VALIDATION,
    PairFilter,
    count_pairs,
    known_keys,
)
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import Pairs
from simprod_tf.data.split import Split
from simprod_tf.errors import SimprodError
from simprod_tf.features.pair_shards import PairStream
from simprod_tf.manifest import fingerprint
from simprod_tf.pipeline.plan import TrainPlan
from simprod_tf.pipeline.progress import Progress, about, silent

log = logging.getLogger(__name__)


def stream_pairs(
    shards: PairShards,
    catalog: Catalog,
    split: Split,
    hand: Pairs | None,
    plan: TrainPlan,
    *,
    memory: Path | None = None,
    progress: Progress = silent,
) -> tuple[PairStream, Pairs]:
    """Returns the pairs of the training side, and a sample of the validation side's.

    As with pairs in memory, where both kinds train a hand label is believed and the
    mined one left out.

    Args:
        shards: The mined pairs.
        catalog, split, hand, plan: See `train_run`.
        memory: Folder in which the count is remembered, or None.
        progress: Told how much is counted.

    Raises:
        SimprodError: the plan asks for what takes all pairs at once.
        InputError: see `simprod_tf.data.pair_shards.read_chunks`.
    """
    _require_streamable(shards, plan)
    own = hand if plan.train_on == "both" else None
    chosen = PairFilter(_sides(catalog, split), known_keys(catalog, own))
    name = fingerprint(
        [
            ("shards", json.dumps(shards.facts()).encode()),
            ("ids", "\n".join(catalog.ids).encode()),
            ("sides", chosen.sides.tobytes()),
            ("known", chosen.known.tobytes()),
        ]
    )
    count = count_pairs(
        shards,
        catalog,
        chosen,
        memory=None if memory is None else memory / f"pairs-{name}.npz",
        progress=about(progress, "Counting mined pairs"),
    )
    if count.unknown:
        log.warning("%s: %d pairs left out: unknown id", shards.folder, count.unknown)
    stream = PairStream(
        shards,
        catalog,
        chosen,
        count.train,
        count.similar,
        hand=None if own is None else own.within(split.ids("train")),
        mined_weight=plan.training.mined_weight,
    )
    return stream, count.validation


def _sides(catalog: Catalog, split: Split) -> np.ndarray:
    sides = np.zeros(len(catalog), np.int8)
    for number, side in ((TRAIN, "train"), (VALIDATION, "validation")):
        sides[np.isin(catalog.ids, split.ids(side))] = number
    return sides


def _require_streamable(shards: PairShards, plan: TrainPlan) -> None:
    training = plan.training
    if plan.raw:
        return
    asked = None
    if training.form == "groups":
        asked = f"--loss {training.loss.name} with --batches groups"
    elif training.negatives.hard:
        asked = "--hard-negatives"
    elif training.negatives.random:
        asked = "--random-negatives"
    if asked is not None:
        raise SimprodError(
            f"{asked} takes all labelled pairs at once, and those of {shards.folder} "
            "stay in their shards: leave it out, or give one file of mined pairs, "
            "which is read into memory."
        )
