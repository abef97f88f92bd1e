"""What the pair decider costs a pair, step by step, beside two plain ways.

    python benchmarks/decider.py [--products 4000] [--repeats 3] [--data FOLDER]

On a synthetic shop, and with `--data` (by default $SIMPROD_DATA/product_matching, if
that is there) on each product-matching set in it: a decider is trained, then all
candidate pairs are decided upon, in one thread. Printed are pairs a CPU-second, medians
of the repeats. Beside it, on the same pairs: scikit-learn's HistGradientBoosting (as
many trees, on the same features, those being made already), and rapidfuzz's
token_set_ratio of the two titles.
"""

from __future__ import annotations

import os

# One CPU: before the libraries read it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from rapidfuzz import fuzz, process
from sklearn.ensemble import HistGradientBoostingClassifier

from simprod_tf.data.catalog import Catalog, read_catalog
from simprod_tf.data.formats.product_matching import convert
from simprod_tf.data.pairs import Pairs, read_pairs
from simprod_tf.data.synthetic import ShopSettings, make_shop
from simprod_tf.decider import decider as decider_module
from simprod_tf.decider import features, stages
from simprod_tf.decider.boosting import Boosting
from simprod_tf.decider.decider import Decider
from simprod_tf.decider.products import DeciderProducts

GOAL = 20_000
# What is worked out once a product, whatever the number of its candidates.
BY_PRODUCT = ("words of products", "lexical vectors", "lexical neighbours")
Spent = dict[str, float]


@dataclass(frozen=True)
class Labelled:
    """Products, labelled pairs of them, and what the set is called."""

    name: str
    catalog: Catalog
    pairs: Pairs

    def rows(self) -> np.ndarray:
        """Returns [P, 2] int64 rows."""
        both = self.pairs.anchor_ids, self.pairs.other_ids
        return np.stack([self.catalog.rows_of(ids) for ids in both], axis=1)


# The functions and methods that the steps consist of.
STEPS = (
    ("words of products", decider_module.PreparedProducts, "prepare"),
    ("lexical vectors", decider_module.LexicalVectors, "of"),
    ("lexical neighbours", decider_module.LexicalVectors, "nearest"),
    ("cosines of texts", decider_module.LexicalVectors, "cosines"),
    ("evidence", features, "evidence"),
    ("odds of words", stages, "odds_rows"),
    ("context of rivals", features, "pair_context"),
    ("context of rivals", features, "support"),
    ("boosting, both stages", Boosting, "log_odds"),
)


@contextlib.contextmanager
def timed() -> Iterator[Spent]:
    """Yields the CPU seconds that each step of deciding takes within the block."""
    spent: Spent = defaultdict(float)

    def watched(name: str, found: Any) -> Any:
        if isinstance(found, classmethod):
            return classmethod(watched(name, found.__func__))

        def call(*arguments: Any, **more: Any) -> Any:
            start = time.process_time()
            try:
                return found(*arguments, **more)
            finally:
                spent[name] += time.process_time() - start

        return call

    with contextlib.ExitStack() as stack:
        for name, place, attribute in STEPS:
            function = watched(name, vars(place)[attribute])
            stack.enter_context(mock.patch.object(place, attribute, function))
        yield spent


def decide_all(decider: Decider, products: DeciderProducts) -> tuple[Spent, np.ndarray]:
    """Returns CPU seconds by step, and the [E, 2] pairs that were decided upon."""
    with timed() as spent:
        start = time.process_time()
        bound = decider.bind(products)
        ends = bound.graph.ends
        bound.distances(*ends.T)
        whole = time.process_time() - start
    by_product = sum(spent[name] for name in BY_PRODUCT)
    rest = whole - sum(spent.values())
    found = {**spent, "all else": rest}
    found["a pair, all of it"] = whole - by_product
    found["with what is done a product"] = whole
    return found, ends


def plain_ways(
    decider: Decider, labelled: Labelled, products: DeciderProducts
) -> Spent:
    """Returns CPU seconds of two plain ways on the same pairs."""
    rows, spent = labelled.rows(), {}
    bound = decider.bind(products, rows)
    ends = bound.graph.ends
    # The very features of the second stage, which nobody else needs to see.
    every = bound._second(np.arange(len(ends)))
    known = bound.graph.find(*rows.T)
    # Of one value, or of none, nothing can be learned; scikit-learn refuses it.
    low, high = np.fmin.reduce(every[known]), np.fmax.reduce(every[known])
    every = every[:, low < high]
    trees = decider.settings.second.trees
    other = HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=15)
    other.fit(every[known], labelled.pairs.labels)
    start = time.process_time()
    other.predict_proba(every)
    spent["HistGradientBoosting, features given"] = time.process_time() - start
    titles = labelled.catalog.titles
    sides = [titles[one].tolist() for one in ends.T]
    start = time.process_time()
    process.cpdist(*sides, scorer=fuzz.token_set_ratio, workers=1)
    spent["rapidfuzz token_set_ratio"] = time.process_time() - start
    size = len(ends)
    return {name: seconds / size for name, seconds in spent.items()}


def measure(labelled: Labelled, repeats: int) -> None:
    """Trains, decides and prints."""
    products = DeciderProducts(labelled.catalog)
    start = time.process_time()
    decider = Decider.fit(products, labelled.rows(), labelled.pairs.labels)
    trained = time.process_time() - start
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        spent, ends = decide_all(decider, products)
        costs = {name: seconds / len(ends) for name, seconds in spent.items()}
        for name, cost in {**costs, **plain_ways(decider, labelled, products)}.items():
            found[name].append(cost)
    words = np.mean([len(title.split()) for title in labelled.catalog.titles])
    print(
        f"{labelled.name}: {len(labelled.catalog):,} products of {words:.0f} words, "
        f"{len(labelled.pairs):,} labelled pairs (trained in {trained:.0f} CPU s), "
        f"{len(ends):,} candidates, {len(decider.feature_names)} features"
    )
    for name, costs in found.items():
        cost = statistics.median(costs)
        done = f"{1 / cost:14,.0f}" if cost > 0 else f"{'-':>14}"
        print(f"  {name:40}{done} pairs a CPU-second")
    cost = statistics.median(found["a pair, all of it"])
    verdict = "reached" if 1 / cost >= GOAL else "missed"
    print(f"  goal of {GOAL:,} a CPU-second {verdict}", flush=True)


def shop(num_products: int) -> Labelled:
    """Returns the synthetic shop and its pairs labelled by hand."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ShopSettings(num_products, image_size=16, sessions_per_product=0.1)
        place = make_shop(Path(folder) / "shop", settings)
        catalog = read_catalog(place / "catalog.csv", check_pictures=False).catalog
        return Labelled(
            "shop", catalog, read_pairs(place / "hand_pairs.csv", source="hand")
        )


def matching_set(folder: Path) -> Labelled:
    """Returns a product-matching set's records and the pairs of its train part."""
    sizes = [path.suffix[1:] for path in folder.glob("train.txt.*")]
    size = "medium" if "medium" in sizes else None
    with tempfile.TemporaryDirectory() as out:
        convert(folder, out, size=size)
        catalog = read_catalog(Path(out) / "catalog.csv", check_pictures=False).catalog
        pairs = read_pairs(Path(out) / "pairs_train.csv", source="hand")
    return Labelled(folder.name, catalog, pairs)


def main() -> None:
    """Reads the command line and measures each set."""
    known = os.environ.get("SIMPROD_DATA")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--data", type=Path, default=Path(known, "product_matching") if known else None
    )
    options = parser.parse_args()
    measure(shop(options.products), options.repeats)
    if options.data is not None and options.data.is_dir():
        for folder in sorted(options.data.iterdir()):
            if any(folder.glob("train.txt*")):
                measure(matching_set(folder), options.repeats)


if __name__ == "__main__":
    main()
