"""The options of `simprod train`, by panel of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

LABELS = "Labels"
PICTURES = "Pictures"
WORDS = "Words"
ENCODER = "Encoder"
LOSS = "Loss and batches"
NEGATIVES = "Negatives that nobody labelled"
FITTING = "Fitting"

OutFolder = Annotated[Path, typer.Option(help="Folder for the trained encoder.")]
HandPairs = Annotated[
    Optional[Path],
    typer.Option(
        help="Hand-labelled pairs; they also validate.", rich_help_panel=LABELS
    ),
]
MinedPairs = Annotated[
    Optional[Path],
    typer.Option(
        help="Pairs from `simprod mine`: a file, or a folder of Parquet shards, which "
        "are read anew each epoch and never all in memory.",
        rich_help_panel=LABELS,
    ),
]
TrainOn = Annotated[
    str,
    typer.Option(
        help="hand, mined, both, or groups: the catalogue's own groups of the same "
        "product.",
        show_default="both; groups without any pairs",
        rich_help_panel=LABELS,
    ),
]
MinedWeight = Annotated[
    float,
    typer.Option(help="Factor on the weights of mined pairs.", rich_help_panel=LABELS),
]
Split = Annotated[
    Optional[Path],
    typer.Option(help="A split to use: `id`, `side`.", rich_help_panel=LABELS),
]
Validation = Annotated[
    float, typer.Option(help="Share of the products.", rich_help_panel=LABELS)
]
Test = Annotated[
    float, typer.Option(help="Share of the products.", rich_help_panel=LABELS)
]
AllowLeaks = Annotated[
    bool,
    typer.Option(
        "--allow-leaks",
        help="Use a --split that leaks, with a warning.",
        rich_help_panel=LABELS,
    ),
]
Precision = Annotated[
    float,
    typer.Option(help="What the distance threshold must hold.", rich_help_panel=LABELS),
]
FreezeImageTower = Annotated[
    Optional[bool],
    typer.Option(
        "--freeze-image-tower/--train-image-tower",
        show_default="frozen, but for --image-tower small without weights",
        rich_help_panel=PICTURES,
    ),
]
TrainLayers = Annotated[
    str,
    typer.Option(
        help="Regular expression on tower/layer: those of a trained tower that change.",
        rich_help_panel=PICTURES,
    ),
]
HeadEpochs = Annotated[
    int,
    typer.Option(
        help="First epochs, in which a trained tower stays as it is.",
        rich_help_panel=PICTURES,
    ),
]
TowerRate = Annotated[
    float,
    typer.Option(
        help="Factor on the learning rate of trained towers.",
        rich_help_panel=PICTURES,
    ),
]
MinCrop = Annotated[
    float,
    typer.Option(
        help="Training sees crops of at least this share of each side.",
        rich_help_panel=PICTURES,
    ),
]
Colour = Annotated[
    float,
    typer.Option(
        help="Colours change by at most this share.", rich_help_panel=PICTURES
    ),
]
Erasing = Annotated[
    float,
    typer.Option(
        help="Share of the pictures of which a rectangle is erased.",
        rich_help_panel=PICTURES,
    ),
]
FeatureStore = Annotated[
    Optional[Path],
    typer.Option(
        help="Folder of the features of frozen towers.",
        show_default="`features` beside --out",
        rich_help_panel=PICTURES,
    ),
]
WordTraining = Annotated[
    str,
    typer.Option(
        help="Where they are trained: skipgram or fasttext.", rich_help_panel=WORDS
    ),
]
WordWeights = Annotated[
    str,
    typer.Option(help="Of a title's mean: plain, idf or sif.", rich_help_panel=WORDS),
]
UnknownWords = Annotated[
    str,
    typer.Option(
        help="What becomes of them: drop, hash or ngrams.", rich_help_panel=WORDS
    ),
]
Buckets = Annotated[
    Optional[int],
    typer.Option(
        help="Vectors that unknown words share.",
        show_default="4096, or 0 for drop",
        rich_help_panel=WORDS,
    ),
]
FreezeWords = Annotated[
    bool,
    typer.Option(
        "--freeze-words/--train-words",
        help="The word vectors.",
        rich_help_panel=WORDS,
    ),
]
WordRate = Annotated[
    float,
    typer.Option(
        help="Factor on the learning rate of word vectors.", rich_help_panel=WORDS
    ),
]
Category = Annotated[
    Optional[list[str]],
    typer.Option(
        help="A column of text as a source, such as brand; repeatable.",
        rich_help_panel=ENCODER,
    ),
]
Number = Annotated[
    Optional[list[str]],
    typer.Option(
        help="A column of numbers as a source, such as price; repeatable.",
        rich_help_panel=ENCODER,
    ),
]
Features = Annotated[
    Optional[list[Path]],
    typer.Option(
        help="Precomputed vectors as a source: clip.npy with clip.ids.txt beside "
        "it, .npz (ids, vectors) or .parquet (id, a column of lists); repeatable.",
        rich_help_panel=ENCODER,
    ),
]
FeaturesColumn = Annotated[
    Optional[list[str]],
    typer.Option(
        help="The same from a column of lists of the catalogue.",
        rich_help_panel=ENCODER,
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="No training: the features as they are.",
        rich_help_panel=ENCODER,
    ),
]
EmbeddingDim = Annotated[
    int, typer.Option(help="Length of embeddings.", rich_help_panel=ENCODER)
]
HiddenUnits = Annotated[
    int,
    typer.Option(
        help="Of a ReLU layer before the projection.", rich_help_panel=ENCODER
    ),
]
Dropout = Annotated[
    float,
    typer.Option(
        help="Share of the features left out in a step.", rich_help_panel=ENCODER
    ),
]
ModalityDropout = Annotated[
    float,
    typer.Option(
        help="Share of products that lose a modality in a step.",
        rich_help_panel=ENCODER,
    ),
]
BatchNorm = Annotated[
    bool,
    typer.Option(
        "--batch-norm",
        help="Before embeddings are brought to unit length.",
        show_default="with arcface",
        rich_help_panel=ENCODER,
    ),
]
Loss = Annotated[
    str,
    typer.Option(
        help="contrastive, double_margin, npairs, triplet_hard, triplet_semihard "
        "or arcface.",
        rich_help_panel=LOSS,
    ),
]
Margin = Annotated[
    Optional[float],
    typer.Option(
        help="Of the loss.",
        show_default="1.0; triplets and arcface 0.3",
        rich_help_panel=LOSS,
    ),
]
SimilarMargin = Annotated[
    float, typer.Option(help="Of double_margin.", rich_help_panel=LOSS)
]
Temperature = Annotated[float, typer.Option(help="Of npairs.", rich_help_panel=LOSS)]
Scale = Annotated[float, typer.Option(help="Of arcface.", rich_help_panel=LOSS)]
RampEpochs = Annotated[
    int,
    typer.Option(help="Epochs in which arcface's margin grows.", rich_help_panel=LOSS),
]
Batches = Annotated[
    Optional[str],
    typer.Option(
        help="unique (products, with all labelled pairs among them), twin (pairs) "
        "or groups (some products of each of some groups).",
        show_default="unique; groups for triplets and arcface",
        rich_help_panel=LOSS,
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(help="Products in a step; pairs with twin.", rich_help_panel=LOSS),
]
PerGroup = Annotated[
    int,
    typer.Option(
        help="Products of a group, in batches of groups.", rich_help_panel=LOSS
    ),
]
HardNegatives = Annotated[
    int,
    typer.Option(
        help="Near neighbours of each product, by the current encoder, to take as "
        "dissimilar; guarded against false ones.",
        rich_help_panel=NEGATIVES,
    ),
]
RefreshEpochs = Annotated[
    int,
    typer.Option(
        help="Epochs until they are searched anew.", rich_help_panel=NEGATIVES
    ),
]
RandomNegatives = Annotated[
    float,
    typer.Option(help="Random pairs for each product.", rich_help_panel=NEGATIVES),
]
NegativesColumn = Annotated[
    Optional[str],
    typer.Option(
        help="A column, such as category, that the two of a random pair share.",
        rich_help_panel=NEGATIVES,
    ),
]
NegativeWeight = Annotated[
    float,
    typer.Option(help="Weight of each such pair.", rich_help_panel=NEGATIVES),
]
Epochs = Annotated[int, typer.Option(help="At most.", rich_help_panel=FITTING)]
Monitor = Annotated[
    Optional[str],
    typer.Option(
        help="What of the validation side decides when to stop: pr_auc, map_at_r "
        "or recall_at_1.",
        show_default="pr_auc; map_at_r without pairs to validate on",
        rich_help_panel=FITTING,
    ),
]
Patience = Annotated[
    int,
    typer.Option(
        help="Epochs without a better one before stopping.", rich_help_panel=FITTING
    ),
]
LearningRate = Annotated[float, typer.Option(help="Of AdamW.", rich_help_panel=FITTING)]
WeightDecay = Annotated[float, typer.Option(help="Of AdamW.", rich_help_panel=FITTING)]
Schedule = Annotated[
    str,
    typer.Option(
        help="Of the learning rate: constant or cosine.", rich_help_panel=FITTING
    ),
]
WarmupEpochs = Annotated[
    float,
    typer.Option(
        help="In which the learning rate rises from 0.", rich_help_panel=FITTING
    ),
]
ClipNorm = Annotated[
    Optional[float],
    typer.Option(
        help="Longest gradient, over all weights.",
        show_default="none",
        rich_help_panel=FITTING,
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        help="none, mirrored (all GPUs here) or multi-worker (TF_CONFIG says which "
        "machines, or --workers).",
        rich_help_panel=FITTING,
    ),
]
Workers = Annotated[
    str,
    typer.Option(
        help="All machines of a multi-worker training, host:port,host:port, in the "
        "same order on each.",
        show_default="what TF_CONFIG says",
        rich_help_panel=FITTING,
    ),
]
Worker = Annotated[
    Optional[int],
    typer.Option(
        help="Which of --workers this machine is, from 0.",
        show_default=False,
        rich_help_panel=FITTING,
    ),
]
Numbers = Annotated[
    str,
    typer.Option(
        help="float32, mixed_float16 or mixed_bfloat16; float32 is saved.",
        rich_help_panel=FITTING,
    ),
]
Xla = Annotated[
    bool,
    typer.Option("--xla", help="Compile the step by XLA.", rich_help_panel=FITTING),
]
Tensorboard = Annotated[
    Optional[Path],
    typer.Option(
        help="Folder for TensorBoard: scalars, and embeddings with pictures.",
        rich_help_panel=FITTING,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Of everything random.", rich_help_panel=FITTING)
]
