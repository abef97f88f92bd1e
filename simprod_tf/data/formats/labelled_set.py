"""Products and labelled pairs of them in parts, as matching sets have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.formats.conversion import Conversion, whole_files
from simprod_tf.data.pairs import Pairs, canonical_pairs, write_pairs
from simprod_tf.data.tables import write_table


@dataclass(frozen=True)
class LabelledLines:
    """The pairs of a part as its file has them: a line each, nothing left out.

    Published figures count every line; `pairs` is what training and matching take.

    Attributes:
        left_ids, right_ids: [N] ids of the catalogue, in the file's order and sides.
        labels: [N] 1 = the same product, 0 = not.
    """

    left_ids: Sequence[str]
    right_ids: Sequence[str]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.labels)

    def pairs(self) -> Pairs:
        """Returns them unordered, each once, without contradictions."""
        return canonical_pairs(self.left_ids, self.right_ids, self.labels)


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """A matching set as read.

    Attributes:
        catalog: `id`, `title` and all else that is known of the records.
        lines: of each part that there is, by its name.
    """

    catalog: pa.Table
    lines: Mapping[str, LabelledLines]


def write_labelled_set(found: LabelledSet, out: Path) -> Conversion:
    """Writes `catalog.csv` and `pairs_<part>.csv` into the folder `out`."""
    pairs = {part: lines.pairs() for part, lines in found.lines.items()}
    with whole_files(out) as place:
        write_table(found.catalog, place / "catalog.csv")
        for part, labelled in pairs.items():
            write_pairs(labelled, place / f"pairs_{part}.csv")
    names = ["catalog.csv", *(f"pairs_{part}.csv" for part in pairs)]
    notes = [f"Catalogue of {found.catalog.num_rows:,} products: {out / names[0]}"]
    for name, labelled in zip(names[1:], pairs.values()):
        notes.append(f"{labelled}: {out / name}{left_out(labelled)}")
    return Conversion(tuple(out / name for name in names), tuple(notes))


def left_out(pairs: Pairs) -> str:
    """Returns what of the lines is not among the pairs, to stand behind them, or ""."""
    counted = ", ".join(f"{why}: {n:,}" for why, n in pairs.dropped.items())
    return f"; left out: {counted}" if counted else ""
