"""The sub-command train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from simprod_tf.cli.console import bars, labelled_pairs, options, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad
from simprod_tf.cli.features import (
    ExtraWords,
    FeatureType,
    ImageSize,
    ImageTowers,
    ImageWeights,
    MinCount,
    OutputLayer,
    WordVectorPath,
    tower_settings,
)

if TYPE_CHECKING:
    from simprod_tf.data.catalog import Catalog
    from simprod_tf.data.vectors import VectorTable

LABELS = "Labels"
PICTURES = "Pictures"
WORDS = "Words"
ENCODER = "Encoder"
LOSS = "Loss and batches"
NEGATIVES = "Negatives that nobody labelled"
FITTING = "Fitting"


def train(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Option(help="Folder for the trained encoder.")],
    hand_pairs: Annotated[
        Optional[Path],
        typer.Option(
            help="Hand-labelled pairs; they also validate.", rich_help_panel=LABELS
        ),
    ] = None,
    mined_pairs: Annotated[
        Optional[Path],
        typer.Option(help="Pairs from `simprod mine`.", rich_help_panel=LABELS),
    ] = None,
    train_on: Annotated[
        str,
        typer.Option(
            help="hand, mined, both, or groups: the catalogue's own groups of the same "
            "product.",
            show_default="both; groups without any pairs",
            rich_help_panel=LABELS,
        ),
    ] = "",
    mined_weight: Annotated[
        float,
        typer.Option(
            help="Factor on the weights of mined pairs.", rich_help_panel=LABELS
        ),
    ] = 1.0,
    split: Annotated[
        Optional[Path],
        typer.Option(help="A split to use: `id`, `side`.", rich_help_panel=LABELS),
    ] = None,
    validation: Annotated[
        float, typer.Option(help="Share of the products.", rich_help_panel=LABELS)
    ] = 0.15,
    test: Annotated[
        float, typer.Option(help="Share of the products.", rich_help_panel=LABELS)
    ] = 0.25,
    allow_leaks: Annotated[
        bool,
        typer.Option(
            "--allow-leaks",
            help="Use a --split that leaks, with a warning.",
            rich_help_panel=LABELS,
        ),
    ] = False,
    precision: Annotated[
        float,
        typer.Option(
            help="What the distance threshold must hold.", rich_help_panel=LABELS
        ),
    ] = 0.9,
    image_tower: ImageTowers = None,
    image_weights: ImageWeights = None,
    output_layer: OutputLayer = None,
    image_size: ImageSize = None,
    freeze_image_tower: Annotated[
        Optional[bool],
        typer.Option(
            "--freeze-image-tower/--train-image-tower",
            show_default="frozen, but for --image-tower small without weights",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    train_layers: Annotated[
        str,
        typer.Option(
            help="Regular expression on tower/layer: those of a trained tower that "
            "change.",
            rich_help_panel=PICTURES,
        ),
    ] = ".*",
    head_epochs: Annotated[
        int,
        typer.Option(
            help="First epochs, in which a trained tower stays as it is.",
            rich_help_panel=PICTURES,
        ),
    ] = 0,
    tower_rate: Annotated[
        float,
        typer.Option(
            help="Factor on the learning rate of trained towers.",
            rich_help_panel=PICTURES,
        ),
    ] = 1.0,
    min_crop: Annotated[
        float,
        typer.Option(
            help="Training sees crops of at least this share of each side.",
            rich_help_panel=PICTURES,
        ),
    ] = 0.8,
    colour: Annotated[
        float,
        typer.Option(
            help="Colours change by at most this share.", rich_help_panel=PICTURES
        ),
    ] = 0.1,
    erasing: Annotated[
        float,
        typer.Option(
            help="Share of the pictures of which a rectangle is erased.",
            rich_help_panel=PICTURES,
        ),
    ] = 0.0,
    feature_store: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder of the features of frozen towers.",
            show_default="`features` beside --out",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    feature_type: FeatureType = "float16",
    word_vectors: WordVectorPath = None,
    word_training: Annotated[
        str,
        typer.Option(
            help="Where they are trained: skipgram or fasttext.", rich_help_panel=WORDS
        ),
    ] = "skipgram",
    word_weights: Annotated[
        str,
        typer.Option(
            help="Of a title's mean: plain, idf or sif.", rich_help_panel=WORDS
        ),
    ] = "idf",
    min_count: MinCount = 1,
    extra_words: ExtraWords = 0,
    unknown_words: Annotated[
        str,
        typer.Option(
            help="What becomes of them: drop, hash or ngrams.", rich_help_panel=WORDS
        ),
    ] = "drop",
    buckets: Annotated[
        Optional[int],
        typer.Option(
            help="Vectors that unknown words share.",
            show_default="4096, or 0 for drop",
            rich_help_panel=WORDS,
        ),
    ] = None,
    freeze_words: Annotated[
        bool,
        typer.Option(
            "--freeze-words/--train-words",
            help="The word vectors.",
            rich_help_panel=WORDS,
        ),
    ] = False,
    word_rate: Annotated[
        float,
        typer.Option(
            help="Factor on the learning rate of word vectors.", rich_help_panel=WORDS
        ),
    ] = 1.0,
    category: Annotated[
        Optional[list[str]],
        typer.Option(
            help="A column of text as a source, such as brand; repeatable.",
            rich_help_panel=ENCODER,
        ),
    ] = None,
    number: Annotated[
        Optional[list[str]],
        typer.Option(
            help="A column of numbers as a source, such as price; repeatable.",
            rich_help_panel=ENCODER,
        ),
    ] = None,
    features: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Precomputed vectors as a source: clip.npy with clip.ids.txt beside "
            "it, .npz (ids, vectors) or .parquet (id, a column of lists); repeatable.",
            rich_help_panel=ENCODER,
        ),
    ] = None,
    features_column: Annotated[
        Optional[list[str]],
        typer.Option(
            help="The same from a column of lists of the catalogue.",
            rich_help_panel=ENCODER,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="No training: the features as they are.",
            rich_help_panel=ENCODER,
        ),
    ] = False,
    embedding_dim: Annotated[
        int, typer.Option(help="Length of embeddings.", rich_help_panel=ENCODER)
    ] = 128,
    hidden_units: Annotated[
        int,
        typer.Option(
            help="Of a ReLU layer before the projection.", rich_help_panel=ENCODER
        ),
    ] = 0,
    dropout: Annotated[
        float,
        typer.Option(
            help="Share of the features left out in a step.", rich_help_panel=ENCODER
        ),
    ] = 0.1,
    modality_dropout: Annotated[
        float,
        typer.Option(
            help="Share of products that lose a modality in a step.",
            rich_help_panel=ENCODER,
        ),
    ] = 0.0,
    batch_norm: Annotated[
        bool,
        typer.Option(
            "--batch-norm",
            help="Before embeddings are brought to unit length.",
            show_default="with arcface",
            rich_help_panel=ENCODER,
        ),
    ] = False,
    loss: Annotated[
        str,
        typer.Option(
            help="contrastive, double_margin, npairs, triplet_hard, triplet_semihard "
            "or arcface.",
            rich_help_panel=LOSS,
        ),
    ] = "npairs",
    margin: Annotated[
        Optional[float],
        typer.Option(
            help="Of the loss.",
            show_default="1.0; triplets and arcface 0.3",
            rich_help_panel=LOSS,
        ),
    ] = None,
    similar_margin: Annotated[
        float, typer.Option(help="Of double_margin.", rich_help_panel=LOSS)
    ] = 0.3,
    temperature: Annotated[
        float, typer.Option(help="Of npairs.", rich_help_panel=LOSS)
    ] = 0.1,
    scale: Annotated[
        float, typer.Option(help="Of arcface.", rich_help_panel=LOSS)
    ] = 30.0,
    ramp_epochs: Annotated[
        int,
        typer.Option(
            help="Epochs in which arcface's margin grows.", rich_help_panel=LOSS
        ),
    ] = 5,
    batches: Annotated[
        Optional[str],
        typer.Option(
            help="unique (products, with all labelled pairs among them), twin (pairs) "
            "or groups (some products of each of some groups).",
            show_default="unique; groups for triplets and arcface",
            rich_help_panel=LOSS,
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(help="Products in a step; pairs with twin.", rich_help_panel=LOSS),
    ] = 128,
    per_group: Annotated[
        int,
        typer.Option(
            help="Products of a group, in batches of groups.", rich_help_panel=LOSS
        ),
    ] = 4,
    hard_negatives: Annotated[
        int,
        typer.Option(
            help="Near neighbours of each product, by the current encoder, to take as "
            "dissimilar; guarded against false ones.",
            rich_help_panel=NEGATIVES,
        ),
    ] = 0,
    refresh_epochs: Annotated[
        int,
        typer.Option(
            help="Epochs until they are searched anew.", rich_help_panel=NEGATIVES
        ),
    ] = 3,
    random_negatives: Annotated[
        float,
        typer.Option(help="Random pairs for each product.", rich_help_panel=NEGATIVES),
    ] = 0.0,
    negatives_column: Annotated[
        Optional[str],
        typer.Option(
            help="A column, such as category, that the two of a random pair share.",
            rich_help_panel=NEGATIVES,
        ),
    ] = None,
    negative_weight: Annotated[
        float,
        typer.Option(help="Weight of each such pair.", rich_help_panel=NEGATIVES),
    ] = 0.5,
    epochs: Annotated[int, typer.Option(help="At most.", rich_help_panel=FITTING)] = 40,
    monitor: Annotated[
        Optional[str],
        typer.Option(
            help="What of the validation side decides when to stop: pr_auc, map_at_r "
            "or recall_at_1.",
            show_default="pr_auc; map_at_r with --train-on groups",
            rich_help_panel=FITTING,
        ),
    ] = None,
    patience: Annotated[
        int,
        typer.Option(
            help="Epochs without a better one before stopping.", rich_help_panel=FITTING
        ),
    ] = 10,
    learning_rate: Annotated[
        float, typer.Option(help="Of AdamW.", rich_help_panel=FITTING)
    ] = 1e-3,
    weight_decay: Annotated[
        float, typer.Option(help="Of AdamW.", rich_help_panel=FITTING)
    ] = 0.0,
    schedule: Annotated[
        str,
        typer.Option(
            help="Of the learning rate: constant or cosine.", rich_help_panel=FITTING
        ),
    ] = "constant",
    warmup_epochs: Annotated[
        float,
        typer.Option(
            help="In which the learning rate rises from 0.", rich_help_panel=FITTING
        ),
    ] = 0.0,
    clip_norm: Annotated[
        Optional[float],
        typer.Option(
            help="Longest gradient, over all weights.",
            show_default="none",
            rich_help_panel=FITTING,
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="none, mirrored (all GPUs here) or multi-worker (see TF_CONFIG).",
            rich_help_panel=FITTING,
        ),
    ] = "none",
    numbers: Annotated[
        str,
        typer.Option(
            help="float32, mixed_float16 or mixed_bfloat16; float32 is saved.",
            rich_help_panel=FITTING,
        ),
    ] = "float32",
    xla: Annotated[
        bool,
        typer.Option("--xla", help="Compile the step by XLA.", rich_help_panel=FITTING),
    ] = False,
    tensorboard: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder for TensorBoard: scalars, and embeddings with pictures.",
            rich_help_panel=FITTING,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of everything random.", rich_help_panel=FITTING)
    ] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Train the encoder on labelled pairs, or on groups of the same product.

    A training that was interrupted goes on where it stopped when it is started again.

    Example: `simprod train shop/catalog.csv --hand-pairs shop/hand_pairs.csv
    --mined-pairs mined.parquet --out runs/both`

    Example: `simprod train photos.csv --image-tower weights/alexnet.npz
    --train-image-tower --loss arcface --schedule cosine --out runs/arcface`
    """
    given = dict(locals())
    from simprod_tf.data.split import read_split
    from simprod_tf.pipeline.train import train_run

    if not train_on:
        given["train_on"] = "both" if hand_pairs or mined_pairs else "groups"
    with options():
        plan = _plan(given)
    with bars() as progress:
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not (features or features_column or category or number),
            check_pictures=not plan.image.frozen,
        )
        result = train_run(
            products,
            out,
            hand=labelled_pairs(hand_pairs, "hand", products.ids),
            mined=labelled_pairs(mined_pairs, "mined", products.ids),
            split=None if split is None else read_split(split),
            allow_leaks=allow_leaks,
            tables=_tables(products, features, features_column),
            store=feature_store,
            tensorboard=tensorboard,
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


def _plan(given: dict[str, Any]) -> Any:
    """Returns the TrainPlan of the options, by their names."""
    from simprod_tf.features.augment import AugmentSettings
    from simprod_tf.model.encoder import EncoderSettings
    from simprod_tf.pipeline.plan import (
        AttributeSettings,
        ImageSettings,
        TrainPlan,
        WordSettings,
    )

    towers = tower_settings(
        *(given[n] for n in ("image_tower", "image_weights")),
        *(given[n] for n in ("output_layer", "image_size")),
    )
    frozen = given["freeze_image_tower"]
    if frozen is None:
        frozen = any(one.spec != "small" or one.weights for one in towers)
    buckets = given["buckets"]
    if buckets is None:
        buckets = 0 if given["unknown_words"] == "drop" else 4096
    path = given["word_vectors"]
    return TrainPlan(
        image=ImageSettings(
            towers,
            frozen,
            given["feature_type"],
            AugmentSettings(**_of(given, "min_crop", "colour", "erasing")),
        ),
        words=WordSettings(
            None if path is None else str(path),
            kind=given["word_training"],
            weighting=given["word_weights"],
            unknown=given["unknown_words"],
            buckets=buckets,
            train_words=not given["freeze_words"],
            **_of(given, "min_count", "extra_words"),
        ),
        attributes=AttributeSettings(
            tuple(given["category"] or ()), tuple(given["number"] or ())
        ),
        encoder=EncoderSettings(
            batch_norm=given["batch_norm"] or given["loss"] == "arcface",
            **_of(
                given, "embedding_dim", "hidden_units", "dropout", "modality_dropout"
            ),
        ),
        training=_training(given),
        **_of(given, "train_on", "raw", "validation", "test", "precision"),
    )


def _training(given: dict[str, Any]) -> Any:
    from simprod_tf.training.optimizer import OptimizerSettings
    from simprod_tf.training.settings import (
        BatchSettings,
        FineTuning,
        Hardware,
        LossSettings,
        NegativeSettings,
        TrainingSettings,
    )

    return TrainingSettings(
        loss=LossSettings(
            given["loss"],
            **_of(given, "margin", "similar_margin", "temperature", "scale"),
            **_of(given, "ramp_epochs"),
        ),
        batch=BatchSettings(given["batches"], given["batch_size"], given["per_group"]),
        optimizer=OptimizerSettings(
            **_of(given, "learning_rate", "weight_decay", "schedule"),
            **_of(given, "warmup_epochs", "clip_norm"),
        ),
        negatives=NegativeSettings(
            given["hard_negatives"],
            given["refresh_epochs"],
            given["random_negatives"],
            given["negatives_column"],
            given["negative_weight"],
        ),
        fine_tuning=FineTuning(
            given["train_layers"],
            **_of(given, "head_epochs", "tower_rate", "word_rate"),
        ),
        hardware=Hardware(given["strategy"], given["numbers"], given["xla"]),
        **_of(given, "epochs", "monitor", "patience", "mined_weight", "seed"),
    )


def _of(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names}


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
