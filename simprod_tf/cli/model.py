"""Sub-commands around the encoder: train, export, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import numpy as np
import typer

from simprod_tf.cli.console import bars, options, print_rows, read_products, say
from simprod_tf.cli.data import CatalogPath, SkipBad


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
    image_tower: Annotated[
        str, typer.Option(help="AlexNet: small, torchvision or krizhevsky2012.")
    ] = "small",
    image_weights: Annotated[
        Optional[Path], typer.Option(help="Its weights, an .npz.")
    ] = None,
    output_layer: Annotated[str, typer.Option(help="pool5, fc6 or fc7.")] = "pool5",
    freeze_image_tower: Annotated[
        Optional[bool],
        typer.Option(
            "--freeze-image-tower/--train-image-tower",
            help="By default it is frozen where weights are given.",
        ),
    ] = None,
    word_vectors: Annotated[
        Optional[Path],
        typer.Option(
            help="Word2Vec .bin, GloVe .txt, gensim .kv or .npz; by default "
            "they are trained on the catalogue's titles."
        ),
    ] = None,
    embedding_dim: Annotated[int, typer.Option(help="Length of embeddings.")] = 128,
    hidden_units: Annotated[
        int, typer.Option(help="Of a ReLU layer before the projection.")
    ] = 0,
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
    from simprod_tf.pipeline.plan import ImageTowerSettings, TrainPlan, WordSettings
    from simprod_tf.pipeline.train import train_run
    from simprod_tf.training import TrainingSettings

    if freeze_image_tower is None:
        freeze_image_tower = image_weights is not None
    with options():
        plan = TrainPlan(
            image=ImageTowerSettings(
                image_tower,
                None if image_weights is None else str(image_weights),
                output_layer,
                freeze_image_tower,
            ),
            words=WordSettings(None if word_vectors is None else str(word_vectors)),
            encoder=EncoderSettings(embedding_dim, hidden_units),
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
        products = read_products(catalog, skip_bad=skip_bad, progress=progress)
        result = train_run(
            products,
            out,
            hand=_pairs(hand_pairs, "hand", products.ids),
            mined=_pairs(mined_pairs, "mined", products.ids),
            split=None if split is None else read_split(split),
            plan=plan,
            progress=progress,
        )
    say(f"Encoder {result.fingerprint} written to {out}; {_decided(result.details)}")


def export(
    run: Annotated[Path, typer.Argument(help="Folder that `simprod train` wrote.")],
    out: Annotated[
        Path, typer.Option(help="The model's folder; the next version goes into it.")
    ],
) -> None:
    """Export a trained encoder as a SavedModel that TF Serving loads.

    Example: `simprod export runs/both --out saved_models/shop`
    """
    from simprod_tf.export import export_encoder
    from simprod_tf.trained import TrainedEncoder

    folder = export_encoder(TrainedEncoder.load(run), out)
    say(f"SavedModel written to {folder}")


def evaluate(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Option(help="Folder for report.html.")],
    model: Annotated[
        list[str],
        typer.Option(
            help="A SavedModel, as `name=folder`; may be repeated. The last "
            "one is compared with the others."
        ),
    ],
    pairs: Annotated[Optional[Path], typer.Option(help="Labelled test pairs.")] = None,
    split: Annotated[
        Optional[Path], typer.Option(help="Judge on one side of this split alone.")
    ] = None,
    side: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    queries: Annotated[
        Optional[Path],
        typer.Option(help="Another catalogue, whose products are searched for."),
    ] = None,
    group_column: Annotated[
        str, typer.Option(help="Products that share it are right answers.")
    ] = "group",
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    skip_bad: SkipBad = False,
) -> None:
    """Judge SavedModels on held-out pairs and groups, and write a report.

    Example: `simprod evaluate shop/catalog.csv --model both=saved_models/shop --pairs
    shop/hand_pairs.csv --split runs/both/split.parquet --out evaluation`
    """
    from simprod_tf.data.split import read_split
    from simprod_tf.pipeline.evaluate import HeldOut, evaluate_run

    models = dict(_named(text) for text in model)
    if split is None and queries is None:
        say("Judging on every product, those trained on too; --split holds them back.")
    with bars() as progress:
        products = read_products(catalog, skip_bad=skip_bad, progress=progress)
        asked = products
        if queries is not None:
            asked = read_products(queries, skip_bad=skip_bad, progress=progress)
        labelled = _pairs(pairs, "hand", products.ids)
        if split is not None:
            ids = read_split(split).ids(side)
            known = np.array([id in products for id in ids], bool)
            asked = products.take(products.rows_of(ids[known]))
            labelled = labelled.within(ids) if labelled is not None else None
        held_out = _held_out(HeldOut, products, asked, labelled, group_column)
        evaluations, notes = evaluate_run(
            models, held_out, out, seed=seed, progress=progress
        )
    names = list(evaluations[0].metrics)
    print_rows(
        ["model", *names],
        [
            [e.name, *(str(e.metrics[n]) if n in e.metrics else "" for n in names)]
            for e in evaluations
        ],
    )
    for note in notes:
        say(note)
    say(f"Report: {out / 'report.html'}")


def _held_out(kind, products, asked, labelled, group_column):  # type: ignore[no-untyped-def]
    try:
        return kind(products, asked, labelled, group_column)
    except KeyError as error:
        raise typer.BadParameter(error.args[0]) from error


def _pairs(path: Path | None, source: str, ids: np.ndarray):  # type: ignore[no-untyped-def]
    from simprod_tf.data.pairs import read_pairs

    if path is None:
        return None
    found = read_pairs(path, source=source, known_ids=ids)
    for reason, count in found.dropped.items():
        say(f"{path}: {count} pairs left out: {reason}")
    return found


def _named(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    return (name, folder) if equals else (Path(text).name, text)


def _decided(details) -> str:  # type: ignore[no-untyped-def]
    decision = details["decision"]
    if "refused" in decision:
        return f"no threshold: {decision['refused']}"
    return (
        f"similar up to distance {decision['max_distance']:.3f} (precision at least "
        f"{decision['precision_lower_bound']:.3f} on {decision['num_pairs']} pairs)"
    )
