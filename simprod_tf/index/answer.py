"""What an index answers: the products it found, and how well it finds them by now."""

from __future__ import annotations

from dataclasses import dataclass

from simprod_tf.index.tuning import at_most


@dataclass(frozen=True)
class Match:
    """One product found for one query.

    Attributes:
        query_id: what was asked for.
        id: the product found.
        distance: L2 between the two unit-length embeddings, in [0, 2].
        probability: that they are similar, where a calibration is at hand.
    """

    query_id: str
    id: str
    distance: float
    probability: float | None = None


@dataclass(frozen=True)
class Drift:
    """What changes have done to an index since it was trained.

    Attributes:
        changed: share of the products that came, or were replaced, since.
        recall: share of the 10 nearest products that is found now; 1 where the
            search is exact.
        recall_of_changed: the same with changed products for queries.
        wanted: the recall that the index was built for.
        num_queries: products that `recall` was measured on; 0 where it is certain.
        num_changed_queries: those that `recall_of_changed` was measured on.
    """

    changed: float
    recall: float
    recall_of_changed: float
    wanted: float
    num_queries: int = 0
    num_changed_queries: int = 0

    @property
    def fallen_to(self) -> float | None:
        """The lowest recall that lies .01 below the wanted one, but for chance."""
        measured = (
            (self.recall, self.num_queries),
            (self.recall_of_changed, self.num_changed_queries),
        )
        # The measure that a fresh index has to pass, or it would be due at once.
        low = [one for one in measured if at_most(*one) < self.wanted - 0.01]
        return min(low)[0] if low else None

    @property
    def due(self) -> bool:
        """Whether to `compact`."""
        return self.fallen_to is not None
