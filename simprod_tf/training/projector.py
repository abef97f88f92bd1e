"""Embeddings to look at: the files of TensorBoard's Embedding Projector.

`tensorboard --logdir FOLDER`, then the tab Projector.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins import projector

from simprod_tf.atomic import whole_file
from simprod_tf.data.catalog import Catalog
from simprod_tf.evaluation.thumbnail import thumbnail
from simprod_tf.training.embedder import Embedder

log = logging.getLogger(__name__)

VECTORS, METADATA, SPRITE = "vectors.tsv", "metadata.tsv", "sprite.png"
CONFIG = "projector_config.pbtxt"
_NAME = "products"
_SIDE = 64
# Browsers take no texture that is wider than 8,192 pixels.
_MOST = (8192 // _SIDE) ** 2


def write_projector(
    folder: str | Path,
    embeddings: np.ndarray,
    catalog: Catalog,
    *,
    sprites: bool = True,
    max_products: int = 5000,
    seed: int = 0,
) -> int:
    """Writes the Projector's files, and returns how many products they hold.

    Args:
        folder: TensorBoard's log folder; made where it is missing.
        embeddings: [P, D] float, in the catalogue's order.
        catalog: Its ids, titles, groups and attributes are what points tell of
            themselves.
        sprites: Shows the pictures as points; blank where there is none to be read.
        max_products: More are sampled by seed.
        seed: Of the sample.

    Raises:
        ValueError: embeddings and catalogue differ in length, or `max_products` is
            more than a browser can show.
    """
    if embeddings.ndim != 2 or len(embeddings) != len(catalog):
        raise ValueError(
            f"embeddings must be [{len(catalog)}, D], a row a product, got shape "
            f"{embeddings.shape}."
        )
    if not 1 <= max_products <= _MOST:
        raise ValueError(
            f"max_products must be between 1 and {_MOST}, got {max_products}."
        )
    if len(catalog) > max_products:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(len(catalog), max_products, replace=False))
        embeddings, catalog = embeddings[rows], catalog.take(rows)
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / VECTORS) as temporary:
        np.savetxt(temporary, embeddings, fmt="%.6g", delimiter="\t")
    _write_metadata(out / METADATA, catalog)
    if sprites:
        _write_sprite(out / SPRITE, catalog.images)
    # Last: it names the others.
    projector.visualize_embeddings(str(out), _config(embeddings.shape, sprites))
    return len(catalog)


class Projector(tf.keras.callbacks.Callback):
    """Writes the Projector's files when the training ends."""

    def __init__(
        self,
        folder: str | Path,
        encoder: tf.keras.Model,
        arrays: Mapping[str, Any],
        catalog: Catalog,
        *,
        sprites: bool = True,
        max_products: int = 5000,
        every: int = 0,
    ) -> None:
        """Takes what to show; further callbacks may change weights at the end: after.

        Args:
            folder, catalog, sprites, max_products: See `write_projector`.
            encoder: Of one product; shares its weights with the model that is fitted.
            arrays: Its inputs by name, each [P, ...], in the catalogue's order.
            every: Writes after each so many epochs too; 0 at the end only.
        """
        super().__init__()
        self._folder, self._catalog = folder, catalog
        self._embedder = Embedder(encoder, arrays)
        self._sprites, self._most, self._every = sprites, max_products, every

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes, where it is time."""
        if self._every and not (epoch + 1) % self._every:
            self._write()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Writes."""
        self._write()

    def _write(self) -> None:
        # Sampled before they are embedded: the rest would be for nothing.
        rows = np.arange(len(self._catalog))
        if len(rows) > self._most:
            rng = np.random.default_rng(0)
            rows = np.sort(rng.choice(len(rows), self._most, replace=False))
        write_projector(
            self._folder,
            self._embedder.embed(rows),
            self._catalog.take(rows),
            sprites=self._sprites,
            max_products=self._most,
        )


def _config(shape: tuple[int, ...], sprites: bool) -> Any:
    config = projector.ProjectorConfig()
    one = config.embeddings.add()
    one.tensor_name = _NAME
    one.tensor_shape.extend(shape)
    # Relative: the folder can be moved.
    one.tensor_path, one.metadata_path = VECTORS, METADATA
    if sprites:
        one.sprite.image_path = SPRITE
        one.sprite.single_image_dim.extend([_SIDE, _SIDE])
    return config


def _write_metadata(path: Path, catalog: Catalog) -> None:
    names = catalog.attributes.column_names
    columns = [catalog.ids, catalog.titles, catalog.groups]
    columns += [catalog.column(name) for name in names]
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("\t".join(["id", "title", "group", *map(_cell, names)]) + "\n")
        for row in zip(*columns):
            file.write("\t".join(map(_cell, row)) + "\n")


def _cell(value: object) -> str:
    """Returns a value without what would end its cell."""
    return " ".join(str(value).split())


def _write_sprite(path: Path, images: np.ndarray) -> None:
    side = math.ceil(math.sqrt(len(images)))
    sheet = Image.new("RGB", (side * _SIDE, side * _SIDE), "white")
    unread = 0
    for row, image in enumerate(images):
        if not image:
            continue
        found = thumbnail(image, _SIDE)
        if found is None:
            unread += 1
            continue
        x = row % side * _SIDE + (_SIDE - found.width) // 2
        y = row // side * _SIDE + (_SIDE - found.height) // 2
        sheet.paste(found, (x, y))
    if unread:
        log.warning("%d pictures cannot be read, and are blank in %s", unread, path)
    with whole_file(path) as temporary:
        sheet.save(temporary)
