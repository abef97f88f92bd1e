"""Which conflicts of two products veto a match, by an index's catalogue."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from simprod_tf.data.catalog import Catalog
from simprod_tf.errors import SimprodError
from simprod_tf.index.base import Index
from simprod_tf.matching.conflicts import TraitTable
from simprod_tf.matching.decisions import Decisions
from simprod_tf.matching.rule import Conflicts
from simprod_tf.matching.traits import KINDS
from simprod_tf.pipeline.progress import Progress, about

# What won on the synthetic shop and on labelled pairs of two real catalogues
# (benchmarks/README.md). A brand's name is spelled in too many ways.
DEFAULT_VETO = ("quantity", "pack", "model", "condition")
# A pair decider has learned how much a conflict tells; a veto behind it lowers F1 on
# Abt-Buy's validation pairs from 0.947 to 0.920.
DECIDER_VETO: tuple[str, ...] = ()


def require_kinds(kinds: Collection[str]) -> None:
    """Refuses conflicts that there are not, by a ValueError."""
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(
            f"a conflict is one of {', '.join(KINDS)}, got {min(unknown)!r}."
        )


def chosen_veto(
    stated: tuple[str, ...] | None,
    decisions: Decisions | None,
    catalog: object | None,
    *,
    default: tuple[str, ...] = DEFAULT_VETO,
) -> tuple[str, ...]:
    """Returns the kinds of conflict that veto: stated, the decisions', or the default.

    Args:
        stated: By the user; () for none, None if nothing was said.
        decisions: Chosen behind a veto, perhaps.
        catalog: What conflicts are read from, in whatever form; without it nothing is
            vetoed by default.
        default: `DECIDER_VETO` behind a pair decider.
    """
    if stated is not None:
        return stated
    if decisions is not None and decisions.veto is not None:
        return decisions.veto
    return () if catalog is None else default


def in_index_order(index: Index, catalog: Catalog) -> Catalog:
    """Returns the catalogue's products as the rows of the index.

    Raises:
        SimprodError: it lacks some of them; names one.
    """
    missing = [id for id in index.ids if id not in catalog]
    if missing:
        raise SimprodError(
            f"the catalogue lacks {len(missing)} products of the index, "
            f"{missing[0]!r} among them; give the one that was indexed."
        )
    return catalog.take(catalog.rows_of(list(index.ids)))


def no_catalog(kinds: Collection[str]) -> SimprodError:
    """Returns the error of a run that has no catalogue to read conflicts from."""
    return SimprodError(
        f"conflicts ({', '.join(kinds)}) are read from the catalogue: give "
        "--catalog, or --veto none."
    )


def conflicts_of(
    catalog: Catalog | None, kinds: tuple[str, ...], progress: Progress
) -> Conflicts | None:
    """Returns what says of rows whether they conflict; None where nothing vetoes.

    Args:
        catalog: In the order of the index's rows.
        kinds: Of conflicts.
        progress: Told how far the reading of titles is.

    Raises:
        SimprodError: there is no catalogue to read conflicts from.
    """
    if not kinds:
        return None
    if catalog is None:
        raise no_catalog(kinds)
    traits = TraitTable(catalog, progress=about(progress, "Reading titles"))
    return partial(traits.conflicting, kinds=kinds)
