"""Catalogue and settings -> an encoder that is not trained yet, and its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.features.inputs import decode_catalog
from simprod_tf.features.word_weights import Coverage
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.pipeline.plan import ImageSettings, TrainPlan
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.pipeline.sources import prepare_sources, stored_features
from simprod_tf.trained import TrainedEncoder, pictures_of


@dataclass(frozen=True, eq=False)
class Prepared:
    """An encoder with what makes a catalogue its inputs.

    Attributes:
        trained: The encoder; fitting `model` changes its weights in place.
        image: Whether its towers are frozen, and how their features are stored.
        tables: Precomputed vectors by name.
        store: Folder of the features of frozen towers.
        coverage: Of the titles' words, or None without titles.
    """

    trained: TrainedEncoder
    image: ImageSettings
    tables: Mapping[str, VectorTable]
    store: Path
    coverage: Coverage | None

    @property
    def model(self) -> tf.keras.Model:
        """The Keras model to fit: the head alone where the towers are frozen."""
        return self.trained.head if self.image.frozen else self.trained.model

    @property
    def tower_names(self) -> tuple[str, ...]:
        """The names of the image towers."""
        return tuple(one.name for one in self.trained.towers)

    def arrays(
        self, catalog: Catalog, *, progress: Progress = silent
    ) -> dict[str, Any]:
        """Returns the model's inputs by name, each [P, ...]; large ones lie in files.

        Of frozen towers the features are computed once, into the store; of others the
        pictures are decoded.
        """
        arrays: dict[str, Any] = self.trained.arrays(list(catalog), self.tables)
        for tower in self.trained.towers:
            if self.image.frozen:
                features = stored_features(
                    tower,
                    catalog,
                    self.store,
                    dtype=self.image.dtype,
                    progress=progress,
                ).features
                arrays[f"{tower.name}_features"] = features
                present = np.asarray(features.present, np.float32)
                arrays["has_image"] = present[:, np.newaxis]
            else:
                arrays[f"{tower.name}_pixels"] = decode_catalog(
                    catalog.images,
                    pictures_of(tower),
                    progress=about(progress, "Decoding pictures"),
                )
        return arrays


def prepare_encoder(
    catalog: Catalog,
    plan: TrainPlan | None = None,
    *,
    tables: Sequence[VectorTable] = (),
    store: str | Path = "features",
    progress: Progress = silent,
) -> Prepared:
    """Returns an untrained encoder for the sources of features that a catalogue has.

    Word vectors are trained on its titles, or loaded, as the plan says.

    Args:
        catalog: The products.
        plan: Settings; of `training` the seed alone matters here.
        tables: Precomputed vectors, as further sources.
        store: Folder for the features of frozen image towers.
        progress: Told how far the work is.

    Raises:
        SimprodError: the catalogue has nothing to make an embedding of.
    """
    plan = plan or TrainPlan()
    tf.keras.utils.set_random_seed(plan.training.seed)
    sources = prepare_sources(catalog, plan, tables, progress=progress)
    if not sources.sources:
        raise SimprodError("the catalogue has no picture, no word and no attribute.")
    settings = EncoderSettings(embedding_dim=0) if plan.raw else plan.encoder
    head = build_head(sources.sources, settings)
    return Prepared(
        TrainedEncoder(head, sources.towers, sources.inputs),
        plan.image,
        {table.name: table for table in tables},
        Path(store),
        sources.coverage,
    )
