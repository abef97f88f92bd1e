"""One shard of an index: a work unit that builds it, or takes over an earlier one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.atomic import whole_folder
from simprod_tf.data.embedding_shards import read_embeddings
from simprod_tf.errors import InputError, RecallError
from simprod_tf.index.build import KINDS, build_index
from simprod_tf.index.scann import ScannIndex
from simprod_tf.index.sharded import ShardEntry
from simprod_tf.index.tuning import ScannSettings, Tuning
from simprod_tf.manifest import MANIFEST_NAME, file_sha256
from simprod_tf.shards import link_or_copy


@dataclass(frozen=True)
class ShardSettings:
    """How each shard is built.

    Attributes:
        kind: "auto", "scann", "exact" or "exact-tf".
        recall: share of the 10 nearest products that a search of a shard shall find.
        settings: an expert's, for ScaNN's trees; by default chosen for the recall.
        allow_low_recall: keep a shard whose measured recall is below `recall`.
    """

    kind: str = "auto"
    recall: float = 0.99
    settings: ScannSettings | None = None
    allow_low_recall: bool = False

    def __post_init__(self) -> None:
        """Refuses what there is not, before any work."""
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}, got {self.kind!r}.")
        if self.settings is not None and self.kind not in ("auto", "scann"):
            raise ValueError(
                f"settings of ScaNN are for kind scann or auto, got {self.kind!r}."
            )
        Tuning(self.recall)

    def facts(self) -> dict[str, Any]:
        """Returns what decides about an index, as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of one file of embeddings."""

    file: str
    start: int
    stop: int


@dataclass(frozen=True)
class ShardUnit:
    """A shard to build: its name, the global row where it begins, and its rows."""

    name: str
    first_row: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class ShardPlan:
    """What all shards of an index have in common.

    Attributes:
        folder: where they are built, absolute.
        dim: the length of an embedding.
        encoder_fingerprint: of the encoder that made the embeddings.
        extra: what each of them keeps.
        settings: how they are built.
        earlier: the folders of an earlier index's shards, by their digests.
    """

    folder: str
    dim: int
    encoder_fingerprint: str
    extra: Mapping[str, Any]
    settings: ShardSettings
    earlier: Mapping[str, str] = field(default_factory=dict)


def build_shard(plan: ShardPlan, unit: ShardUnit) -> dict[str, Any]:
    """Builds a shard in the plan's folder; returns its entry, and whether it is new.

    A shard of the earlier index with the same ids and embeddings, built in the same
    way, is linked instead.

    Raises:
        InputError: the embeddings cannot be read, or a product is there twice.
        RecallError: the recall is not reached; names the shard.
    """
    ids, embeddings = _read(unit, plan.dim)
    digest = _digest(plan, ids, embeddings)
    place = Path(plan.folder) / unit.name
    earlier = plan.earlier.get(digest)
    if earlier is None:
        recall = _build(plan, unit, ids, embeddings)
    else:
        recall = _take_over(Path(earlier), place)
    entry = ShardEntry(
        unit.name,
        unit.first_row,
        len(ids),
        ids[0] if ids else "",
        digest,
        file_sha256(place / MANIFEST_NAME),
        recall,
    )
    return {**asdict(entry), "is_new": earlier is None}


def link_tree(folder: Path, place: Path) -> None:
    """Makes `place` a copy of a folder whose files nobody changes: links, where it can.

    A file system without hard links gets copies.
    """
    shutil.copytree(folder, place, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    link_or_copy(Path(source), Path(target))


def _read(unit: ShardUnit, dim: int) -> tuple[list[str], np.ndarray]:
    ids: list[str] = []
    parts = [np.empty((0, dim), np.float32)]
    for piece in unit.pieces:
        found, embeddings = read_embeddings(piece.file, dim=dim)
        ids += found[piece.start : piece.stop]
        parts.append(embeddings[piece.start : piece.stop])
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(id for id in ids if id in seen or seen.add(id))  # type: ignore[func-returns-value]
        raise InputError(
            f"product {twice!r} is there twice; make the embeddings again with "
            "`simprod encode`.",
            path=Path(unit.pieces[0].file).parent,
        )
    return ids, np.concatenate(parts)


def _digest(plan: ShardPlan, ids: list[str], embeddings: np.ndarray) -> str:
    facts = [plan.encoder_fingerprint, plan.dim, plan.extra, plan.settings.facts(), ids]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(embeddings).data)
    return digest.hexdigest()


def _build(
    plan: ShardPlan, unit: ShardUnit, ids: list[str], embeddings: np.ndarray
) -> float:
    """Builds and saves the shard; returns its measured recall."""
    settings = plan.settings
    try:
        index = build_index(
            ids,
            embeddings,
            encoder_fingerprint=plan.encoder_fingerprint,
            kind=settings.kind,
            extra=plan.extra,
            recall=settings.recall,
            settings=settings.settings,
            allow_low_recall=settings.allow_low_recall,
        )
    except RecallError as error:
        raise RecallError(f"{unit.name}: {error}") from error
    index.save(Path(plan.folder) / unit.name)
    tuned = index.tuned if isinstance(index, ScannIndex) else None
    return 1.0 if tuned is None else tuned.recall


def _take_over(earlier: Path, place: Path) -> float:
    with whole_folder(place) as temporary:
        link_tree(earlier, temporary)
    manifest = json.loads((place / MANIFEST_NAME).read_text("utf-8"))
    tuned = manifest["search"].get("tuned")
    return 1.0 if tuned is None else float(tuned["recall"])
