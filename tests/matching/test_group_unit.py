"""A unit of grouping, on components small enough to draw."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simprod_tf.matching.group_unit import GroupUnit, link_group_unit
from simprod_tf.matching.linkage import LinkageRule

RULE = LinkageRule("average", 1.0, 2.0, 50)


def unit_of(
    folder: Path, pairs: list[dict[str, float]], *, held: dict[int, int] | None = None
) -> GroupUnit:
    """Returns the unit of pairs {"12": distance}, one dictionary a file."""
    names = []
    for number, edges in enumerate(pairs):
        columns = {
            "a": pa.array([int(edge[0]) for edge in edges], pa.int64()),
            "b": pa.array([int(edge[1]) for edge in edges], pa.int64()),
            "distance": pa.array(edges.values(), pa.float32()),
        }
        names.append(str(folder / f"pairs-{number}.parquet"))
        pq.write_table(pa.table(columns), names[-1])
    held_files: tuple[str, ...] = ()
    if held is not None:
        held_files = (str(folder / "held.parquet"),)
        table = pa.table({"node": list(held), "head": list(held.values())})
        pq.write_table(table, held_files[0])
    members, apart = (str(folder / f"{name}.parquet") for name in ("members", "apart"))
    return GroupUnit("unit", tuple(names), held_files, members, apart)


def written(path: str) -> list[tuple]:
    return [tuple(row.values()) for row in pq.ParquetFile(path).read().to_pylist()]


def test_clusters_are_written_by_their_first_products(tmp_path: Path) -> None:
    # 1-2-3 know each other; 4 is near to 3 alone, and 5 beyond the limit of all.
    pairs = [{"34": 0.5, "45": 1.5, "13": 0.25}, {"12": 0.25, "23": 0.25}]
    unit = unit_of(tmp_path, pairs)
    record = link_group_unit(RULE, unit)
    assert written(unit.members) == [(1, 1), (1, 2), (1, 3)]
    assert written(unit.apart) == [(3, 4, 0.5)]
    assert record == {"num_products": 3, "num_split": 0}


def test_products_of_an_earlier_group_stay_together_and_apart_from_others(
    tmp_path: Path,
) -> None:
    held = {1: 1, 6: 1, 3: 3, 4: 3}
    unit = unit_of(tmp_path, [{"12": 0.25, "26": 0.25, "23": 0.5}], held=held)
    link_group_unit(RULE, unit)
    assert written(unit.members) == [(1, 1), (1, 2), (3, 3), (3, 4), (1, 6)]
    assert written(unit.apart) == [(2, 3, 0.5)]


def test_a_unit_may_have_no_pairs_and_groups_above_the_cap_count(
    tmp_path: Path,
) -> None:
    unit = unit_of(tmp_path, [], held={1: 1, 2: 1})
    assert link_group_unit(RULE, unit) == {"num_products": 2, "num_split": 0}
    unit = unit_of(tmp_path, [{"12": 0.25, "13": 0.5, "23": 0.5}])
    record = link_group_unit(LinkageRule("average", 1.0, 2.0, 2), unit)
    assert record == {"num_products": 2, "num_split": 1}
    assert written(unit.apart) == [(1, 3, 0.5), (2, 3, 0.5)]
