"""The data sets that `matching.py` measures on, and what they are cut into."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matching_options import BOTH_VIEWS, Option

from simprod_tf.data.catalog import Catalog, read_catalog
from simprod_tf.data.components import components
from simprod_tf.data.pairs import read_pairs
from simprod_tf.data.split import read_split
from simprod_tf.index.base import Index
from simprod_tf.index.build import load_index
from simprod_tf.matching.candidates import Candidates, candidate_blocks
from simprod_tf.matching.pair_code import pair_codes
from simprod_tf.matching.views import WHOLE, Views
from simprod_tf.pipeline.index import IndexSettings, index_catalog
from simprod_tf.pipeline.threshold import LabelledRows


@dataclass(frozen=True, eq=False)
class Fold:
    """Pairs to choose on and pairs to judge by, and the products judged: [N] bool."""

    choose: LabelledRows
    judge: LabelledRows
    chosen_products: np.ndarray
    judged_products: np.ndarray


@dataclass(frozen=True, eq=False)
class DataSet:
    """A catalogue in the order of its index, its labels, and what they are cut into.

    Attributes:
        cluster: [N] what hangs together by group or similar pairs.
        truth: [N] the true group of each product, or None where not all are known.
    """

    name: str
    index: Index
    catalog: Catalog
    category: str
    cluster: np.ndarray
    truth: np.ndarray | None
    folds: list[Fold]

    def why_not(self, option: Option) -> str:
        """Returns why an option means nothing here, or ""."""
        if missing := set(option.views) - set(self.index.views):
            return f"no view by {min(missing)}"
        if option.by_category and not self.category:
            return "no column of categories"
        return ""


def read_set(given: dict[str, Any], work: Path) -> DataSet:
    """Returns a data set, its index made where it is not there."""
    catalog = read_catalog(given["catalog"], check_pictures=False).catalog
    place = work / given["name"] / "index"
    if not place.exists():
        from simprod_tf.export import SavedEncoder

        settings = IndexSettings(kind="exact", views=BOTH_VIEWS)
        index_catalog(SavedEncoder(given["model"]), catalog, settings).index.save(place)
    index = load_index(place)
    catalog = catalog.take(catalog.rows_of(list(index.ids)))
    views = _useful_views(index)
    index.attach(views)
    truth = None
    if given.get("truth"):
        alone = np.char.add("alone ", np.array(index.ids))
        names = np.where(catalog.groups == "", alone, catalog.groups)
        truth = np.unique(names.astype(str), return_inverse=True)[1]
    pairs = _labelled(given, index, truth)
    cluster = truth
    if cluster is None:
        cluster = components(pairs.rows[pairs.labels == 1], len(index))
    category = given.get("category", "")
    made = partial(DataSet, given["name"], index, catalog, category, cluster, truth)
    if "split" in given:
        sides = read_split(given["split"]).sides
        side = np.array([sides[id] for id in index.ids])
        return made([_fold(pairs, side == "validation", side == "test")])
    half = np.random.default_rng(0).permutation(int(cluster.max()) + 1)[cluster] % 2 > 0
    return made([_fold(pairs, half, ~half), _fold(pairs, ~half, half)])


def _useful_views(index: Index) -> dict[str, Index]:
    """Returns the views, less one by the only thing that the encoder knows."""
    views = dict(index.views)
    return views if len(views) > 1 else {}


def _labelled(
    given: dict[str, Any], index: Index, truth: np.ndarray | None
) -> LabelledRows:
    if "pairs" not in given:
        if truth is None:
            raise SystemExit(f"{given['name']}: needs `pairs` or `truth`.")
        found = list(candidate_blocks(Views({WHOLE: index}), k=Option().k))
        rows = once(found, len(index))[0]
        return LabelledRows(rows, (truth[rows[:, 0]] == truth[rows[:, 1]]) * 1, 0)
    pairs = read_pairs(given["pairs"], source="hand").within(list(index.ids))
    seen: set[tuple[str, ...]] = set()
    if "leave_out" in given:
        left = read_pairs(given["leave_out"], source="hand")
        both = zip(left.anchor_ids, left.other_ids)
        seen = {tuple(sorted(map(str, one))) for one in both}
    ids = list(zip(pairs.anchor_ids, pairs.other_ids))
    fresh = np.array([tuple(sorted(map(str, one))) not in seen for one in ids], bool)
    pairs = pairs.where(fresh)
    ends = [index.rows_of(list(ids)) for ids in (pairs.anchor_ids, pairs.other_ids)]
    return LabelledRows(np.stack(ends, axis=1), pairs.labels, int((~fresh).sum()))


def _fold(pairs: LabelledRows, choose: np.ndarray, judge: np.ndarray) -> Fold:
    """Returns a fold.

    Of two halves a pair across both, which is never similar, goes with its first
    product. Where there is a third side, both products must be on the same one.
    """
    whole = bool((choose | judge).all())

    def of(side: np.ndarray) -> LabelledRows:
        kept = side[pairs.rows].all(axis=1)
        if whole:
            kept = side[pairs.rows[:, 0]]
        return LabelledRows(pairs.rows[kept], pairs.labels[kept], 0)

    return Fold(of(choose), of(judge), choose, judge)


def once(found: Iterable[Candidates], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns candidates without their direction: [C, 2] rows, [C] distances."""
    parts = [(one.starts, one.ends, one.distances[WHOLE]) for one in found]
    starts, ends, distances = map(np.concatenate, zip(*parts))
    pairs, first = np.unique(pair_codes(starts, ends, n=n), return_index=True)
    return np.stack(np.divmod(pairs, n), axis=1), distances[first]


def sets_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the data sets that a file lists; paths are relative to it."""
    for given in json.loads(path.read_text()):
        paths = {"catalog", "model", "pairs", "leave_out", "split"} & set(given)
        yield {**given, **{key: str(path.parent / given[key]) for key in paths}}
