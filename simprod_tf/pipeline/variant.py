"""A model judged on products of which it gets one modality alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from simprod_tf.evaluation.evaluate import Evaluation


@dataclass(frozen=True, eq=False)
class Variant:
    """A model judged on queries and anchors of which it gets one modality alone.

    Attributes:
        name: `<model> (picture only)` or `<model> (title only)`.
        modality: "picture" or "title".
        evaluation: None where it could not be made.
        skipped: Why it could not be made, or "".
        queries, queries_left_out: Queries asked with, and those without the modality.
        pairs, pairs_left_out: Pairs judged, and those whose anchor is without it.
        unknown: Of the products asked with, how many the encoder knows nothing of.
    """

    name: str
    modality: str
    evaluation: Evaluation | None
    skipped: str
    queries: int
    queries_left_out: int
    pairs: int
    pairs_left_out: int
    unknown: int

    def __str__(self) -> str:
        """Returns what was asked and what was left out, as a sentence."""
        if self.skipped:
            return f"{self.name} was not judged: {self.skipped}."
        left_out = " and ".join(
            f"{lost:,} of {asked + lost:,} {what}"
            for what, asked, lost in (
                ("queries", self.queries, self.queries_left_out),
                ("pairs", self.pairs, self.pairs_left_out),
            )
            if asked + lost
        )
        unknown = f"; nothing is known of {self.unknown:,} products asked with"
        return (
            f"{self.name}: queries and anchors have their {self.modality} alone; left "
            f"out for want of it: {left_out}{unknown if self.unknown else ''}."
        )

    def to_json(self) -> dict[str, Any]:
        """Returns names and counts; the evaluation stands elsewhere."""
        content = asdict(replace(self, evaluation=None))
        del content["evaluation"]
        return content
