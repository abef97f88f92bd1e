"""The settings of one training, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field

from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.text import DROP, HASH, NGRAMS
from simprod_tf.features.word_vectors import KINDS
from simprod_tf.features.word_weights import WEIGHTINGS
from simprod_tf.model.encoder import EncoderSettings
from simprod_tf.training.settings import TrainingSettings

SOURCES = ("hand", "mined", "both", "groups")


@dataclass(frozen=True)
class TowerSettings:
    """One image tower: see `simprod_tf.model.image_tower.build_image_tower`.

    Attributes:
        spec: A preset, `keras:NAME`, or the path of weights or of a model.
        weights: A file of weights, or None for what the spec says.
        output_layer: Where to stop, or None for the last whose weights there are.
        image_size: Side of its pictures in pixels, or None for the tower's own.
    """

    spec: str = "small"
    weights: str | None = None
    output_layer: str | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class ImageSettings:
    """The image towers, and whether they are trained with the rest.

    Attributes:
        towers: Each sees every picture; their features are joined.
        frozen: Leave them as they are; features are computed once, into the store.
        dtype: Of features in the store: float16 or float32.
        augment: How pictures are changed while a tower is trained.
    """

    towers: tuple[TowerSettings, ...] = (TowerSettings(),)
    frozen: bool = False
    dtype: str = "float16"
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def __post_init__(self) -> None:
        """Checks `dtype`."""
        _require_one_of("dtype", self.dtype, ("float16", "float32"))


@dataclass(frozen=True)
class WordSettings:
    """Where word vectors come from, and how a title is made of them.

    Attributes:
        path: A file of word vectors, or None to train them on the catalogue's titles.
        kind, dim, epochs: Of that training: "skipgram" or "fasttext".
        min_count: Words in fewer titles than this count as unknown.
        extra_words: Of a file, keep this many first words too: for titles to come.
        weighting: Of the mean: "plain", "idf" or "sif".
        unknown: What becomes of unknown words: "drop", "hash" or "ngrams".
        buckets: How many vectors they share, where they are not dropped.
        train_words: Train the word vectors with the rest, or leave them as they are.
    """

    path: str | None = None
    kind: str = "skipgram"
    dim: int = 128
    epochs: int = 40
    min_count: int = 1
    extra_words: int = 0
    weighting: str = "idf"
    unknown: str = DROP
    buckets: int = 0
    train_words: bool = True

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _require_one_of("kind", self.kind, KINDS)
        _require_one_of("weighting", self.weighting, WEIGHTINGS)
        _require_one_of("unknown", self.unknown, (DROP, HASH, NGRAMS))
        for name in ("dim", "epochs", "min_count"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}."
                )
        if (self.unknown == DROP) != (self.buckets == 0) or self.buckets < 0:
            raise ValueError(
                "unknown words that are dropped have 0 buckets, all others at least 1; "
                f"got unknown {self.unknown!r} and {self.buckets} buckets."
            )


@dataclass(frozen=True)
class AttributeSettings:
    """Columns of the catalogue that are sources of features too.

    Attributes:
        categories: Columns of text, such as a brand.
        numbers: Columns of numbers, such as a price.
    """

    categories: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainPlan:
    """All settings of one training.

    Attributes:
        image, words, attributes, encoder, training: See each.
        train_on: "hand", "mined" or "both" kinds of labelled pairs, or "groups": pairs
            and classes of the catalogue's own groups of the same product. Hand-labelled
            pairs decide the split, the best epoch and the threshold in any case.
        raw: No training at all: the normalised features, concatenated.
        validation, test: Shares of the products, where no split is given.
        precision: What the threshold must hold on the validation pairs.
    """

    image: ImageSettings = field(default_factory=ImageSettings)
    words: WordSettings = field(default_factory=WordSettings)
    attributes: AttributeSettings = field(default_factory=AttributeSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    train_on: str = "both"
    raw: bool = False
    validation: float = 0.15
    test: float = 0.25
    precision: float = 0.9

    def __post_init__(self) -> None:
        """Checks `train_on`."""
        _require_one_of("train_on", self.train_on, SOURCES)


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
