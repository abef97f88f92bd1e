"""Groups from edges in files, against those of one machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError
from simprod_tf.matching.grouping import Groups, extend_groups, group_matches
from simprod_tf.pipeline import group_job
from simprod_tf.pipeline.earlier_groups import require_groups
from simprod_tf.pipeline.group_job import (
    GroupFiles,
    GroupLimits,
    Joining,
    group_edges_job,
)
from simprod_tf.pipeline.match_settings import GroupSettings

SMALL_UNITS = GroupLimits(pairs_per_unit=20)


@pytest.fixture(scope="module")
def engine() -> Iterator[Embedded]:
    with Embedded() as engine:
        yield engine


def drawn_edges(seed: int, *, n: int = 90, num_edges: int = 180) -> pa.Table:
    """Edges among each ten products and a few others, many of equal length."""
    generator = np.random.default_rng(seed)
    # Some products are called like a second group of that name.
    ids = np.array([f"p{i:03d}" if i % 7 else f"p{i + 1:03d}~2" for i in range(n)])
    a = generator.integers(n, size=num_edges)
    b = a // 10 * 10 + generator.integers(10, size=num_edges)
    b[:5] = generator.integers(n, size=5)
    d = (generator.integers(0, 16, size=num_edges) / 10).astype(np.float32)
    back = generator.random(num_edges) < 0.6
    a, b = np.concatenate([a, b[back]]), np.concatenate([b, a[back]])
    order = generator.permutation(len(a))
    columns = {"query_id": ids[a], "id": ids[b], "distance": np.append(d, d[back])}
    return pa.table({name: pa.array(c[order]) for name, c in columns.items()})


def drawn_groups(seed: int) -> pa.Table:
    """The groups of another day, some of them called like other products."""
    found = group_matches(drawn_edges(seed), max_distance=1.0, max_size=5).table
    names = np.array(found["group"].to_pylist())
    generator = np.random.default_rng(seed)
    moved = generator.random(len(names)) < 0.2
    names[moved] = generator.choice(found["id"].to_pylist(), moved.sum())
    return found.set_column(1, "group", pa.array(names))


def edge_files(folder: Path, edges: pa.Table) -> list[Path]:
    """Writes the edges into two files."""
    half = len(edges) // 2
    files = [folder / "edges-0.parquet", folder / "edges-1.parquet"]
    pq.write_table(edges[:half], files[0])
    pq.write_table(edges[half:], files[1])
    return files


def rows_of(files: list[Path]) -> list[dict]:
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def assert_equal(found: GroupFiles, expected: Groups) -> None:
    """That the files hold what one machine says, in the same order."""
    assert rows_of(found.groups) == expected.table.to_pylist()
    names = ["query_id", "id", "share_of_limit", "group", "other_group"]
    bridges = expected.bridges.rename_columns(names)
    assert rows_of(found.bridges) == bridges.to_pylist()
    for files, schema in (
        (found.groups, expected.table.schema),
        (found.bridges, bridges.schema),
    ):
        schemas = [pq.read_schema(file) for file in files]
        assert all((s.names, s.types) == (schema.names, schema.types) for s in schemas)
    assert (found.num_groups, found.num_split) == (
        expected.num_groups,
        expected.num_split,
    )
    assert found.num_products == len(expected.table)
    assert found.num_bridges == len(expected.bridges)


@pytest.mark.parametrize(
    ("linkage", "mutual", "cap"),
    [("average", False, 50), ("average", True, 4), ("complete", False, 3)]
    + [("single", False, 4), ("single", True, 50)],
)
def test_groups_are_those_of_one_machine(
    engine: Embedded, tmp_path: Path, linkage: str, mutual: bool, cap: int
) -> None:
    edges, previous = drawn_edges(cap), drawn_groups(cap + 100)
    pq.write_table(previous, tmp_path / "previous.parquet")
    found = group_edges_job(
        engine,
        edge_files(tmp_path, edges),
        settings=GroupSettings(linkage, cap, mutual),
        folder=tmp_path / "work",
        previous=tmp_path / "previous.parquet",
        limits=SMALL_UNITS,
    )
    expected = group_matches(
        edges,
        linkage=linkage,
        max_distance=1.0,
        max_size=cap,
        mutual=mutual,
        previous=previous,
    )
    assert_equal(found, expected)
    assert len(list((tmp_path / "work" / "members").iterdir())) > 2
    # The data do put names and caps to the test.
    names = set(expected.table["group"].to_pylist())
    assert names & set(previous["group"].to_pylist())
    assert any("~" in name for name in names)


@pytest.mark.parametrize("linkage", ["average", "single"])
def test_new_products_join_as_on_one_machine(
    engine: Embedded, tmp_path: Path, linkage: str
) -> None:
    generator = np.random.default_rng(1)
    previous, edges = drawn_groups(7), drawn_edges(8)
    ids = sorted(set(edges["query_id"].to_pylist() + edges["id"].to_pylist()))
    gone = set(generator.choice(ids, 8, replace=False).tolist())
    products = [id for id in ids if id not in gone]
    queries = generator.choice(products, 15, replace=False).tolist()
    kept = [
        row["query_id"] in queries and row["id"] in products
        for row in edges.to_pylist()
    ]
    edges = edges.filter(pa.array(kept))
    pacsv.write_csv(previous, tmp_path / "previous.csv")
    for name, column in (("queries", queries), ("products", products)):
        pq.write_table(pa.table({"id": column}), tmp_path / f"{name}.parquet")
    found = group_edges_job(
        engine,
        edge_files(tmp_path, edges),
        # Earlier products do not have the new ones in their lists: never mutual.
        settings=GroupSettings(linkage, 6, True),
        folder=tmp_path / "work",
        previous=tmp_path / "previous.csv",
        joining=Joining(
            [tmp_path / "queries.parquet"], [tmp_path / "products.parquet"]
        ),
        limits=SMALL_UNITS,
    )
    staying = set(products) - set(queries)
    held = [id in staying for id in previous["id"].to_pylist()]
    expected = extend_groups(
        previous.filter(pa.array(held)),
        edges,
        linkage=linkage,
        max_distance=1.0,
        max_size=6,
    )
    assert_equal(found, expected)
    # Some earlier groups are in no unit, as nothing new is near to them.
    members = rows_of(list((tmp_path / "work" / "members").iterdir()))
    assert 0 < len(members) < len(expected.table)


def test_without_accepted_edges_there_are_no_groups(
    engine: Embedded, tmp_path: Path
) -> None:
    edges = pa.table(
        {
            "query_id": ["a", "b"],
            "id": ["b", "b"],
            "distance": pa.array([1.5, 0.0], pa.float32()),
        }
    )
    for number, table in enumerate((edges, edges[:0])):
        found = group_edges_job(
            engine,
            edge_files(tmp_path, table),
            settings=GroupSettings(),
            folder=tmp_path / f"work-{number}",
        )
        assert_equal(found, group_matches(table, max_distance=1.0))


def test_a_component_too_large_is_cut_at_its_longer_pairs(
    engine: Embedded, tmp_path: Path
) -> None:
    # a -.1- b -.95- c -.1- d -.85- e -.1- f: with 4 the first cut suffices.
    lengths = [0.1, 0.95, 0.1, 0.85, 0.1]
    edges = pa.table(
        {
            "query_id": [*"abcde"],
            "id": [*"bcdef"],
            "distance": pa.array(lengths, pa.float32()),
        }
    )
    files, single = edge_files(tmp_path, edges), GroupSettings("single")
    for cap, expected in ((6, "aaaaaa"), (4, "aacccc"), (2, "aaccee"), (1, "------")):
        found = group_edges_job(
            engine,
            files,
            settings=single,
            folder=tmp_path / f"cap-{cap}",
            limits=GroupLimits(max_component=cap),
        )
        groups = {row["id"]: row["group"] for row in rows_of(found.groups)}
        assert "".join(groups.get(id, "-") for id in "abcdef") == expected
        bridges = "".join(row["query_id"] for row in rows_of(found.bridges))
        shown = {6: "", 4: "b", 2: "db", 1: "acedb"}[cap]
        assert (bridges, found.num_set_aside) == (shown, len(shown))


def test_a_job_goes_on_where_it_was_killed(
    engine: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = drawn_edges(3)
    files, work = edge_files(tmp_path, edges), tmp_path / "work"
    link, done = group_job.link_group_unit, []

    def killed_at_third(rule, unit):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(unit.name)
        return link(rule, unit)

    def run() -> GroupFiles:
        return group_edges_job(
            engine, files, settings=GroupSettings(), folder=work, limits=SMALL_UNITS
        )

    monkeypatch.setattr(group_job, "link_group_unit", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        run()
    before = done.copy()
    monkeypatch.setattr(
        group_job,
        "link_group_unit",
        lambda rule, unit: (done.append(unit.name), link(rule, unit))[1],
    )
    found = run()
    assert len(before) == 2
    assert len(done) == len(set(done)) == len(list((work / "members").iterdir()))
    expected = group_matches(edges, max_distance=1.0, mutual=False)
    assert_equal(found, expected)
    # What was published is gone from the folder; the answer can be had again.
    for file in found.groups:
        file.unlink()
    assert_equal(run(), expected)


def test_edges_and_groups_that_cannot_be_are_refused(
    engine: Embedded, tmp_path: Path
) -> None:
    edges = drawn_edges(0, num_edges=8)

    def run(
        edges: pa.Table,
        previous: pa.Table | None = None,
        folder: str = "work",
        joining: Joining | None = None,
    ) -> None:
        path = None
        if previous is not None:
            path = tmp_path / "previous.parquet"
            pq.write_table(previous, path)
        group_edges_job(
            engine,
            edge_files(tmp_path, edges),
            settings=GroupSettings(),
            folder=tmp_path / folder,
            previous=path,
            joining=joining,
        )

    with pytest.raises(
        InputError, match="edges-0.parquet: .* 'distance' of float, got"
    ):
        run(edges.drop_columns(["distance"]))
    with pytest.raises(InputError, match="'distance' of float"):
        run(edges.set_column(2, "distance", edges["distance"].cast(pa.float64())))
    for wrong in (-1.0, np.nan, None):
        column = [wrong, *edges["distance"].to_pylist()[1:]]
        table = edges.set_column(2, "distance", pa.array(column, pa.float32()))
        with pytest.raises(InputError, match="a distance of 0 and more, got 1 rows"):
            run(table)
    twice = pa.table({"id": ["a", "b", "b"], "group": ["a", "b", "c"]})
    with pytest.raises(InputError, match="listed once, got 'b' twice"):
        run(edges, twice)
    empty = pa.table({"id": ["a", None], "group": ["a", "b"]})
    with pytest.raises(InputError, match="an id and a group, got 1 rows without"):
        run(edges, empty)
    with pytest.raises(InputError, match="column 'group' is missing"):
        run(edges, pa.table({"id": ["a"]}))
    with pytest.raises(ValueError, match="joining needs previous"):
        run(edges, joining=Joining([], []))
    with pytest.raises(ValueError, match="max_component must be at least 1, got 0"):
        GroupLimits(max_component=0)


def test_earlier_groups_may_lie_in_shards(engine: Embedded, tmp_path: Path) -> None:
    edges, previous = drawn_edges(5), drawn_groups(6)
    folder = tmp_path / "groups"
    folder.mkdir()
    for number, part in enumerate((previous[:9], previous[9:])):
        pq.write_table(part, folder / f"part-{number:05d}.parquet")
    found = group_edges_job(
        engine,
        edge_files(tmp_path, edges),
        settings=GroupSettings(),
        folder=tmp_path / "work",
        previous=folder,
    )
    assert_equal(
        found,
        group_matches(edges, max_distance=1.0, mutual=False, previous=previous),
    )
    pq.write_table(previous.drop_columns(["group"]), folder / "part-00000.parquet")
    with pytest.raises(InputError, match="part-00000.parquet: column 'group'"):
        require_groups(folder)
    with pytest.raises(InputError, match="part-00000.parquet: column 'group'"):
        group_edges_job(
            engine,
            edge_files(tmp_path, edges),
            settings=GroupSettings(),
            folder=tmp_path / "other",
            previous=folder,
        )
    (folder / "part-00001.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="part-00001.parquet: cannot be read as Parq"):
        require_groups(folder)
