"""The graph of a table of matches."""

from __future__ import annotations

import pyarrow as pa
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.matching.match_edges import MatchEdges, match_edges, string_column


def table(*rows: tuple[str, str, float]) -> pa.Table:
    columns = zip(*rows) if rows else ([], [], [])
    types = {"query_id": pa.string(), "id": pa.string(), "distance": pa.float32()}
    return pa.table(
        {
            name: pa.array(column, type_)
            for (name, type_), column in zip(types.items(), columns)
        }
    )


def told(edges: MatchEdges) -> dict[str, float]:
    return {
        edges.ids[start] + edges.ids[end]: round(distance, 6)
        for start, end, distance in zip(edges.starts, edges.ends, edges.distances)
    }


# Told in both directions: ab, at two distances; cb. In one: ac. Of itself: d.
ROWS = table(
    ("b", "a", 0.25),
    ("c", "b", 0.5),
    ("a", "b", 0.125),
    ("b", "c", 0.5),
    ("a", "c", 0.75),
    ("d", "d", 0.0),
)


def test_mutual_edges_stand_once_at_the_smaller_distance() -> None:
    edges = match_edges(ROWS, mutual=True)
    assert edges.ids.tolist() == ["a", "b", "c", "d"]
    assert told(edges) == {"ab": 0.125, "bc": 0.5}


def test_one_direction_suffices_when_not_mutual() -> None:
    assert told(match_edges(ROWS, mutual=False)) == {"ab": 0.125, "bc": 0.5, "ac": 0.75}


def test_an_edge_told_twice_in_one_direction_is_not_mutual() -> None:
    assert told(match_edges(table(("a", "b", 0.1), ("a", "b", 0.1)), mutual=True)) == {}


def test_up_to_keeps_edges_of_at_most_this_length() -> None:
    assert told(match_edges(ROWS, mutual=False).up_to(0.5)) == {"ab": 0.125, "bc": 0.5}


def test_more_ids_have_their_place_in_string_order() -> None:
    edges = match_edges(table(("b", "d", 0.1)), mutual=False, more_ids=["c", "a", "b"])
    assert edges.ids.tolist() == ["a", "b", "c", "d"]
    assert (edges.starts.tolist(), edges.ends.tolist()) == ([1], [3])


def test_ids_in_chunks_of_large_strings_are_read() -> None:
    parts = [ROWS.slice(3), ROWS.slice(0, 3)]
    parts = [
        part.set_column(1, "id", part["id"].cast(pa.large_string())) for part in parts
    ]
    edges = match_edges(pa.concat_tables(parts), mutual=False)
    assert told(edges) == told(match_edges(ROWS, mutual=False))


def test_no_rows_are_no_edges() -> None:
    edges = match_edges(table(), mutual=True)
    assert (len(edges.ids), len(edges.starts)) == (0, 0)


@pytest.mark.parametrize("missing", ["query_id", "id", "distance"])
def test_a_missing_column_is_named(missing: str) -> None:
    with pytest.raises(SimprodError, match=f"matches must have a column '{missing}'"):
        match_edges(ROWS.drop_columns([missing]), mutual=True)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.5, None])
def test_what_is_no_distance_is_refused_with_its_row(wrong: float | None) -> None:
    with pytest.raises(SimprodError, match="distances of 0 and more, got .* in row 2"):
        match_edges(table(("a", "b", 0.1), ("b", "a", wrong)), mutual=True)


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(SimprodError, match="a value of 'id' in each row, got 1 empty"):
        string_column(pa.table({"id": ["a", None]}), "id", what="it")
