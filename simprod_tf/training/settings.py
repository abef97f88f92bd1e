"""How an encoder is fitted: the settings of one training, checked when made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from simprod_tf.model.losses import MAX_DISTANCE
from simprod_tf.training.optimizer import OptimizerSettings
from simprod_tf.training.precision import PRECISIONS
from simprod_tf.training.strategy import STRATEGIES

# Which form of batch each loss can be computed on; the first is its default.
# unique: products once each, with all labelled pairs among them; twin: pairs;
# groups: some products of each of some groups.
FORMS = {
    "contrastive": ("unique", "twin", "groups"),
    "double_margin": ("unique", "twin", "groups"),
    "npairs": ("unique", "groups"),
    "triplet_hard": ("groups",),
    "triplet_semihard": ("groups",),
    "arcface": ("groups",),
}
MONITORS = ("pr_auc", "map_at_r", "recall_at_1")


@dataclass(frozen=True)
class LossSettings:
    """Which loss, and its numbers; each loss takes those that it knows.

    Attributes:
        name: One of `FORMS`.
        margin: Distance that dissimilar pairs are pushed to (contrastive,
            double_margin), that a negative is to be farther than the positive
            (triplets), or the angle in radians (arcface); None for the loss's own.
        similar_margin: Distance under which similar pairs are left alone
            (double_margin).
        temperature: Of npairs.
        scale: Of arcface.
        ramp_epochs: Epochs in which arcface's margin grows from 0.
    """

    name: str = "npairs"
    margin: float | None = None
    similar_margin: float = 0.3
    temperature: float = 0.1
    scale: float = 30.0
    ramp_epochs: int = 5

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _require_one_of("loss", self.name, tuple(FORMS))
        if self.margin is not None and not 0 < self.margin <= MAX_DISTANCE:
            raise ValueError(f"margin must be in (0, 2], got {self.margin}.")
        for name in ("temperature", "scale"):
            _require_above_0(name, getattr(self, name))
        if self.ramp_epochs < 0 or not 0 <= self.similar_margin < MAX_DISTANCE:
            raise ValueError(
                "ramp_epochs must be at least 0 and similar_margin in [0, 2), got "
                f"{self.ramp_epochs} and {self.similar_margin}."
            )
        if self.name == "arcface" and self.own_margin >= math.pi / 2:
            raise ValueError(
                f"arcface's margin is an angle below pi / 2, got {self.margin}."
            )
        if self.name == "double_margin" and self.similar_margin >= self.own_margin:
            raise ValueError(
                "similar_margin must be below margin, got "
                f"{self.similar_margin} and {self.own_margin}."
            )

    @property
    def own_margin(self) -> float:
        """The margin, or the loss's own."""
        return MARGINS[self.name] if self.margin is None else self.margin


MARGINS = {
    "contrastive": 1.0,
    "double_margin": 1.0,
    "npairs": 1.0,
    "triplet_hard": 0.3,
    "triplet_semihard": 0.3,
    "arcface": 0.3,
}


@dataclass(frozen=True)
class BatchSettings:
    """What a step sees.

    Attributes:
        form: "unique", "twin" or "groups" (see `FORMS`), or None for the loss's own.
        size: Products in a step; pairs, where the form is "twin".
        per_group: Products of a group, where the form is "groups".
    """

    form: str | None = None
    size: int = 128
    per_group: int = 4

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("size", "per_group"):
            _require_at_least(2, name, getattr(self, name))


@dataclass(frozen=True)
class NegativeSettings:
    """Dissimilar pairs that nobody labelled, drawn for training.

    Attributes:
        hard: Near neighbours of each product in the current encoder's space that are
            taken as dissimilar; 0 for none.
        refresh_epochs: After how many epochs they are searched anew.
        random: Random pairs for each product.
        column: A column of the catalogue, such as the category, that the two products
            of a random pair share; None for any two products.
        weight: Of each such pair.
    """

    hard: int = 0
    refresh_epochs: int = 3
    random: float = 0.0
    column: str | None = None
    weight: float = 0.5

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require_at_least(1, "refresh_epochs", self.refresh_epochs)
        _require_above_0("weight", self.weight)
        if self.hard < 0 or self.random < 0:
            raise ValueError(
                "the numbers of negatives must be at least 0, got "
                f"{self.hard} and {self.random}."
            )


@dataclass(frozen=True)
class FineTuning:
    """What of the image towers and word vectors is trained, and how fast.

    Attributes:
        layers: Regular expression on `tower/layer`: which layers of towers that are
            trained; the others stay as they are.
        head_epochs: First epochs, in which the towers stay as they are.
        tower_rate, word_rate: Factors on the learning rate of towers, word vectors.
    """

    layers: str = ".*"
    head_epochs: int = 0
    tower_rate: float = 1.0
    word_rate: float = 1.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("head_epochs", "tower_rate", "word_rate"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be at least 0, got {getattr(self, name)}."
                )


@dataclass(frozen=True)
class Hardware:
    """Where and in which numbers a training runs.

    Attributes:
        strategy: "none", "mirrored" (all GPUs of this machine) or "multi-worker"
            (TF_CONFIG says which machines).
        precision: Keras' policy; what is saved is float32 in any case.
        xla: Compile the step with XLA.
    """

    strategy: str = "none"
    precision: str = "float32"
    xla: bool = False

    def __post_init__(self) -> None:
        """Checks the names."""
        _require_one_of("strategy", self.strategy, tuple(STRATEGIES))
        _require_one_of("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class TrainingSettings:
    """How the encoder is fitted.

    Attributes:
        epochs: Passes over the labels, at most.
        loss, batch, optimizer, negatives, fine_tuning, hardware: See each.
        monitor: What of the validation side decides when to stop and which epoch is
            kept: one of `MONITORS`; None for "pr_auc" where there are labelled pairs.
        patience: Epochs without a better one before stopping.
        mined_weight: Factor on the weights of mined pairs, which are below 1 already.
        seed: Of everything random.
    """

    epochs: int = 40
    loss: LossSettings = field(default_factory=LossSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    negatives: NegativeSettings = field(default_factory=NegativeSettings)
    fine_tuning: FineTuning = field(default_factory=FineTuning)
    hardware: Hardware = field(default_factory=Hardware)
    monitor: str | None = None
    patience: int = 10
    mined_weight: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks what concerns several parts."""
        for name in ("epochs", "patience"):
            _require_at_least(1, name, getattr(self, name))
        _require_above_0("mined_weight", self.mined_weight)
        _require_one_of(
            f"batches of {self.loss.name}", self.form, FORMS[self.loss.name]
        )
        if self.monitor is not None:
            _require_one_of("monitor", self.monitor, MONITORS)
        drawn = self.negatives.hard or self.negatives.random
        if drawn and self.form == "groups":
            raise ValueError(
                "drawn negatives are pairs, and batches of groups bring their own: "
                "leave them out, or choose another loss or form of batches."
            )

    @property
    def form(self) -> str:
        """The form of the batches."""
        return self.batch.form or FORMS[self.loss.name][0]

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to.

    Attributes:
        epoch, epochs: From 1 on, and how many there are at most.
        logs: Keras' own: `loss`, `val_loss` of labelled pairs, `val_pr_auc`,
            `val_recall_at_1`, `val_map_at_r`, where there is a validation side.
    """

    epoch: int
    epochs: int
    logs: dict[str, float]

    @property
    def loss(self) -> float:
        """The mean training loss."""
        return self.logs["loss"]


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")


def _require_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")


def _require_above_0(name: str, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{name} must be above 0, got {value}.")
