"""SQL that says what is known of a catalogue's rows before they are embedded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from simprod_tf.data.catalog_shards import CatalogPiece
from simprod_tf.engine.base import Engine

# The first row of an id counts, whatever becomes of it, as `read_catalog` has it.
_PLACES = """
SELECT piece, block, row, id, content,
    FIRST_VALUE(piece) OVER same_id AS first_piece,
    FIRST_VALUE(row) OVER same_id AS first_row,
    ROW_NUMBER() OVER same_id AS place
FROM keys
WINDOW same_id AS (PARTITION BY id ORDER BY piece, row)
"""
_REPEATED = """
SELECT pieces.first_unit + places.block AS unit, places.row, first.file AS first_file,
    places.first_row, CAST(NULL AS STRING) AS content,
    CAST(NULL AS STRING) AS previous_file, CAST(NULL AS BIGINT) AS position
FROM places
JOIN pieces ON pieces.piece = places.piece
JOIN pieces AS first ON first.piece = places.first_piece
WHERE places.place > 1
"""
_REUSED = """
SELECT pieces.first_unit + places.block AS unit, places.row,
    CAST(NULL AS STRING) AS first_file, CAST(NULL AS BIGINT) AS first_row,
    places.content, previous.file AS previous_file, previous.position
FROM places
JOIN pieces ON pieces.piece = places.piece
JOIN previous ON previous.id = places.id AND previous.content = places.content
WHERE places.place = 1
"""


def write_plan(
    engine: Engine,
    pieces: Sequence[CatalogPiece],
    first_units: Sequence[int],
    *,
    keys: Sequence[Path],
    previous: Sequence[Path],
    folder: Path,
) -> dict[int, tuple[str, ...]]:
    """Returns for each unit the files that say which of its rows are not new.

    Their columns: `row`; of a row whose id stands already elsewhere `first_file` and
    `first_row`; of one that was embedded before as it is `content`, `previous_file`
    and the `position` there.

    Args:
        engine: where the SQL runs.
        pieces: of the catalogue.
        first_units: the number of the unit with which each piece begins.
        keys: the files of `read_piece`.
        previous: the files of `read_previous`; none where there is nothing to reuse.
        folder: of the files; one that is there is replaced.
    """
    table = pa.table(
        {
            "piece": pa.array([one.number for one in pieces], pa.int32()),
            "file": [one.source for one in pieces],
            "first_unit": pa.array(first_units, pa.int32()),
        }
    )
    engine.load("pieces", table)
    engine.read("keys", keys)
    sql = _REPEATED
    if previous:
        engine.read("previous", previous)
        sql = f"{_REPEATED} UNION ALL {_REUSED}"
    files = engine.write(
        # Rows of one unit together: else each task would write a file for each unit.
        f"WITH places AS ({_PLACES}) SELECT * FROM ({sql}) AS known ORDER BY unit, row",
        folder,
        partition_by="unit",
    )
    found: dict[int, list[str]] = {}
    for file in files:
        number = int(file.parent.name.partition("=")[2])
        found.setdefault(number, []).append(str(file))
    return {unit: tuple(paths) for unit, paths in found.items()}
