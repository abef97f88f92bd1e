"""What a run of matching decides by: views, keys, limits, probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.errors import SimprodError
from simprod_tf.matching.keys import KeyGroups, key_columns
from simprod_tf.matching.matcher import Curve
from simprod_tf.matching.rule import Limit, MatchRule
from simprod_tf.matching.views import DECIDER, WHOLE, Views, views_of
from simprod_tf.pipeline.decider import decided_views
from simprod_tf.pipeline.match_settings import MatchInputs, MatchSettings, no_threshold
from simprod_tf.pipeline.progress import Progress
from simprod_tf.pipeline.veto import (
    DECIDER_VETO,
    DEFAULT_VETO,
    chosen_veto,
    conflicts_of,
)


@dataclass(frozen=True)
class _DeciderCurve:
    """A decider's own probabilities, by its distances."""

    def probability(self, distances: np.ndarray) -> np.ndarray:
        return 1 - distances.astype(np.float64)


def views_for(
    inputs: MatchInputs,
    catalog: Catalog | None,
    settings: MatchSettings,
    *,
    keys: KeyGroups | None,
    tables: np.ndarray | None,
    progress: Progress,
) -> Views:
    """Returns the index and its views, with the decider's where there is one.

    All of them propose candidates, whoever decides.
    """
    if inputs.decider is None:
        return Views(views_of(inputs.index))
    found = decided_views(
        inputs.decider,
        inputs.index,
        catalog,
        k=settings.k,
        keys=keys,
        tables=tables,
        progress=progress,
    )
    rows = None
    if inputs.queries is not None:
        rows = inputs.index.rows_of(list(inputs.queries))
    return found.asked_once(rows, progress=progress)


def curve_of(inputs: MatchInputs) -> Curve | None:
    """Returns what gives the probabilities."""
    if inputs.decisions is not None:
        return inputs.decisions.deciding
    return None if inputs.decider is None else _DeciderCurve()


def keys_of(catalog: Catalog | None, settings: MatchSettings) -> KeyGroups | None:
    """Returns the keys that propose candidates, or None where none were asked for."""
    if not (settings.keys or settings.accept_keys):
        return None
    if catalog is None:
        raise SimprodError("keys are read from the catalogue: give --catalog.")
    columns = key_columns(catalog.attributes.column_names)
    if not columns:
        raise SimprodError(
            "the catalogue has no column of keys; they are called gtin, ean, upc, "
            "barcode, model, model_number, modelno or mpn."
        )
    return KeyGroups.of_columns(catalog.attributes, columns)


def rule_of(
    inputs: MatchInputs,
    catalog: Catalog | None,
    settings: MatchSettings,
    progress: Progress,
) -> MatchRule:
    """Returns what makes a candidate similar, by the catalogue in index order."""
    limits = _limits(inputs, catalog, settings)
    default = DEFAULT_VETO if inputs.decider is None else DECIDER_VETO
    veto = chosen_veto(settings.veto, inputs.decisions, catalog, default=default)
    return MatchRule(
        limits,
        union=settings.union,
        accept_keys=settings.accept_keys,
        mutual=settings.mutual,
        conflicts=conflicts_of(catalog, veto, progress),
    )


def _limits(
    inputs: MatchInputs, catalog: Catalog | None, settings: MatchSettings
) -> dict[str, Limit]:
    decisions, decider = inputs.decisions, inputs.decider
    if settings.union:
        _require_union(inputs, settings)
    if decisions is not None:
        # Of a distance stated by hand the probabilities come from them.
        decisions.require_for(
            inputs.index.encoder_fingerprint,
            decider="" if decider is None else decider.fingerprint,
        )
    if settings.max_distance is not None:
        return {WHOLE if decider is None else DECIDER: settings.max_distance}
    if decisions is None:
        if decider is not None:
            return {DECIDER: 1 - decider.best_f1_probability}
        raise no_threshold()
    chosen, names = decisions.limits(catalog), (*views_of(inputs.index), DECIDER)
    limits = {view: limit for view, limit in chosen.items() if view in names}
    if settings.union and len(limits) == 1:
        reasons = [f" {view}: {why}" for view, why in decisions.refused.items()]
        raise SimprodError(
            "a union needs a threshold for pictures or titles alone, too, and there is "
            "none; `simprod threshold` chooses them on an index with views, for "
            f"--decision.{''.join(reasons)}"
        )
    return limits


def _require_union(inputs: MatchInputs, settings: MatchSettings) -> None:
    """Refuses a union of pictures and titles where there can be none."""
    if inputs.decider is not None:
        raise SimprodError(
            "a union is one of pictures and titles by their distances; a pair decider "
            "looks at both already: give --union or --decider."
        )
    if len(views_of(inputs.index)) == 1:
        raise SimprodError(
            "a union of picture and title needs an index with views: `simprod index "
            "--view image --view text`."
        )
    if settings.max_distance is not None:
        raise SimprodError(
            "a union needs a threshold for each view, which --decision holds; a "
            "stated distance is one for whole products."
        )
