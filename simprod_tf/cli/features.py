"""Sub-commands about features: embed, words; and how towers and words are named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import (
    bars,
    options,
    print_rows,
    read_products,
    say,
)
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    from simprod_tf.pipeline.plan import TowerSettings

ImageTowers = Annotated[
    Optional[list[str]],
    typer.Option(
        "--image-tower",
        help="small, torchvision or krizhevsky2012 (AlexNet), squeezenet, keras:NAME "
        "(any of keras.applications), a file of `simprod weights convert`, a Keras "
        "model or SavedModel of your own. May be repeated: their features are joined.",
        show_default="small",
    ),
]
ImageWeights = Annotated[
    Optional[list[str]],
    typer.Option(
        help="Weights of each --image-tower, in the same order: a file, imagenet or "
        "random (keras:NAME), or - for none."
    ),
]
OutputLayer = Annotated[
    Optional[str],
    typer.Option(
        help="Of AlexNet: pool5, fc6 or fc7.", show_default="the last with weights"
    ),
]
ImageSize = Annotated[
    Optional[int], typer.Option(help="Side of the pictures, for keras:NAME.")
]
FeatureType = Annotated[
    str, typer.Option(help="Of stored features: float16 or float32.")
]
WordVectorPath = Annotated[
    Optional[Path],
    typer.Option(
        help="Word2Vec .bin or .bin.gz, GloVe .txt, fastText .bin, gensim .kv or .npz.",
        show_default="trained on the catalogue's titles",
    ),
]
MinCount = Annotated[
    int, typer.Option(help="Words in fewer titles than this count as unknown.")
]
ExtraWords = Annotated[
    int,
    typer.Option(help="Keep this many first words of the file, beside the titles'."),
]


def embed(
    catalog: CatalogPath,
    store: Annotated[Path, typer.Option(help="Folder of the feature store.")],
    out: Annotated[
        Optional[Path],
        typer.Option(help="Write the features to this .npy too, with ids beside it."),
    ] = None,
    image_tower: ImageTowers = None,
    image_weights: ImageWeights = None,
    output_layer: OutputLayer = None,
    image_size: ImageSize = None,
    dtype: FeatureType = "float16",
    skip_bad: SkipBad = False,
) -> None:
    """Compute the image towers' features of a catalogue's pictures, once.

    What the store has is not computed again; an interrupted run goes on. `simprod train
    --freeze-image-tower --feature-store` uses the same store.

    Example: `simprod embed shop/catalog.csv --image-tower small --store features`
    """
    import tensorflow as tf

    from simprod_tf.data.vectors import require_npy_suffix, write_vectors
    from simprod_tf.pipeline.plan import ImageSettings
    from simprod_tf.pipeline.sources import image_towers, stored_features

    if out is not None:
        require_npy_suffix(out)
    with options():
        specs = tower_settings(image_tower, image_weights, output_layer, image_size)
        settings = ImageSettings(specs, frozen=True, dtype=dtype)
    with bars() as progress:
        # Pictures that cannot be read are listed in the store, and stop nothing.
        products = read_products(
            catalog, skip_bad=skip_bad, progress=progress, check_pictures=False
        )
        # A tower without weights is random, but the same as in `train` each time.
        tf.keras.utils.set_random_seed(0)
        towers = image_towers(products, settings)
        if not towers:
            raise SimprodError(f"{catalog}: no product has a picture.")
        if out is not None and len(towers) > 1:
            raise typer.BadParameter("--out takes the features of one --image-tower.")
        for tower in towers:
            stored = stored_features(
                tower, products, store, dtype=dtype, progress=progress
            )
            say(f"{tower.name}, {tower.dim} features: {stored.extraction}")
            if stored.extraction.unreadable:
                say(f"Reasons: {stored.folder / 'unreadable.csv'}")
            if out is not None:
                ids = write_vectors(out, list(products.ids), stored.features)
                say(f"Features written to {out}, ids to {ids}")


def words(
    catalog: CatalogPath,
    word_vectors: WordVectorPath = None,
    min_count: MinCount = 1,
    extra_words: ExtraWords = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Say how many of the titles' words have a vector, and which have none.

    Example: `simprod words shop/catalog.csv --min-count 2`
    """
    from simprod_tf.features.word_weights import coverage
    from simprod_tf.pipeline.plan import WordSettings
    from simprod_tf.pipeline.sources import catalog_words

    with options():
        settings = WordSettings(
            None if word_vectors is None else str(word_vectors),
            epochs=1,
            min_count=min_count,
            extra_words=extra_words,
        )
    with bars() as progress:
        products = read_products(catalog, skip_bad=skip_bad, progress=progress)
        vectors, titles, _ = catalog_words(products, settings, progress)
    found = coverage(titles, vectors.words)
    say(str(found))
    print_rows(["unknown word", "count"], [[w, str(n)] for w, n in found.unknown])


def tower_settings(
    specs: list[str] | None,
    weights: list[str] | None,
    output_layer: str | None,
    image_size: int | None,
) -> tuple[TowerSettings, ...]:
    from simprod_tf.pipeline.plan import TowerSettings

    specs = specs or ["small"]
    files: list[str | None] = [None if w == "-" else w for w in weights or ()]
    if len(files) > len(specs):
        raise ValueError(
            f"--image-weights is given {len(files)} times, --image-tower {len(specs)}."
        )
    files += [None] * (len(specs) - len(files))
    return tuple(
        TowerSettings(
            spec,
            file,
            # AlexNet's, which may stand among others.
            None if spec.startswith(("keras:", "squeezenet")) else output_layer,
            image_size if spec.startswith("keras:") else None,
        )
        for spec, file in zip(specs, files)
    )
