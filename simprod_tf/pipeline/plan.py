"""The settings of one training, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field

from simprod_tf.features.image import PictureSettings
from simprod_tf.model.alexnet import preset_named, require_output_layer
from simprod_tf.model.encoder import EncoderSettings
from simprod_tf.training import TrainingSettings

SOURCES = ("hand", "mined", "both")


@dataclass(frozen=True)
class ImageTowerSettings:
    """Which image tower, and whether it is trained with the rest.

    Attributes:
        preset: A name in `simprod_tf.model.alexnet.PRESETS`.
        weights: An `.npz` of weights, or None to begin at random.
        output_layer: "pool5", "fc6" or "fc7".
        frozen: Leave the tower as it is; its features are computed once.
    """

    preset: str = "small"
    weights: str | None = None
    output_layer: str = "pool5"
    frozen: bool = False

    def __post_init__(self) -> None:
        """Checks the names."""
        preset_named(self.preset)
        require_output_layer(self.output_layer)

    def pictures(self) -> PictureSettings:
        """Returns the preprocessing that belongs to the preset."""
        preset = preset_named(self.preset)
        return PictureSettings(preset.image_size, preset.resize_to)


@dataclass(frozen=True)
class WordSettings:
    """Where word vectors come from: a file, or training on the catalogue's titles."""

    path: str | None = None
    dim: int = 128
    epochs: int = 40
    min_count: int = 1


@dataclass(frozen=True)
class TrainPlan:
    """All settings of one training.

    Attributes:
        image, words, encoder, training: See each.
        train_on: Which pairs are trained on: "hand", "mined" or "both". Hand-labelled
            pairs decide the split, the best epoch and the threshold in any case.
        raw: No training at all: the normalised features, concatenated.
        validation, test: Shares of the products, where no split is given.
        precision: What the threshold must hold on the validation pairs.
    """

    image: ImageTowerSettings = field(default_factory=ImageTowerSettings)
    words: WordSettings = field(default_factory=WordSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    train_on: str = "both"
    raw: bool = False
    validation: float = 0.15
    test: float = 0.25
    precision: float = 0.9

    def __post_init__(self) -> None:
        """Checks `train_on`."""
        if self.train_on not in SOURCES:
            raise ValueError(
                f"train_on must be one of {', '.join(SOURCES)}, got {self.train_on!r}."
            )
