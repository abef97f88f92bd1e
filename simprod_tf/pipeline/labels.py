"""What a training learns from and is judged by: pairs and classes on each side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.group_pairs import draw_group_pairs
from simprod_tf.data.pair_shards import PairShards
from simprod_tf.data.pairs import Pairs, join_pairs
from simprod_tf.data.split import Split
from simprod_tf.errors import SimprodError
from simprod_tf.features.group_batches import num_classes, product_classes
from simprod_tf.features.pair_shards import PairStream
from simprod_tf.pipeline.plan import TrainPlan
from simprod_tf.pipeline.progress import Progress, silent
from simprod_tf.pipeline.streamed_pairs import stream_pairs

# In memory, or in shards too large for it.
Mined = Union[Pairs, PairShards]

# Pairs drawn from groups for each product of a side.
_DRAWN_PER_PRODUCT = 10


@dataclass(frozen=True, eq=False)
class SideLabels:
    """The labels of a training's two sides.

    Attributes:
        train: Labelled pairs of the training side; a stream where mined ones lie in
            shards.
        classes: [P] int64, the class of each product of the training side, else -1.
        validation: Labelled pairs of the validation side that decide the threshold:
            hand-labelled ones where there are any; or None.
        watched: Those that decide the best epoch: with the ones above all of the kind
            that is trained on. Few hand labels alone would decide by chance.
        groups: [P] str, the group of each product of the validation side, else "".
    """

    train: Pairs | PairStream
    classes: np.ndarray
    validation: Pairs | None
    watched: Pairs | None
    groups: np.ndarray


def side_labels(
    catalog: Catalog,
    split: Split,
    hand: Pairs | None,
    mined: Mined | None,
    plan: TrainPlan,
    *,
    memory: Path | None = None,
    progress: Progress = silent,
) -> SideLabels:
    """Returns what the plan trains on and validates by.

    Hand-labelled pairs validate where there are any, then mined ones (of shards, a
    sample), then pairs drawn from groups.

    Args:
        catalog, split, hand, plan: See `train_run`.
        mined: Mined pairs, in memory or in shards.
        memory: Folder in which what the shards hold is remembered, or None.
        progress: Told how much of the shards is counted.

    Raises:
        SimprodError: what the plan trains on is not there, or not of both labels, or
            the catalogue has no such column for negatives.
    """
    _check_column(catalog, plan)
    on_train, on_validation = (
        np.isin(catalog.ids, split.ids(side)) for side in ("train", "validation")
    )
    train: Pairs | PairStream | None
    if plan.train_on == "groups":
        train, validation = (
            _drawn(catalog, on, plan) for on in (on_train, on_validation)
        )
        watched = validation
        if train is None:
            raise SimprodError(
                "training on groups takes two groups, one with two products, on the "
                "training side; give the catalogue a column group, or labelled pairs."
            )
        classes = _classes(catalog, ids=catalog.ids[on_train])
    else:
        shards = mined if isinstance(mined, PairShards) else None
        if shards is None or plan.train_on == "hand":
            known = None if isinstance(mined, PairShards) else mined
            train, validation, watched = _given(split, hand, known, plan)
            classes = _classes(catalog, train)
        else:
            train, sample = stream_pairs(
                shards, catalog, split, hand, plan, memory=memory, progress=progress
            )
            _, validation, watched = _given(split, hand, sample, plan)
            classes = np.full(len(catalog), -1, np.int64)
    _check(train, classes, plan)
    return SideLabels(
        train,
        classes,
        validation,
        watched,
        _groups(catalog, on_validation, validation),
    )


def _given(
    split: Split, hand: Pairs | None, mined: Pairs | None, plan: TrainPlan
) -> tuple[Pairs, Pairs | None, Pairs | None]:
    """Returns the pairs to train on, those of the threshold, those watched."""
    if mined is not None:
        mined = mined.weighted(plan.training.mined_weight)
    both = mined if hand is None else hand if mined is None else join_pairs(hand, mined)
    chosen = {"hand": hand, "mined": mined, "both": both}[plan.train_on]
    judge = hand if hand is not None else mined
    if chosen is None or judge is None:
        needed = "hand or mined" if plan.train_on == "both" else plan.train_on
        raise SimprodError(f"there are no {needed} pairs; give a file of them.")
    watched = hand if plan.train_on == "hand" else both
    ids = split.ids("validation")
    return chosen.within(split.ids("train")), _some(judge, ids), _some(watched, ids)


def _some(pairs: Pairs | None, ids: np.ndarray) -> Pairs | None:
    """Returns the pairs within `ids`, or None where there are none."""
    found = None if pairs is None else pairs.within(ids)
    return found if found is not None and len(found) else None


def _drawn(catalog: Catalog, on_side: np.ndarray, plan: TrainPlan) -> Pairs | None:
    some = catalog.take(np.flatnonzero(on_side))
    try:
        return draw_group_pairs(
            some,
            num_pairs=_DRAWN_PER_PRODUCT * len(some),
            near_column=plan.training.negatives.column,
            seed=plan.training.seed,
        )
    except ValueError:
        return None


def _classes(
    catalog: Catalog, pairs: Pairs | None = None, *, ids: np.ndarray | None = None
) -> np.ndarray:
    """Returns `product_classes`: -1 everywhere where no two products are of a class."""
    try:
        return product_classes(catalog, pairs, ids=ids)
    except ValueError:
        return np.full(len(catalog), -1, np.int64)


def _check(train: Pairs | PairStream, classes: np.ndarray, plan: TrainPlan) -> None:
    if plan.raw:
        return
    if plan.training.form == "groups":
        if num_classes(classes) < 2:
            raise SimprodError(
                "batches of groups take two groups of similar products on the training "
                f"side, and there are {num_classes(classes)}. Give more pairs, or a "
                "smaller validation and test share."
            )
        return
    drawn = plan.training.negatives.hard or plan.training.negatives.random
    # To npairs all others in a batch are dissimilar.
    needless = drawn or plan.training.loss.name == "npairs"
    if 0 < train.num_positives and (needless or train.num_positives < len(train)):
        return
    raise SimprodError(
        f"training needs similar and dissimilar pairs; {len(train)} pairs lie on the "
        f"training side, {train.num_positives} of them similar. Give more pairs, or a "
        "smaller validation and test share."
    )


def _check_column(catalog: Catalog, plan: TrainPlan) -> None:
    column = plan.training.negatives.column
    if column is None:
        return
    try:
        catalog.column(column)
    except KeyError as error:
        raise SimprodError(f"negatives: {error.args[0]}") from error


def _groups(
    catalog: Catalog, on_side: np.ndarray, validation: Pairs | None
) -> np.ndarray:
    """Returns the catalogue's groups, or what hangs together by similar pairs."""
    if np.any(catalog.groups[on_side] != ""):
        return np.where(on_side, catalog.groups, "")
    if validation is None:
        return np.full(len(catalog), "", object)
    classes = _classes(catalog, validation)
    names = np.array([str(one) if one >= 0 else "" for one in classes], object)
    return np.where(on_side, names, "")
