"""A decider on disk: trees as LightGBM's text, words in Parquet, no pickle.

manifest.json       kind, fingerprint, settings, SHA-256 of each file
vocabulary.parquet  how often words stand in the catalogue
odds_<fold>.parquet, first_<fold>.txt    the first stage
second_<number>.txt                      the second stage
trained_pairs.parquet                    hashes of the labelled pairs
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_folder
from simprod_tf.decider.boosting import Boosting, BoostingSettings
from simprod_tf.decider.evidence import TokenOdds, Vocabulary
from simprod_tf.decider.features import second_names
from simprod_tf.decider.learning import DeciderSettings
from simprod_tf.decider.stages import Stages
from simprod_tf.decider.trained_pairs import TrainedPairs
from simprod_tf.errors import ModelError
from simprod_tf.manifest import (
    file_sha256,
    fingerprint,
    read_manifest,
    write_manifest,
)

KIND = "decider"
FORMAT = 1
_VOCABULARY, _TRAINED = "vocabulary.parquet", "trained_pairs.parquet"


@dataclass(frozen=True, eq=False)
class SavedDecider:
    """All that a decider is; see `simprod_tf.decider.decider.Decider`."""

    stages: Stages
    settings: DeciderSettings
    trained: TrainedPairs
    views: tuple[str, ...]
    encoder_fingerprint: str
    record_linkage: bool
    best_f1_probability: float
    num_similar: int

    @cached_property
    def fingerprint(self) -> str:
        """Of what decides: trees, words, features and the encoder."""
        stages = self.stages
        parts = [
            ("encoder", self.encoder_fingerprint.encode()),
            ("features", "\n".join(second_names(self.views)).encode()),
            ("vocabulary", _content(stages.vocabulary.to_table())),
        ]
        parts += [("odds", _content(one.to_table())) for one in stages.odds]
        for name, ensembles in (("first", stages.first), ("second", [stages.second])):
            parts += [
                (name, text.encode()) for one in ensembles for text in one.texts()
            ]
        return fingerprint(parts)


def write_decider(saved: SavedDecider, folder: str | os.PathLike[str]) -> None:
    """Writes a decider as a folder, whole or not at all."""
    with whole_folder(folder) as temporary:
        stages = saved.stages
        pq.write_table(stages.vocabulary.to_table(), temporary / _VOCABULARY)
        hashes = pa.table({"hash": pa.array(saved.trained.hashes, pa.uint64())})
        pq.write_table(hashes, temporary / _TRAINED)
        for fold, (odds, first) in enumerate(zip(stages.odds, stages.first)):
            pq.write_table(odds.to_table(), temporary / f"odds_{fold}.parquet")
            (text,) = first.texts()
            (temporary / f"first_{fold}.txt").write_text(text, encoding="utf-8")
        for number, text in enumerate(stages.second.texts()):
            (temporary / f"second_{number}.txt").write_text(text, encoding="utf-8")
        write_manifest(temporary, _manifest(saved, temporary))


def read_decider(folder: str | os.PathLike[str]) -> SavedDecider:
    """Returns what `write_decider` wrote.

    Raises:
        ModelError: there is none, a file of it is missing or altered, or another
            version of the package wrote it.
    """
    root = Path(folder)
    manifest = read_manifest(root, kind=KIND)
    if manifest.get("format") != FORMAT:
        raise ModelError(
            f"{root} is of format {manifest.get('format')}, not {FORMAT}: another "
            "version of simprod wrote it; train the decider again."
        )
    try:
        _check_files(root, manifest["files"])
        saved = _read(root, manifest)
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise ModelError(
            f"{root} holds a damaged decider ({error}); train it again."
        ) from error
    if saved.fingerprint != manifest["fingerprint"]:
        raise ModelError(
            f"{root} holds the decider {saved.fingerprint}, but its manifest says "
            f"{manifest['fingerprint']}: its features are not this version's, or it "
            "was altered; train it again."
        )
    return saved


def _manifest(saved: SavedDecider, folder: Path) -> dict[str, Any]:
    return {
        "kind": KIND,
        "format": FORMAT,
        "fingerprint": saved.fingerprint,
        "encoder_fingerprint": saved.encoder_fingerprint,
        "views": list(saved.views),
        "record_linkage": saved.record_linkage,
        "best_f1_probability": saved.best_f1_probability,
        "num_pairs": len(saved.trained),
        "num_similar": saved.num_similar,
        "num_features": len(second_names(saved.views)),
        "settings": dataclasses.asdict(saved.settings),
        "files": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
    }


def _check_files(root: Path, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        path = root / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; train the decider again.")
        if file_sha256(path) != expected:
            raise ModelError(
                f"{path} is not what was written (its SHA-256 differs); train the "
                "decider again."
            )


def _read(root: Path, manifest: Mapping[str, Any]) -> SavedDecider:
    stated = dict(manifest["settings"])
    for stage in ("first", "second"):
        stated[stage] = BoostingSettings(**stated[stage])
    settings = DeciderSettings(**stated)
    folds = range(settings.folds)
    stages = Stages(
        Vocabulary.from_table(pq.read_table(root / _VOCABULARY)),
        tuple(
            TokenOdds.from_table(pq.read_table(root / f"odds_{fold}.parquet"))
            for fold in folds
        ),
        tuple(_boosting(root, [f"first_{fold}.txt"]) for fold in folds),
        _boosting(root, [f"second_{one}.txt" for one in range(settings.ensemble)]),
    )
    hashes = pq.read_table(root / _TRAINED)["hash"].to_numpy()
    return SavedDecider(
        stages=stages,
        settings=settings,
        trained=TrainedPairs(hashes),
        views=tuple(manifest["views"]),
        encoder_fingerprint=manifest["encoder_fingerprint"],
        record_linkage=bool(manifest["record_linkage"]),
        best_f1_probability=float(manifest["best_f1_probability"]),
        num_similar=int(manifest["num_similar"]),
    )


def _boosting(root: Path, names: list[str]) -> Boosting:
    return Boosting.from_texts(
        [(root / name).read_text(encoding="utf-8") for name in names]
    )


def _content(table: pa.Table) -> bytes:
    """Returns a table's values as bytes, however they are stored."""
    return repr(table.to_pydict()).encode()
