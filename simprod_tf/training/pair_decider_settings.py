"""How the pair decider is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field

from simprod_tf.model.cross_attention import CrossAttentionSettings


@dataclass(frozen=True)
class PairDeciderSettings:
    """How the model is fitted.

    Attributes:
        columns: attributes that are read behind the title, in this order.
        max_words: of a text; what is behind is not read.
        epochs: passes over the pairs.
        batch_size: pairs in a step.
        learning_rate: the highest, after the first epoch; then it falls by a cosine.
        weight_decay: of AdamW.
        changed: share of the texts whose words are changed while training.
        renamed: share of the pairs whose model numbers are renamed.
        vector_dim, vector_epochs: of the word vectors trained on the catalogue's texts.
        model: sizes.
    """

    columns: tuple[str, ...] = ()
    max_words: int = 32
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    changed: float = 0.5
    renamed: float = 0.3
    vector_dim: int = 50
    vector_epochs: int = 10
    model: CrossAttentionSettings = field(default_factory=CrossAttentionSettings)

    def __post_init__(self) -> None:
        """Checks the ranges."""
        counts = ("max_words", "epochs", "batch_size", "vector_dim", "vector_epochs")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}."
                )
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(
                "learning_rate must be above 0 and weight_decay at least 0, got "
                f"{self.learning_rate} and {self.weight_decay}."
            )
        for name in ("changed", "renamed"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} must be in [0, 1], got {getattr(self, name)}."
                )
