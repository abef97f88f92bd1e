"""The decision: which candidates are similar, and for what reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Union

import numpy as np
import pyarrow as pa

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.views import deciding

# One distance for all, or [N] float64: each query row's own.
Limit = Union[float, np.ndarray]
# Gives of each kind of conflict [C] bool for the pairs of two [C] rows.
Conflicts = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]

DECISIONS = ("different", "similar")
ONE_SIDED = "veto:one-sided"


@dataclass(frozen=True, eq=False)
class MatchRule:
    """What makes a candidate a similar product.

    A pair passes where its distance is within the limit, by the pair decider if there
    is a limit for it, else by "both"; with the options it passes by another view or by
    a shared key as well. A pair that passes is similar unless it is vetoed.

    Attributes:
        limits: of each view the largest distance that passes: a number, or [N] float64
            by the query's row, as thresholds by category are. With the latter a pair
            may pass in one direction alone.
        union: whether a pair passes by any view that has a limit.
        accept_keys: whether a shared key lets a pair pass, however far it is.
        mutual: whether a pair is vetoed that no source proposes in both directions.
        conflicts: says which pairs are vetoed, by kinds; asked of pairs that pass.
    """

    limits: Mapping[str, Limit]
    union: bool = False
    accept_keys: bool = False
    mutual: bool = False
    conflicts: Conflicts | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuses limits that are no distances."""
        if self.deciding not in self.limits:
            raise ValueError(
                f"A rule needs a limit for {self.deciding!r}, got "
                f"{', '.join(self.limits)}."
            )
        for name, limit in self.limits.items():
            if np.ndim(limit) > 1 or not np.all(np.asarray(limit) >= 0):
                raise ValueError(
                    f"The limit of {name!r} is one distance >= 0 or one a row, "
                    f"got {limit}."
                )

    @property
    def deciding(self) -> str:
        """The view whose distance tables show, and groups are made by."""
        return deciding(self.limits)

    @property
    def views(self) -> tuple[str, ...]:
        """The views by which a pair may pass."""
        return tuple(self.limits) if self.union else (self.deciding,)

    def limits_of(self, view: str, starts: np.ndarray) -> np.ndarray:
        """Returns the float64 limits of the queries' rows: one for all, or [C].

        Raises:
            ValueError: limits are one a row, and a row has none.
        """
        limits = np.asarray(self.limits[view], np.float64)
        if not limits.ndim:
            return limits
        if len(starts) and len(limits) <= starts.max():
            raise ValueError(
                f"The limits of {view!r} are one a row, {len(limits)} of them; "
                f"got row {starts.max()}."
            )
        return limits[starts]


@dataclass(frozen=True, eq=False)
class Decided:
    """The decisions on one block of candidates.

    Attributes:
        similar: [C] bool.
        vetoed: [C] bool, of those that would be similar else.
        flags: [C] uint64, bit i set where `names[i]` is a reason.
        names: the reasons that there may be: views and keys by which a pair passes,
            then "veto:" and what stands against it.
    """

    similar: np.ndarray
    vetoed: np.ndarray
    flags: np.ndarray
    names: tuple[str, ...]

    def decisions(self, kept: np.ndarray) -> pa.Array:
        """Returns "similar" or "different" for each of the rows `kept`."""
        codes = pa.array(self.similar[kept].astype(np.int8))
        return pa.array(DECISIONS, pa.string()).take(codes)

    def reasons(self, kept: np.ndarray) -> pa.Array:
        """Returns the list of reasons for each of the rows `kept`."""
        # Few combinations occur: each is spelled out once, then looked up.
        distinct, codes = np.unique(self.flags[kept], return_inverse=True)
        lists = [
            [name for bit, name in enumerate(self.names) if int(flags) >> bit & 1]
            for flags in distinct
        ]
        return pa.array(lists, pa.list_(pa.string())).take(pa.array(codes))


def decide(candidates: Candidates, rule: MatchRule) -> Decided:
    """Returns which candidates are similar, with the reasons for and against.

    Raises:
        ValueError: the rule needs a view, a row or the mutual pairs, which the
            candidates do not have.
    """
    passes = dict(_passes(candidates, rule))
    passing = _any(passes.values(), len(candidates))
    vetoes = dict(_vetoes(candidates, rule, passing))
    vetoed = _any(vetoes.values(), len(candidates))
    flags = np.zeros(len(candidates), np.uint64)
    names = (*passes, *vetoes)
    for bit, holds in enumerate([*passes.values(), *vetoes.values()]):
        flags |= holds.astype(np.uint64) << np.uint64(bit)
    return Decided(passing & ~vetoed, vetoed, flags, names)


def _passes(
    candidates: Candidates, rule: MatchRule
) -> Iterator[tuple[str, np.ndarray]]:
    for name in rule.views:
        if name not in candidates.distances:
            known = ", ".join(candidates.distances)
            raise ValueError(f"The rule has a limit for {name!r}; views: {known}.")
        limit = rule.limits_of(name, candidates.starts)
        # As float64: a threshold is not rounded to float32 before it is compared.
        # NaN, where a product lacks a picture or a title, is within no limit.
        yield name, candidates.distances[name].astype(np.float64) <= limit
    for source in candidates.sources:
        if rule.accept_keys and source.startswith("key:"):
            yield source, candidates.proposed_by(source)


def _vetoes(
    candidates: Candidates, rule: MatchRule, passing: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    if rule.mutual:
        if candidates.mutual is None:
            raise ValueError(
                "The rule wants mutual pairs; ask for them with "
                "candidate_blocks(..., mutual=True)."
            )
        yield ONE_SIDED, passing & ~candidates.mutual
    if rule.conflicts is not None:
        at = np.flatnonzero(passing)
        found = rule.conflicts(candidates.starts[at], candidates.ends[at])
        for kind, holds in found.items():
            vetoed = np.zeros(len(candidates), bool)
            vetoed[at] = holds
            yield f"veto:{kind}", vetoed


def _any(conditions: Iterable[np.ndarray], size: int) -> np.ndarray:
    held = np.zeros(size, bool)
    for one in conditions:
        held |= one
    return held
