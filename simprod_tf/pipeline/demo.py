"""The main job on the synthetic shop, stage after stage, each one's output a file.

A stage whose output is there already, made with the same settings, is not run again:
an interrupted demo goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from simprod_tf import __version__
from simprod_tf.atomic import whole_folder, write_json
from simprod_tf.data.catalog import Catalog, read_catalog
from simprod_tf.data.events import read_events
from simprod_tf.data.mining import mine_pairs
from simprod_tf.data.pairs import pairs_from_table, read_pairs, write_pairs
from simprod_tf.data.split import read_split
from simprod_tf.data.synthetic import ShopSettings, make_shop
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import SimprodError
from simprod_tf.export import SavedEncoder, export_encoder, latest_version
from simprod_tf.index.build import load_index
from simprod_tf.matching.decisions import trained_decisions
from simprod_tf.pipeline.evaluate import HeldOut, evaluate_run
from simprod_tf.pipeline.index import IndexSettings, index_catalog
from simprod_tf.pipeline.match import (
    MatchInputs,
    MatchOutputs,
    MatchSettings,
    described,
    match_run,
)
from simprod_tf.pipeline.plan import TrainPlan
from simprod_tf.pipeline.product_slices import Slicing
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.train import train_run
from simprod_tf.trained import TrainedEncoder
from simprod_tf.training.settings import TrainingSettings

# What the distance threshold holds on the validation pairs: half of those that are not
# similar differ in size, colour or pack count alone.
PRECISION = 0.65
# Without a threshold, every neighbour is taken.
_FARTHEST = 2.0


def _plan(epochs: int = 1, **settings: Any) -> TrainPlan:
    """Epochs are few, for a demo's sake."""
    training = TrainingSettings(epochs=epochs)
    return TrainPlan(training=training, precision=PRECISION, **settings)


# The triad of the published description, beside the features as they are. The last
# one is compared with the others, and serves.
MODELS = {
    "untrained": _plan(raw=True),
    "hand": _plan(20, train_on="hand"),
    "mined": _plan(12, train_on="mined"),
    "hand+mined": _plan(12, train_on="both"),
}


OUTPUTS = (
    "shop", "mined.parquet", "runs", "models", "index", "matches", "evaluation"
)  # fmt: skip


@dataclass(frozen=True)
class DemoResult:
    """Where the demo's files are, and what came out."""

    folder: Path
    models: list[dict[str, Any]]
    notes: list[str]
    matches: int
    match_notes: list[str]
    decision: dict[str, Any]

    @property
    def report(self) -> Path:
        """The path of the HTML report."""
        return self.folder / "evaluation" / "report.html"


def run_demo(
    folder: str | Path,
    shop: ShopSettings,
    *,
    epochs: int | None = None,
    progress: Progress = silent,
) -> DemoResult:
    """Runs every stage that is not done yet in `folder`.

    Args:
        folder: Where everything goes.
        shop: The synthetic shop's settings.
        epochs: At most, for each training; None for the default.
        progress: Told how far the work is.

    Raises:
        SimprodError: the folder holds something else.
    """
    demo = _Demo(Path(folder), shop, epochs, progress)
    demo.prepare()
    demo.stage("shop", demo.make_shop)
    catalog = demo.catalog()
    demo.stage("mined.parquet", lambda path: demo.mine(path, catalog))
    for name in MODELS:
        demo.stage(f"runs/{name}", partial(demo.train, name=name, catalog=catalog))
        demo.stage(f"models/{name}/1", partial(demo.export, name=name))
    demo.stage("index", lambda path: demo.index(path, catalog))
    demo.stage("matches", lambda path: demo.match(path, catalog))
    demo.stage("evaluation/evaluation.json", lambda path: demo.evaluate(path, catalog))
    return demo.result()


@dataclass(frozen=True)
class _Demo:
    folder: Path
    shop: ShopSettings
    epochs: int | None
    progress: Progress

    def prepare(self) -> None:
        """Clears a demo that was made with other settings; keeps one of the same."""
        settings = {
            "shop": asdict(self.shop), "epochs": self.epochs, "version": __version__
        }  # fmt: skip
        mark = self.folder / "demo.json"
        if self.folder.is_dir() and any(self.folder.iterdir()):
            if not mark.is_file():
                raise SimprodError(
                    f"{self.folder} holds no demo; choose another folder."
                )
            if json.loads(mark.read_text(encoding="utf-8")) == settings:
                return
            self._remove_outputs()
        write_json(mark, settings)

    def _remove_outputs(self) -> None:
        """Removes what the stages made, and nothing that somebody put beside it."""
        for name in OUTPUTS:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def stage(self, output: str, make: Callable[[Path], object]) -> None:
        """Makes an output that is not there; outputs appear only when whole."""
        path = self.folder / output
        if not path.exists():
            make(path)

    def make_shop(self, path: Path) -> None:
        make_shop(
            path,
            self.shop,
            progress=lambda done, total, what: self.progress(what, done, total),
        )

    def catalog(self) -> Catalog:
        path = self.folder / "shop" / "catalog.csv"
        told = about(self.progress, "Checking pictures")
        return read_catalog(path, progress=told).catalog

    def mine(self, path: Path, catalog: Catalog) -> None:
        self.progress("Mining pairs", 0, 1)
        with Embedded() as engine:
            log = read_events(self.folder / "shop" / "events.parquet", engine=engine)
            mined = mine_pairs(log)
        write_pairs(pairs_from_table(mined.pairs, source="mined"), path)
        self.progress("Mining pairs", 1, 1)

    def train(self, path: Path, *, name: str, catalog: Catalog) -> None:
        plan = MODELS[name]
        if self.epochs is not None:
            plan = replace(plan, training=TrainingSettings(epochs=self.epochs))
        train_run(
            catalog,
            path,
            hand=read_pairs(self._hand_pairs(), source="hand", known_ids=catalog.ids),
            mined=read_pairs(
                self.folder / "mined.parquet", source="mined", known_ids=catalog.ids
            ),
            plan=plan,
            progress=self.progress,
        )

    def export(self, path: Path, *, name: str) -> None:
        """Exports into the model's folder; `path` is its first version's."""
        trained = TrainedEncoder.load(self.folder / "runs" / name)
        export_encoder(trained, path.parent)

    def index(self, path: Path, catalog: Catalog) -> None:
        made = index_catalog(
            self._encoder(), catalog, IndexSettings(), progress=self.progress
        )
        made.index.save(path)

    def match(self, path: Path, catalog: Catalog) -> None:
        """Writes matches and groups; without a threshold, the nearest products."""
        index = load_index(self.folder / "index")
        decisions = trained_decisions(
            index.extra["decision"], index.encoder_fingerprint
        )
        with whole_folder(path) as temporary:
            groups = None if decisions is None else temporary / "groups.parquet"
            matched = match_run(
                MatchInputs(index, decisions=decisions, catalog=catalog),
                MatchOutputs(temporary / "similar.parquet", groups),
                MatchSettings(max_distance=_FARTHEST, veto=())
                if decisions is None
                else MatchSettings(),
                progress=self.progress,
            )
            write_json(temporary / "notes.json", {"notes": described(matched)})

    def evaluate(self, path: Path, catalog: Catalog) -> None:
        split = read_split(self.folder / "runs" / list(MODELS)[-1] / "split.parquet")
        ids = split.ids("test")
        hand = read_pairs(self._hand_pairs(), source="hand", known_ids=catalog.ids)
        evaluate_run(
            {name: self.folder / "models" / name for name in MODELS},
            HeldOut(catalog, catalog.take(catalog.rows_of(ids)), hand.within(ids)),
            path.parent,
            title="Similar products in a synthetic shop",
            facts=[("Data", "synthetic shop"), ("Seed", str(self.shop.seed))],
            runs={name: self.folder / "runs" / name for name in MODELS},
            slicing=Slicing(("category",), frozenset(split.ids("train"))),
            split=split,
            labelled=hand,
            progress=self.progress,
        )

    def result(self) -> DemoResult:
        path = self.folder / "evaluation" / "evaluation.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        matches = self.folder / "matches"
        told = json.loads((matches / "notes.json").read_text(encoding="utf-8"))
        decision = load_index(self.folder / "index").extra["decision"]
        return DemoResult(
            self.folder,
            content["models"],
            content["notes"],
            pq.read_metadata(matches / "similar.parquet").num_rows,
            told["notes"],
            decision,
        )

    def _encoder(self) -> SavedEncoder:
        return SavedEncoder(latest_version(self.folder / "models" / list(MODELS)[-1]))

    def _hand_pairs(self) -> Path:
        return self.folder / "shop" / "hand_pairs.csv"
