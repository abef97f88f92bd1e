"""The decisions of an index and its views, as one file that `match` takes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simprod_tf.atomic import write_json
from simprod_tf.errors import InputError, ModelError
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.views import WHOLE

KIND = "decisions"


@dataclass(frozen=True)
class Decisions:
    """A decision for each view, all for the embeddings of one encoder.

    Attributes:
        encoder_fingerprint: of the encoder whose distances these are.
        by_view: "both", and the other views that have one.
        refused: why other views have none.
        category: the column by whose values thresholds differ, or "".
    """

    encoder_fingerprint: str
    by_view: Mapping[str, Decision]
    refused: Mapping[str, str]
    category: str = ""

    def __post_init__(self) -> None:
        """Refuses decisions without one for whole products."""
        if WHOLE not in self.by_view:
            raise ValueError(f"There is no decision for {WHOLE!r}.")

    @property
    def whole(self) -> Decision:
        """The decision on whole products."""
        return self.by_view[WHOLE]


def write_decisions(decisions: Decisions, path: str | os.PathLike[str]) -> None:
    """Writes decisions as JSON, whole or not at all."""
    write_json(
        path,
        {
            "kind": KIND,
            "encoder_fingerprint": decisions.encoder_fingerprint,
            "category": decisions.category,
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
        )
    except (AttributeError, KeyError, TypeError, ValueError, ModelError) as error:
        raise InputError(
            f"holds damaged decisions: {error} Choose them again with `simprod "
            "threshold`.",
            path=path,
        ) from error
