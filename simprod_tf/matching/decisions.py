"""The decisions of an index and its views, as one file that `match` takes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simprod_tf.atomic import write_json
from simprod_tf.data.catalog import Catalog
from simprod_tf.errors import FingerprintError, InputError, ModelError, SimprodError
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.rule import Limit
from simprod_tf.matching.views import DECIDER, WHOLE, deciding

KIND = "decisions"


@dataclass(frozen=True)
class Decisions:
    """A decision for each view, all for the embeddings of one encoder.

    Attributes:
        encoder_fingerprint: of the encoder whose distances these are, or by whose
            index the pair decider's candidates came.
        by_view: "both", and the other views that have one; or "decider" alone.
        refused: why other views have none.
        category: the column by whose values thresholds differ, or "".
        veto: the kinds of conflict of which pairs were left out; None if nobody said.
        decider_fingerprint: of the pair decider whose distances these are, or "".
    """

    encoder_fingerprint: str
    by_view: Mapping[str, Decision]
    refused: Mapping[str, str]
    category: str = ""
    veto: tuple[str, ...] | None = None
    decider_fingerprint: str = ""

    def __post_init__(self) -> None:
        """Refuses decisions without one on whole products, or on a decider's pairs."""
        needed = DECIDER if self.decider_fingerprint else WHOLE
        if needed not in self.by_view or deciding(self.by_view) != needed:
            raise ValueError(f"There is no decision for {needed!r}.")

    @property
    def deciding(self) -> Decision:
        """The decision by the distance that decides: the decider's, else "both"."""
        return self.by_view[deciding(self.by_view)]

    @property
    def whole(self) -> Decision:
        """The decision on whole products, by the distance of their embeddings.

        Raises:
            FingerprintError: it is decided by a pair decider's distances instead.
        """
        self.require_decider("")
        return self.by_view[WHOLE]

    def require_for(self, fingerprint: str, *, decider: str = "") -> None:
        """Refuses an encoder or pair decider other than the one of these distances.

        Args:
            fingerprint: of the encoder.
            decider: fingerprint of the pair decider; "" where there is none.

        Raises:
            FingerprintError: names both fingerprints.
        """
        self.require_decider(decider)
        for decision in self.by_view.values():
            decision.require_for(fingerprint)

    def require_decider(self, fingerprint: str) -> None:
        """Refuses another pair decider than the one whose distances these were.

        Args:
            fingerprint: of the decider; "" where distances are those of embeddings.

        Raises:
            FingerprintError: names both.
        """
        if self.decider_fingerprint == fingerprint:
            return
        chosen, got = (
            f"the pair decider {one}" if one else "distances of embeddings"
            for one in (self.decider_fingerprint, fingerprint)
        )
        raise FingerprintError(
            f"The threshold was chosen for {chosen}, got {got}; distances of different "
            "deciders do not compare: give that decider, or choose the threshold again "
            "with `simprod threshold`."
        )

    def limits(self, catalog: Catalog | None) -> dict[str, Limit]:
        """Returns the limit of each view: one distance, or one for each product.

        Args:
            catalog: the products, where thresholds go by category.

        Raises:
            SimprodError: they do, and there is no catalogue, or not this column in it.
        """
        by_category = any(one.by_category for one in self.by_view.values())
        categories = _categories(catalog, self.category) if by_category else None
        return {
            view: one.max_distance
            if categories is None or not one.by_category
            else one.limits(categories)
            for view, one in self.by_view.items()
        }


def trained_decisions(
    content: Mapping[str, Any] | None, fingerprint: str
) -> Decisions | None:
    """Returns the decision that training made, None if it made none.

    Args:
        content: "decision" of a SavedModel's manifest, or of an index's `extra`.
        fingerprint: of the encoder.

    Raises:
        ModelError: the decision is damaged.
    """
    if not content or "refused" in content:
        return None
    return Decisions(fingerprint, {WHOLE: Decision.from_json(content)}, {})


def _categories(catalog: Catalog | None, column: str) -> np.ndarray:
    if catalog is None:
        raise SimprodError(
            f"thresholds go by {column!r}, which is read from the catalogue: give "
            "--catalog."
        )
    try:
        return catalog.column(column)
    except KeyError as error:
        raise SimprodError(
            f"thresholds go by {column!r}, and the catalogue has {error.args[0]}"
        ) from error


def write_decisions(decisions: Decisions, path: str | os.PathLike[str]) -> None:
    """Writes decisions as JSON, whole or not at all."""
    write_json(
        path,
        {
            "kind": KIND,
            "encoder_fingerprint": decisions.encoder_fingerprint,
            "decider_fingerprint": decisions.decider_fingerprint,
            "category": decisions.category,
            "veto": None if decisions.veto is None else list(decisions.veto),
            "decisions": {
                name: one.to_json() for name, one in decisions.by_view.items()
            },
            "refused": dict(decisions.refused),
        },
    )


def read_decisions(path: str | os.PathLike[str]) -> Decisions:
    """Returns what `write_decisions` wrote.

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    try:
        content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("there is no such file.", path=path) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as JSON: {error}.", path=path) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise InputError(
            "holds no decisions; `simprod threshold` makes them.", path=path
        )
    try:
        return Decisions(
            content["encoder_fingerprint"],
            {
                name: Decision.from_json(one)
                for name, one in content["decisions"].items()
            },
            dict(content["refused"]),
            content["category"],
            None if content["veto"] is None else tuple(content["veto"]),
            # Files of earlier versions know of no decider.
            content.get("decider_fingerprint", ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError, ModelError) as error:
        raise InputError(
            f"holds damaged decisions ({error}); choose them again with `simprod "
            "threshold`.",
            path=path,
        ) from error
