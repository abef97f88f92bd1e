"""AdamW with a rate for each part of the model, warm-up, cosine decay, and clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import tensorflow as tf

from simprod_tf.training.layer_path import matches, weight_paths

CONSTANT, COSINE = "constant", "cosine"
# Own names of tables of vectors, a row a word or a category. Decay would shrink the
# rows that a batch does not even mention.
_TABLES = ("embeddings", "vectors")


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights follow their gradients.

    Attributes:
        learning_rate: The highest.
        weight_decay: Share of a weight that, times the rate, a step takes away; not of
            biases, gains of norms, and vectors of words and categories.
        warmup_epochs: Epochs in which the rate rises to the highest.
        schedule: After them, "constant", or "cosine" down to the final share.
        final_share: Of the highest rate, at the last step of "cosine".
        clip_norm: Longest that all gradients may be, taken together; None for any.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    schedule: str = CONSTANT
    final_share: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.learning_rate <= 0:
            raise ValueError(
                f"learning_rate must be above 0, got {self.learning_rate}."
            )
        for name in ("weight_decay", "warmup_epochs"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name} must be at least 0, got {getattr(self, name)}."
                )
        if self.schedule not in (CONSTANT, COSINE):
            raise ValueError(
                f"schedule must be {CONSTANT} or {COSINE}, got {self.schedule!r}."
            )
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"final_share must be in [0, 1], got {self.final_share}.")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm must be above 0, got {self.clip_norm}.")

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain values."""
        return asdict(self)


@tf.keras.saving.register_keras_serializable(package="simprod")
class WarmupCosine(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly, then falls along half a cosine.

    Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    without the restarts.
    """

    def __init__(
        self,
        peak: float,
        total_steps: int,
        *,
        warmup_steps: int = 0,
        final_share: float = 0.0,
    ) -> None:
        """Takes the highest rate, and the number of steps with those of the warm-up.

        Raises:
            ValueError: the warm-up leaves no step.
        """
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"warmup_steps must be below the {total_steps} steps of the training, "
                f"got {warmup_steps}."
            )
        self.peak, self.total_steps = peak, total_steps
        self.warmup_steps, self.final_share = warmup_steps, final_share

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of this step; the first is step 0, and has a rate already.

        From `total_steps` on it stays at its lowest.
        """
        done = tf.cast(step, tf.float32)
        rising = (done + 1.0) / max(self.warmup_steps, 1)
        left = self.total_steps - self.warmup_steps
        share = tf.minimum((done - self.warmup_steps) / left, 1.0)
        wave = 0.5 * (1.0 + tf.cos(math.pi * share))
        falling = self.final_share + (1.0 - self.final_share) * wave
        return self.peak * tf.where(done < self.warmup_steps, rising, falling)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the schedule."""
        names = ("peak", "total_steps", "warmup_steps", "final_share")
        return {name: getattr(self, name) for name in names}


@tf.keras.saving.register_keras_serializable(package="simprod")
class GroupedAdamW(tf.keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter 2019) with a rate and a decay for each variable.

    Adam does not heed a gradient's scale, so the factor is on the step itself: on what
    it adds and on what decay takes away. What is whose goes by position among the
    model's trainable variables: names may repeat, and identities end with the process.

    Args:
        learning_rate: A number or a schedule.
        rates: Factor on the rate, for each trainable variable; none for 1.
        decays: `weight_decay` times this, for each trainable variable; none for 1.
        further: Of `tf.keras.optimizers.AdamW`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        *,
        rates: Sequence[float] = (),
        decays: Sequence[float] = (),
        name: str = "GroupedAdamW",
        **further: Any,
    ) -> None:
        super().__init__(learning_rate, name=name, **further)
        if self.amsgrad:
            raise ValueError("amsgrad is not supported with a rate for each variable.")
        self.rates, self.decays = list(rates), list(decays)

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Makes the moments; `var_list` is what rates and decays are of.

        Raises:
            ValueError: the number of variables is not that of the rates.
        """
        for name in ("rates", "decays"):
            expected = len(getattr(self, name))
            if expected not in (0, len(var_list)):
                raise ValueError(
                    f"the optimizer has {name} for {expected} trainable variables, and "
                    f"the model has {len(var_list)}: freeze and unfreeze layers "
                    "before building the optimizer."
                )
        super().build(var_list)

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Takes one step on one variable."""
        row = self._index_dict[self._var_key(variable)]
        kind = variable.dtype
        rate = tf.cast(self.learning_rate, kind) * _at(self.rates, row)
        decay = (self.weight_decay or 0.0) * _at(self.decays, row)
        if decay:
            variable.assign_sub(variable * tf.cast(decay, kind) * rate)
        # Rows of a table: the moments of all of them fade, as in Keras.
        gradient = tf.convert_to_tensor(gradient)
        first, second = self._momentums[row], self._velocities[row]
        first.assign_add((gradient - first) * (1 - self.beta_1))
        second.assign_add((tf.square(gradient) - second) * (1 - self.beta_2))
        step = tf.cast(self.iterations + 1, kind)
        # Both moments start at 0: what that hides of their size is given back.
        whole_first = 1 - tf.pow(tf.cast(self.beta_1, kind), step)
        whole_second = 1 - tf.pow(tf.cast(self.beta_2, kind), step)
        rate = rate * tf.sqrt(whole_second) / whole_first
        variable.assign_sub(rate * first / (tf.sqrt(second) + self.epsilon))

    def _apply_weight_decay(self, variables: Sequence[tf.Variable]) -> None:
        """Does nothing: `update_step` decays each variable at its own rate."""

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the optimizer."""
        own = {"rates": list(self.rates), "decays": list(self.decays)}
        return {**super().get_config(), **own}


def build_optimizer(
    settings: OptimizerSettings,
    model: tf.keras.Model,
    *,
    steps_per_epoch: int,
    epochs: int,
    rates: Mapping[str, float] | None = None,
) -> GroupedAdamW:
    """Returns the optimizer to compile `model` with.

    Args:
        settings: See there.
        model: What will be fitted, the outermost model, its layers frozen already.
        steps_per_epoch, epochs: Of the training, for the schedule.
        rates: See `rate_groups`.
    """
    return GroupedAdamW(
        _learning_rate(settings, steps_per_epoch, epochs),
        rates=rate_groups(model, rates or {}),
        decays=[float(one) for one in _decayed(model)],
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
    )


def rate_groups(model: tf.keras.Model, rates: Mapping[str, float]) -> list[float]:
    """Returns the factor on the rate of each of `model.trainable_variables`.

    Args:
        model: The model that is fitted.
        rates: Factors by a regular expression of whole parts of the variables' paths
            (see `layer_path.matches`): `{"small": 0.1, "class_vectors": 10}`. Of
            several that fit, the last counts; with none it is 1; 0 stands still.

    Raises:
        ValueError: a factor is below 0, or an expression fits nothing.
    """
    paths = weight_paths(model)
    factors = [1.0] * len(paths)
    for pattern, factor in rates.items():
        if factor < 0:
            raise ValueError(
                f"the rate of {pattern!r} must be at least 0, got {factor}."
            )
        rows = [row for row, path in enumerate(paths) if matches(pattern, path)]
        if not rows:
            layers = dict.fromkeys(path.rpartition("/")[0] or path for path in paths)
            raise ValueError(
                f"no trainable layer fits {pattern!r}; there are {', '.join(layers)}."
            )
        for row in rows:
            factors[row] = float(factor)
    return factors


def _learning_rate(
    settings: OptimizerSettings, steps_per_epoch: int, epochs: int
) -> Any:
    if settings.schedule == CONSTANT and not settings.warmup_epochs:
        return settings.learning_rate
    total_steps = steps_per_epoch * epochs
    # Of a training of few steps the warm-up leaves some.
    warmup_steps = min(round(steps_per_epoch * settings.warmup_epochs), total_steps - 1)
    constant = settings.schedule == CONSTANT
    return WarmupCosine(
        settings.learning_rate,
        total_steps,
        warmup_steps=warmup_steps,
        final_share=1.0 if constant else settings.final_share,
    )


def _decayed(model: tf.keras.Model) -> list[bool]:
    """Returns of each trainable variable whether weight decay is for it."""
    variables = zip(model.trainable_variables, weight_paths(model))
    return [
        len(one.shape) > 1 and not path.endswith(_TABLES) for one, path in variables
    ]


def _at(values: Sequence[float], row: int) -> float:
    return values[row] if values else 1.0
