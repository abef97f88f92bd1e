"""Catalogue and settings -> the sources of features that an encoder joins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.features.product_inputs import (
    NumberInput,
    ProductInputs,
    TextInput,
    VectorInput,
    category_input,
    number_points,
    raw_columns,
)
from simprod_tf.features.store import Extraction, FeatureStore
from simprod_tf.features.stored_features import StoredFeatures
from simprod_tf.features.text import WordIds, title_words
from simprod_tf.features.word_vectors import (
    WordVectors,
    load_word_vectors,
    train_word_vectors,
)
from simprod_tf.features.word_weights import (
    Coverage,
    WordCounts,
    bucket_weights,
    common_component,
    coverage,
    word_weights,
)
from simprod_tf.model.image_tower import ImageTower, build_image_tower
from simprod_tf.model.source import (
    CategorySource,
    NumberSource,
    Source,
    TextSource,
    VectorSource,
)
from simprod_tf.pipeline.plan import (
    AttributeSettings,
    ImageSettings,
    TrainPlan,
    WordSettings,
)
from simprod_tf.pipeline.progress import Progress, about, silent
from simprod_tf.trained import pictures_of

log = logging.getLogger(__name__)

_BATCH = 64


@dataclass(frozen=True, eq=False)
class Sources:
    """What an encoder is built from: `sources` for its head, and what feeds them."""

    towers: tuple[ImageTower, ...]
    inputs: ProductInputs
    sources: tuple[Source, ...]
    coverage: Coverage | None


def prepare_sources(
    catalog: Catalog,
    plan: TrainPlan,
    tables: Sequence[VectorTable],
    *,
    progress: Progress,
) -> Sources:
    """Returns the sources that the plan asks for and the catalogue has.

    Raises:
        SimprodError: a column is not there, or holds nothing that can be used.
    """
    towers = image_towers(catalog, plan.image)
    found: list[Source] = [VectorSource(t.name, t.dim, "image") for t in towers]
    text, words, known = _text(catalog, plan.words, progress)
    if words is not None:
        found.append(words)
    try:
        inputs, others = _attributes(catalog, plan.attributes, tables)
    except (KeyError, ValueError) as error:
        raise SimprodError(str(error.args[0])) from error
    return Sources(towers, replace(inputs, text=text), tuple([*found, *others]), known)


def image_towers(catalog: Catalog, settings: ImageSettings) -> tuple[ImageTower, ...]:
    """Returns the towers, with names of their own; none without pictures."""
    if not np.any(catalog.images != ""):
        return ()
    towers: list[ImageTower] = []
    for one in settings.towers:
        try:
            tower = build_image_tower(
                one.spec,
                weights=one.weights,
                output_layer=one.output_layer,
                image_size=one.image_size,
            )
        except ValueError as error:
            raise SimprodError(f"image tower {one.spec}: {error}") from error
        tower.model.trainable = not settings.frozen
        taken = [other.name for other in towers]
        if tower.name in taken:
            tower = replace(tower, name=f"{tower.name}_{len(taken) + 1}")
        towers.append(tower)
    return tuple(towers)


@dataclass(frozen=True, eq=False)
class Stored:
    """One tower's features of a catalogue, and what it took to have them.

    Attributes:
        features: In the catalogue's order, on disk.
        extraction: What was computed, what could not be read.
        folder: Where they are, `unreadable.csv` too.
    """

    features: StoredFeatures
    extraction: Extraction
    folder: Path


def stored_features(
    tower: ImageTower,
    catalog: Catalog,
    folder: str | Path,
    *,
    dtype: str = "float16",
    progress: Progress = silent,
) -> Stored:
    """Returns the features of all pictures, from the store; missing ones are made.

    Pictures that cannot be read are listed in the store, and count as missing.
    """
    store = FeatureStore(
        folder,
        fingerprint=tower.fingerprint,
        dim=tower.dim,
        dtype=dtype,
        description={**tower.details, "name": tower.name},
    )
    forward = tf.function(tower.model, reduce_retracing=True)
    made = store.extract(
        catalog.ids,
        catalog.images,
        lambda pixels: forward(tf.cast(pixels, tf.float32)).numpy(),
        pictures_of(tower),
        batch_size=_BATCH,
        progress=about(progress, f"Features by {tower.name}"),
    )
    log.info("%s: %s", tower.name, made)
    return Stored(store.features(catalog.ids), made, store.folder)


def catalog_words(
    catalog: Catalog, settings: WordSettings, progress: Progress
) -> tuple[WordVectors, list[list[str]], WordCounts]:
    """Returns vectors of the titles' words, the titles' words, and their counts."""
    titles = title_words([title for title in catalog.titles if title])
    counts = WordCounts(titles)
    wanted = counts.words(min_count=settings.min_count)
    if settings.path is None:
        vectors = train_word_vectors(
            [[word for word in title if word in wanted] for title in titles],
            kind=settings.kind,
            dim=settings.dim,
            epochs=settings.epochs,
            progress=about(progress, "Training word vectors"),
        )
    else:
        vectors = load_word_vectors(
            settings.path,
            keep=wanted,
            extra_words=settings.extra_words,
            progress=about(progress, "Loading word vectors"),
        )
    return vectors, titles, counts


def _text(
    catalog: Catalog, settings: WordSettings, progress: Progress
) -> tuple[TextInput | None, TextSource | None, Coverage | None]:
    if not np.any(catalog.titles != ""):
        return None, None, None
    vectors, titles, counts = catalog_words(catalog, settings, progress)
    if not len(vectors) and not settings.buckets:
        return None, None, None
    weights = word_weights(settings.weighting, vectors.words, counts)
    common = None
    if settings.weighting == "sif":
        common = common_component(vectors, weights, titles)
    source = TextSource(
        vectors.vectors,
        np.concatenate([weights, _bucket_weights(vectors, counts, settings)]),
        common,
        settings.buckets,
        settings.train_words,
    )
    text = TextInput(vectors.words, settings.unknown, settings.buckets)
    return text, source, coverage(titles, vectors.words)


def _bucket_weights(
    vectors: WordVectors, counts: WordCounts, settings: WordSettings
) -> np.ndarray:
    if not settings.buckets:
        return np.zeros(0, np.float32)
    known = set(vectors.words)
    words = sorted(word for word in counts.words() if word not in known)
    to_ids = WordIds(vectors.words, unknown=settings.unknown, buckets=settings.buckets)
    alone = tf.RaggedTensor.from_uniform_row_length(tf.constant(words, tf.string), 1)
    ids = to_ids.of_words(alone).numpy()
    return bucket_weights(
        words,
        word_weights(settings.weighting, words, counts),
        ids,
        num_words=len(vectors),
        buckets=settings.buckets,
    )


def _attributes(
    catalog: Catalog, settings: AttributeSettings, tables: Sequence[VectorTable]
) -> tuple[ProductInputs, list[Source]]:
    categories = tuple(
        category_input(column, list(catalog.column(column)))
        for column in settings.categories
    )
    for column in settings.numbers:
        catalog.column(column)
    inputs = ProductInputs(
        None,
        categories,
        tuple(NumberInput(column) for column in settings.numbers),
        tuple(VectorInput(one.name, one.dim, one.column) for one in tables),
    )
    numbers = raw_columns(list(catalog), inputs)
    sources: list[Source] = [
        CategorySource(one.name, len(one.values)) for one in categories
    ]
    for number in inputs.numbers:
        points = number_points(np.asarray(numbers[number.name]))
        if not points:
            raise ValueError(f"no product has a {number.column!r}.")
        sources.append(NumberSource(number.name, points))
    sources += [VectorSource(one.name, one.dim, one.name) for one in tables]
    return inputs, sources
