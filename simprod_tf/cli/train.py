"""Sub-commands that make features and encoders: embed, words, train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import (
    bars,
    labelled_pairs,
    options,
    print_rows,
    read_products,
    say,
)
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.errors import SimprodError

if TYPE_CHECKING:
    from simprod_tf.data.catalog import Catalog
    from simprod_tf.data.vectors import VectorTable
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
        specs = _towers(image_tower, image_weights, output_layer, image_size)
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


def train(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Option(help="Folder for the trained encoder.")],
    hand_pairs: Annotated[
        Optional[Path], typer.Option(help="Hand-labelled pairs; they also validate.")
    ] = None,
    mined_pairs: Annotated[
        Optional[Path], typer.Option(help="Pairs from `simprod mine`.")
    ] = None,
    train_on: Annotated[
        str, typer.Option(help="Which pairs train: hand, mined or both.")
    ] = "both",
    raw: Annotated[
        bool, typer.Option("--raw", help="No training: the features as they are.")
    ] = False,
    split: Annotated[
        Optional[Path], typer.Option(help="A split to use: `id`, `side`.")
    ] = None,
    validation: Annotated[float, typer.Option(help="Share of the products.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share of the products.")] = 0.25,
    image_tower: ImageTowers = None,
    image_weights: ImageWeights = None,
    output_layer: OutputLayer = None,
    image_size: ImageSize = None,
    freeze_image_tower: Annotated[
        Optional[bool],
        typer.Option(
            "--freeze-image-tower/--train-image-tower",
            show_default="frozen, but for --image-tower small without weights",
        ),
    ] = None,
    feature_store: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder of the features of frozen towers.",
            show_default="`features` beside --out",
        ),
    ] = None,
    feature_type: FeatureType = "float16",
    word_vectors: WordVectorPath = None,
    word_training: Annotated[
        str, typer.Option(help="Where they are trained: skipgram or fasttext.")
    ] = "skipgram",
    word_weights: Annotated[
        str, typer.Option(help="Of a title's mean: plain, idf or sif.")
    ] = "plain",
    min_count: MinCount = 1,
    extra_words: ExtraWords = 0,
    unknown_words: Annotated[
        str, typer.Option(help="What becomes of them: drop, hash or ngrams.")
    ] = "drop",
    buckets: Annotated[
        Optional[int],
        typer.Option(
            help="Vectors that unknown words share.", show_default="4096, or 0 for drop"
        ),
    ] = None,
    freeze_words: Annotated[
        bool, typer.Option("--freeze-words/--train-words", help="The word vectors.")
    ] = False,
    category: Annotated[
        Optional[list[str]],
        typer.Option(help="A column of text as a source, such as brand; repeatable."),
    ] = None,
    number: Annotated[
        Optional[list[str]],
        typer.Option(
            help="A column of numbers as a source, such as price; repeatable."
        ),
    ] = None,
    features: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Precomputed vectors as a source: clip.npy with clip.ids.txt beside "
            "it, .npz (ids, vectors) or .parquet (id, a column of lists); repeatable."
        ),
    ] = None,
    features_column: Annotated[
        Optional[list[str]],
        typer.Option(help="The same from a column of lists of the catalogue."),
    ] = None,
    embedding_dim: Annotated[int, typer.Option(help="Length of embeddings.")] = 128,
    hidden_units: Annotated[
        int, typer.Option(help="Of a ReLU layer before the projection.")
    ] = 0,
    modality_dropout: Annotated[
        float, typer.Option(help="Share of products that lose a modality in a step.")
    ] = 0.0,
    epochs: Annotated[int, typer.Option(help="At most.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Pairs in a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    margin: Annotated[float, typer.Option(help="Of the contrastive loss.")] = 1.0,
    mined_weight: Annotated[
        float, typer.Option(help="Factor on the weights of mined pairs.")
    ] = 1.0,
    precision: Annotated[
        float, typer.Option(help="What the distance threshold must hold.")
    ] = 0.9,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Train the encoder on labelled pairs.

    Example: `simprod train shop/catalog.csv --hand-pairs shop/hand_pairs.csv
    --mined-pairs mined.parquet --out runs/both`
    """
    from simprod_tf.data.split import read_split
    from simprod_tf.model.encoder import EncoderSettings
    from simprod_tf.pipeline.plan import (
        AttributeSettings,
        ImageSettings,
        TrainPlan,
        WordSettings,
    )
    from simprod_tf.pipeline.train import train_run
    from simprod_tf.training import TrainingSettings

    with options():
        towers = _towers(image_tower, image_weights, output_layer, image_size)
        if freeze_image_tower is None:
            freeze_image_tower = any(
                one.spec != "small" or one.weights for one in towers
            )
        if buckets is None:
            buckets = 0 if unknown_words == "drop" else 4096
        plan = TrainPlan(
            image=ImageSettings(towers, freeze_image_tower, feature_type),
            words=WordSettings(
                None if word_vectors is None else str(word_vectors),
                kind=word_training,
                min_count=min_count,
                extra_words=extra_words,
                weighting=word_weights,
                unknown=unknown_words,
                buckets=buckets,
                train_words=not freeze_words,
            ),
            attributes=AttributeSettings(tuple(category or ()), tuple(number or ())),
            encoder=EncoderSettings(
                embedding_dim, hidden_units, modality_dropout=modality_dropout
            ),
            training=TrainingSettings(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                margin=margin,
                mined_weight=mined_weight,
                seed=seed,
            ),
            train_on=train_on,
            raw=raw,
            validation=validation,
            test=test,
            precision=precision,
        )
    with bars() as progress:
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not (features or features_column or category or number),
            check_pictures=not freeze_image_tower,
        )
        result = train_run(
            products,
            out,
            hand=labelled_pairs(hand_pairs, "hand", products.ids),
            mined=labelled_pairs(mined_pairs, "mined", products.ids),
            split=None if split is None else read_split(split),
            tables=_tables(products, features, features_column),
            store=feature_store,
            plan=plan,
            progress=progress,
        )
    if result.coverage is not None:
        say(str(result.coverage))
    if result.unknown_ids:
        say(
            f"{len(result.unknown_ids)} products have nothing that the encoder knows: "
            f"{', '.join(result.unknown_ids[:5])}"
            + (", ..." if len(result.unknown_ids) > 5 else "")
        )
    say(f"Encoder {result.fingerprint} written to {out}; {_decided(result.details)}")


def _towers(
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


def _tables(
    products: Catalog, files: list[Path] | None, columns: list[str] | None
) -> list[VectorTable]:
    from simprod_tf.data.vectors import column_vectors, read_vectors

    with options():
        return [
            *(read_vectors(path) for path in files or ()),
            *(column_vectors(products, column) for column in columns or ()),
        ]


def _decided(details) -> str:  # type: ignore[no-untyped-def]
    decision = details["decision"]
    if "refused" in decision:
        return f"no threshold: {decision['refused']}"
    return (
        f"similar up to distance {decision['max_distance']:.3f} (precision at least "
        f"{decision['precision_lower_bound']:.3f} on {decision['num_pairs']} pairs)"
    )
