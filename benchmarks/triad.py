"""The published claim on synthetic shops: mined labels, hand labels, both, untrained.

    python benchmarks/triad.py --out triad.csv --image-tower squeezenet \
        --image-weights FILE
    python benchmarks/triad.py --out ablation.csv --ablation
    python benchmarks/triad_report.py triad.csv --ablation ablation.csv

A row a training: noise of the customers, number of hand labels, seed, what was trained
on, MAP@R among the test products and PR-AUC on true pairs of theirs. Rows that the file
has are not computed again. Two runs with other `--seeds` may work at once, on files of
their own.

A shop's groups are its truth. They make the split and the test; training never sees
them.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog, read_catalog, text_array
from simprod_tf.data.events import read_events
from simprod_tf.data.group_pairs import draw_group_pairs
from simprod_tf.data.mining import mine_pairs
from simprod_tf.data.pairs import Pairs, pairs_from_table, read_pairs
from simprod_tf.data.picture_hash import PictureGroups, near_duplicates
from simprod_tf.data.split import Split, split_catalog
from simprod_tf.data.synthetic import ShopSettings, make_shop
from simprod_tf.engine.embedded import Embedded
from simprod_tf.evaluation.metrics import pr_auc
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.model.encoder import EncoderSettings
from simprod_tf.pipeline.labels import side_labels
from simprod_tf.pipeline.plan import ImageSettings, TowerSettings, TrainPlan
from simprod_tf.pipeline.prepare import Prepared, prepare_encoder
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.fit import TrainingSide, ValidationSide, fit_encoder
from simprod_tf.training.settings import (
    BatchSettings,
    LossSettings,
    NegativeSettings,
    TrainingSettings,
)

NOISES = (0.05, 0.2, 0.4)
HAND = (150, 600, 2400)
MODELS = ("untrained", "mined", "hand", "both")


@dataclass(frozen=True)
class Row:
    """One training, and what its encoder came to on the test products."""

    noise: float
    hand: int
    seed: int
    model: str
    variant: str
    epochs: int
    map_at_r: float
    pr_auc: float

    @property
    def key(self) -> tuple:
        """What it is a result of."""
        return self.noise, self.hand, self.seed, self.model, self.variant


@dataclass(frozen=True, eq=False)
class Shop:
    """A synthetic shop with all that its trainings share."""

    folder: Path
    noise: float
    seed: int
    products: int
    tower: TowerSettings

    @cached_property
    def made(self) -> Path:
        """The shop's folder."""
        settings = ShopSettings(
            products=self.products,
            seed=self.seed,
            behaviour_noise=self.noise,
            num_hand_pairs=min(max(HAND), 4 * self.products),
        )
        return make_shop(self.folder / f"shop-{self.seed}-{self.noise}", settings)

    @cached_property
    def truth(self) -> Catalog:
        """The catalogue with its groups."""
        return read_catalog(self.made / "catalog.csv").catalog

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue as training sees it: without groups."""
        return replace(self.truth, groups=text_array([""] * len(self.truth)))

    @cached_property
    def near(self) -> PictureGroups:
        """Near-identical pictures."""
        return near_duplicates(self.truth)

    @cached_property
    def all_hand(self) -> Pairs:
        """The hand labels, in random order."""
        found = read_pairs(
            self.made / "hand_pairs.csv", source="hand", known_ids=self.truth.ids
        )
        order = np.random.default_rng(self.seed).permutation(len(found))
        return found.where(order)

    @cached_property
    def mined(self) -> Pairs:
        """What the customers' behaviour says."""
        with Embedded() as engine:
            log = read_events(self.made / "events.parquet", engine=engine)
            return pairs_from_table(mine_pairs(log).pairs, source="mined")

    @cached_property
    def split(self) -> Split:
        """One split for all trainings."""
        return split_catalog(self.truth, hand_pairs=self.all_hand, near=self.near)

    @cached_property
    def test(self) -> np.ndarray:
        """[T] rows of the test products."""
        return self.truth.rows_of(self.split.ids("test"))

    @cached_property
    def test_pairs(self) -> Pairs:
        """True pairs of the test products; half of the dissimilar share a category."""
        return draw_group_pairs(
            self.truth.take(self.test), num_pairs=6000, near_column="category"
        )

    def image(self) -> ImageSettings:
        """Returns the frozen tower, whose features are stored once for all shops."""
        return ImageSettings((self.tower,), frozen=True)

    def prepared(self, plan: TrainPlan) -> Prepared:
        """Returns an untrained encoder."""
        return prepare_encoder(self.catalog, plan, store=self.folder / "features")


def plan_of(shop: Shop, model: str, training: TrainingSettings, **more) -> TrainPlan:
    """Returns the plan of one training."""
    return TrainPlan(
        image=shop.image(),
        training=replace(training, seed=shop.seed),
        train_on=model if model != "untrained" else "both",
        raw=model == "untrained",
        **more,
    )


def trained(
    shop: Shop, plan: TrainPlan, hand: Pairs
) -> tuple[tf.keras.Model, dict, int]:
    """Returns a fitted encoder, its inputs, and the number of epochs."""
    prepared = shop.prepared(plan)
    arrays = prepared.arrays(shop.catalog)
    if plan.raw:
        return prepared.model, arrays, 0
    # Without hand labels there are none to validate by either.
    own_hand = None if plan.train_on == "mined" else hand
    labels = side_labels(shop.catalog, shop.split, own_hand, shop.mined, plan)
    history = fit_encoder(
        prepared.model,
        arrays,
        shop.catalog,
        TrainingSide(
            labels.train,
            shop.split.ids("train"),
            labels.classes,
            shop.near.component,
        ),
        validation=ValidationSide(labels.watched),
        settings=plan.training,
    )
    return prepared.model, arrays, len(history)


def judged(
    shop: Shop, plan: TrainPlan, *, num_hand: int, model: str, variant: str
) -> Row:
    """Returns what a training comes to on the test products."""
    fitted, arrays, epochs = trained(
        shop, plan, shop.all_hand.where(np.arange(num_hand))
    )
    embedder = Embedder(fitted, arrays)
    found = embedder.embed(shop.test)
    groups, ids = shop.truth.groups[shop.test], shop.truth.ids[shop.test]
    retrieval = retrieval_metrics(
        found, found, groups, groups, query_ids=ids, candidate_ids=ids
    )
    distances = embedder.distances(
        shop.truth.rows_of(shop.test_pairs.anchor_ids),
        shop.truth.rows_of(shop.test_pairs.other_ids),
    )
    return Row(
        shop.noise, num_hand, shop.seed, model, variant, epochs,
        float(retrieval.map_at_r.mean()),
        pr_auc(shop.test_pairs.labels, distances),
    )  # fmt: skip


def triad(shop: Shop) -> Iterator[tuple[TrainPlan, int, str, str]]:
    """Yields every training of one shop: plan, hand labels, model, variant."""
    default = TrainingSettings()
    yield plan_of(shop, "untrained", default), 0, "untrained", ""
    yield plan_of(shop, "mined", default), 0, "mined", ""
    for number in HAND:
        for model in ("hand", "both"):
            yield plan_of(shop, model, default), number, model, ""


def ablation(shop: Shop) -> Iterator[tuple[TrainPlan, int, str, str]]:
    """Yields one change at a time to the default, trained on both kinds of labels."""
    for variant, training, encoder in variants():
        plan = plan_of(shop, "both", training, encoder=encoder)
        yield plan, HAND[1], "both", variant


def variants() -> Iterator[tuple[str, TrainingSettings, EncoderSettings]]:
    """Yields the default and each change to it, by name."""
    base, encoder = TrainingSettings(), EncoderSettings()
    yield "default (npairs)", base, encoder
    for name in ("contrastive", "double_margin", "triplet_hard", "triplet_semihard"):
        yield f"loss {name}", replace(base, loss=LossSettings(name)), encoder
    arcface = replace(base, loss=LossSettings("arcface"))
    yield "loss arcface", arcface, replace(encoder, batch_norm=True)
    for margin in (0.75, 1.25):
        loss = LossSettings("contrastive", margin=margin)
        yield f"contrastive, margin {margin}", replace(base, loss=loss), encoder
    for temperature in (0.05, 0.2):
        loss = LossSettings("npairs", temperature=temperature)
        yield f"npairs, temperature {temperature}", replace(base, loss=loss), encoder
    contrastive = replace(base, loss=LossSettings("contrastive"))
    twin = replace(contrastive, batch=BatchSettings("twin", 64))
    yield "contrastive, batches of twin pairs", twin, encoder
    yield (
        "fusion: concatenate, then normalise",
        base,
        replace(encoder, fusion="concatenate"),
    )
    hard, random = (
        NegativeSettings(hard=4),
        NegativeSettings(random=4.0, column="category"),
    )
    for name, settings in (("npairs", base), ("contrastive", contrastive)):
        yield f"{name}, 4 hard negatives", replace(settings, negatives=hard), encoder
    yield "4 random negatives in category", replace(base, negatives=random), encoder
    yield "modality dropout 0.2", base, replace(encoder, modality_dropout=0.2)
    yield "hidden layer 512", base, replace(encoder, hidden_units=512)


def rows_of(path: Path) -> list[Row]:
    """Returns the rows of a file, none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [
            Row(
                float(one["noise"]), int(one["hand"]), int(one["seed"]), one["model"],
                one["variant"], int(one["epochs"]), float(one["map_at_r"]),
                float(one["pr_auc"]),
            )
            for one in csv.DictReader(file)
        ]  # fmt: skip


def append(path: Path, row: Row) -> None:
    """Adds a row; the first brings the header."""
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(row)))
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--noises", type=float, nargs="+", default=list(NOISES))
    parser.add_argument("--image-tower", default="small", help="a frozen one")
    parser.add_argument("--image-weights", help="its weights; random without")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder to keep shops in")
    options = parser.parse_args()
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tower = TowerSettings(options.image_tower, options.image_weights)
    done = {row.key for row in rows_of(options.out)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.work or Path(scratch)
        for seed in options.seeds:
            for noise in [NOISES[1]] if options.ablation else options.noises:
                shop = Shop(folder, noise, seed, options.products, tower)
                trainings = ablation(shop) if options.ablation else triad(shop)
                for plan, hand, model, variant in trainings:
                    if (noise, hand, seed, model, variant) in done:
                        continue
                    row = judged(
                        shop, plan, num_hand=hand, model=model, variant=variant
                    )
                    append(options.out, row)
                    print(row, flush=True)


if __name__ == "__main__":
    main()
