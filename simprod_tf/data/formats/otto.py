"""The OTTO recommender data set's session logs, as published in JSON Lines.

One line is one session:

    {"session": 7, "events": [{"aid": 12, "ts": 1659304800025, "type": "clicks"}, …]}

`aid` is the product, `ts` the time in milliseconds since 1970, `type` one of clicks,
carts and orders. Layout: https://github.com/otto-de/recsys-dataset (OTTO, 2022).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from simprod_tf.engine.embedded import sql_text

SESSION, ID, EVENT, TIME = "session", "aid", "type", "ts"


def is_otto(record: Mapping[str, object]) -> bool:
    """Returns whether the first record of a JSON Lines file is an OTTO session."""
    return "session" in record and isinstance(record.get("events"), list)


def is_otto_file(path: Path) -> bool:
    """Returns whether the first line of a file is an OTTO session."""
    with path.open("rb") as file:
        line = next((line for line in file if line.strip()), b"")
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and is_otto(record)


def otto_rows(path: str | os.PathLike[str]) -> str:
    """Returns the SQL for the events of an OTTO log, one a row, in the file's order."""
    return f"""(
        SELECT {SESSION}, event.{ID} AS {ID}, event.{TIME} AS {TIME},
            event."{EVENT}" AS "{EVENT}"
        FROM (
            SELECT {SESSION}, UNNEST(events) AS event
            FROM read_json({sql_text(os.fspath(path))}, format = 'newline_delimited',
                columns = {{'{SESSION}': 'VARCHAR', 'events':
                    'STRUCT({ID} VARCHAR, {TIME} VARCHAR, "{EVENT}" VARCHAR)[]'}})
        )
    )"""
