"""The ablation of matching: every option of `simprod match` beside the default.

    python benchmarks/matching.py sets.json --work WORK --out matching.json
    python benchmarks/matching_report.py matching.json

`sets.json` lists data sets, each with `name`, `catalog` and `model` (a SavedModel), and

    pairs     labelled pairs; without them the candidates are labelled by their groups
    leave_out pairs that training saw, which are then no pairs here
    split     of training: thresholds are chosen on its validation side, judged on its
              test side. Without it products are cut in two halves by what hangs
              together, chosen on one and judged on the other, both ways, and pooled
    truth     whether the catalogue's groups are complete: they judge all candidates
    category  a column by which thresholds may differ

What is judged is never what was chosen on. The default: 10 neighbours by the whole
product, one threshold for the highest precision of `LADDER` that can be promised with a
recall of .2 (the same promise for all options), average linkage, groups up to 50.

Every option of a set is a file in WORK: a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matching_judged import Judged
from matching_options import OPTIONS, Option
from matching_report import summary
from matching_sets import DataSet, Fold, once, read_set, sets_of

from simprod_tf.atomic import whole_file, write_json
from simprod_tf.data.catalog import Catalog
from simprod_tf.errors import ThresholdError
from simprod_tf.index.base import Index
from simprod_tf.matching.calibration import fit_calibration
from simprod_tf.matching.candidates import candidate_blocks
from simprod_tf.matching.conflicts import TraitTable
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.group_edges import LINKED, EdgeCollector
from simprod_tf.matching.group_ids import group_by_id
from simprod_tf.matching.grouping import group_matches
from simprod_tf.matching.keys import KeyGroups, key_columns
from simprod_tf.matching.pair_code import pair_codes
from simprod_tf.matching.rule import MatchRule, decide
from simprod_tf.matching.traits import product_traits
from simprod_tf.matching.views import WHOLE, Views, views_of
from simprod_tf.pipeline.blend import blend_index
from simprod_tf.pipeline.threshold import (
    LabelledRows,
    ThresholdSettings,
    choose_decisions,
)

LADDER = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
FEWEST_FOUND = 0.2


@dataclass(frozen=True, eq=False)
class Ways:
    """What an option searches and decides by, in one data set."""

    views: Views
    index: Index
    keys: KeyGroups | None
    traits: TraitTable | None
    categories: np.ndarray | None

    @classmethod
    def of(cls, data: DataSet, option: Option) -> Ways:
        """Returns them; blends where the option wants it."""
        index = data.index
        if option.blending is not None:
            index = blend_index(index, option.blending)
        found = views_of(index)
        return cls(
            Views({name: found[name] for name in (WHOLE, *option.views)}),
            index,
            _keys(data.catalog) if option.keys else None,
            TraitTable(data.catalog) if option.veto else None,
            data.catalog.column(data.category) if option.by_category else None,
        )


def _keys(catalog: Catalog) -> KeyGroups:
    """Returns the keys of the catalogue's columns; else the titles' model numbers."""
    table = catalog.attributes
    columns = key_columns(table.column_names)
    if not columns:
        models = [
            next((t.value for t in product_traits(one) if t.kind == "model"), "")
            for one in catalog
        ]
        table, columns = pa.table({"model": models}), {"model": "model"}
    return KeyGroups.of_columns(table, columns)


def choose(ways: Ways, fold: Fold, option: Option, settings: Any) -> Decisions:
    """Returns the decisions of an option, by one fold's pairs."""
    views, pairs = ways.views, fold.choose
    if not option.union:
        views = Views({WHOLE: ways.index})
    if option.veto_first and ways.traits is not None:
        left = ~_vetoed(ways.traits, option.veto, pairs.rows)
        pairs = LabelledRows(pairs.rows[left], pairs.labels[left], 0)
    return choose_decisions(
        views,
        pairs,
        settings,
        encoder_fingerprint=ways.index.encoder_fingerprint,
        date="",
        categories=ways.categories,
    )


def best_promise(
    ways: Ways, folds: Sequence[Fold], option: Option, priors: Sequence[Any]
) -> float:
    """Returns the highest precision that can be promised in every fold.

    Raises:
        ThresholdError: none of the ladder.
    """
    cause = f"none finds {FEWEST_FOUND:g} of the similar pairs."
    for precision in LADDER:
        try:
            found = [
                choose(ways, fold, option, ThresholdSettings(precision, prior=prior))
                for fold, prior in zip(folds, priors)
            ]
        except ThresholdError as error:
            cause = str(error)
            continue
        if min(one.whole.recall for one in found) >= FEWEST_FOUND:
            return precision
    raise ThresholdError(f"Nothing of the ladder can be promised: {cause}")


def priors_of(data: DataSet, ways: Ways, option: Option) -> list[Any]:
    """Returns each fold's prior: None for the labelled one.

    The true share is that of candidates which have a product of the side chosen on.
    """
    if not option.prior:
        return [None] * len(data.folds)
    if data.truth is None:
        return ["estimate"] * len(data.folds)
    blocks = candidate_blocks(ways.views, k=option.k)
    rows = once(list(blocks), len(data.index))[0]
    if option.veto_first:
        rows = rows[~_vetoed(ways.traits, option.veto, rows)]
    starts, ends = rows.T
    same = data.truth[starts] == data.truth[ends]
    return [
        float(same[fold.chosen_products[starts] | fold.chosen_products[ends]].mean())
        for fold in data.folds
    ]


def judge(
    data: DataSet, ways: Ways, fold: Fold, option: Option, decisions: Decisions
) -> Judged:
    """Matches and groups the whole catalogue; returns what became of one fold."""
    n = len(data.index)
    rule = MatchRule(
        {
            view: one.max_distance
            if ways.categories is None
            else one.limits(ways.categories)
            for view, one in decisions.by_view.items()
        },
        union=option.union,
        accept_keys=option.accept_keys,
        mutual=option.mutual,
        conflicts=None
        if ways.traits is None
        else partial(ways.traits.conflicting, kinds=option.veto),
    )
    blocks = list(
        candidate_blocks(ways.views, k=option.k, keys=ways.keys, mutual=option.mutual)
    )
    edges, accepted = EdgeCollector(rule), []
    for block in blocks:
        decided = decide(block, rule)
        edges.add(block, decided)
        kept = decided.similar
        accepted.append(pair_codes(block.starts[kept], block.ends[kept], n=n))
    groups = group_matches(
        edges.table(data.index.ids),
        linkage=option.linkage,
        max_distance=LINKED,
        max_size=option.max_size,
        mutual=option.mutual_groups,
    )
    names = group_by_id(groups.table)
    alone = [names.get(id, f"alone {id}") for id in data.index.ids]
    return Judged.of(
        fold.judge.rows,
        fold.judge.labels,
        cluster=data.cluster,
        truth=data.truth,
        products=fold.judged_products,
        candidates=once(blocks, n),
        accepted=np.stack(np.divmod(np.unique(np.concatenate(accepted)), n), axis=1),
        groups=np.unique(np.array(alone), return_inverse=True)[1],
        curve=decisions.whole,
        labelled_curve=fit_calibration(
            ways.views.distances(WHOLE, *fold.choose.rows.T), fold.choose.labels
        ),
        labelled_distances=ways.views.distances(WHOLE, *fold.judge.rows.T),
        vetoed=partial(_vetoed, ways.traits, option.veto),
    )


def _vetoed(
    traits: TraitTable | None, kinds: Sequence[str], rows: np.ndarray
) -> np.ndarray:
    if traits is None:
        return np.zeros(len(rows), bool)
    return np.any(list(traits.conflicting(*rows.T, kinds=kinds).values()), axis=0)


def measure(data: DataSet, name: str, work: Path) -> None:
    """Writes what an option does in a data set, if that is not there yet."""
    place = work / data.name / f"{name}.npz"
    if place.exists():
        return
    option, begin = OPTIONS[name], time.perf_counter()
    made: dict[str, Any] = {}
    note: dict[str, Any] = {"why_not": data.why_not(option)}
    if not note["why_not"]:
        ways = Ways.of(data, option)
        try:
            priors = priors_of(data, ways, option)
            precision = promised(data, work)
            if option.prior:
                precision = best_promise(ways, data.folds, option, priors)
            found = [
                choose(ways, fold, option, ThresholdSettings(precision, prior=prior))
                for fold, prior in zip(data.folds, priors)
            ]
            note["promised"] = precision
            note["priors"] = [one.whole.prior for one in found]
            note["limits"] = [one.whole.max_distance for one in found]
            note["refused_views"] = sorted({v for one in found for v in one.refused})
            parts = [
                judge(data, ways, fold, option, one)
                for fold, one in zip(data.folds, found)
            ]
            made = Judged.pooled(parts).arrays()
        except ThresholdError as error:
            note["why_not"] = f"no threshold: {error}"
    note["seconds"] = time.perf_counter() - begin
    with whole_file(place) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, note=json.dumps(note), **made)
    print(
        f"{data.name}: {name} ({note['seconds']:.0f} s) {note['why_not']}", flush=True
    )


def promised(data: DataSet, work: Path) -> float:
    """Returns the precision that the default promises in this data set."""
    place = work / data.name / "promised.json"
    if not place.exists():
        ways = Ways.of(data, Option())
        found = best_promise(ways, data.folds, Option(), [None] * len(data.folds))
        write_json(place, {"precision": found})
    return float(json.loads(place.read_text())["precision"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is not measured yet, and writes the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="Names of data sets.")
    parser.add_argument("--repeats", type=int, default=500, help="Of the bootstrap.")
    given = parser.parse_args(arguments)
    results = {}
    for one in sets_of(given.sets):
        if given.only and one["name"] not in given.only:
            continue
        data = read_set(one, given.work)
        print(f"{data.name}: {len(data.index)} products", flush=True)
        for name in OPTIONS:
            measure(data, name, given.work)
        files = {name: given.work / data.name / f"{name}.npz" for name in OPTIONS}
        results[data.name] = summary(files, repeats=given.repeats)
        write_json(given.out, results)


if __name__ == "__main__":
    main()
