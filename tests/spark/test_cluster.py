"""Every job on a real cluster whose machines and drivers die, beside one process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simprod_tf.data.tables import read_table
from simprod_tf.shards import SUCCESS

pytestmark = pytest.mark.slow

_FILES = 6


@dataclass(frozen=True)
class Work:
    """A job of a shop's: its command, and its outputs by their options."""

    arguments: list[str]
    outputs: tuple[str, ...] = ("--out",)
    half_done: str = "*.json"

    def command(self, out: Path) -> list[str]:
        """Returns the arguments of the command, its outputs in a folder."""
        places = [(option, str(out / option.strip("-"))) for option in self.outputs]
        return [*self.arguments, *(text for place in places for text in place)]

    def is_in_the_middle(self, out: Path) -> bool:
        """Returns whether something is done, and not all."""
        return any(
            next(place.rglob(self.half_done), None) is not None
            for place in out.glob("*.unfinished")
        )


def simprod(*arguments: Any) -> None:
    subprocess.run(
        [sys.executable, "-m", "simprod_tf", *map(str, arguments)],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with an encoder; log and catalogue lie in several files."""
    place = tmp_path_factory.mktemp("shop")
    simprod("shop", place / "shop", "--products", 240)
    simprod(
        *("train", place / "shop" / "catalog.csv", "--raw"),
        *("--hand-pairs", place / "shop" / "hand_pairs.csv", "--out", place / "run"),
    )
    simprod("export", place / "run", "--out", place / "model")
    cut(read_table(place / "shop" / "events.parquet").table, place / "events")
    products = read_table(place / "shop" / "catalog.csv").table
    images = [f"{place}/shop/{name}" for name in products["image"].to_pylist()]
    at = products.column_names.index("image")
    cut(products.set_column(at, "image", pa.array(images)), place / "catalog")
    return place


def cut(table: pa.Table, folder: Path) -> None:
    folder.mkdir()
    step = -(-table.num_rows // _FILES)
    for number in range(_FILES):
        part = table.slice(number * step, step)
        pq.write_table(part, folder / f"day-{number}.parquet")


@pytest.fixture(scope="module")
def works(shop: Path) -> dict[str, Work]:
    """The jobs by name; each reads what the one before wrote in one process."""
    here = shop / "here"
    return {
        "mine": Work(["mine", str(shop / "events")], half_done="_temporary"),
        "encode": Work(
            ["encode", str(shop / "catalog"), "--model", str(shop / "model")]
        ),
        "index": Work(["index", str(here / "encode" / "out"), "--shards", "6"]),
        "match": Work(
            ["match", str(here / "index" / "out"), "--max-distance", "0.5"],
            ("--out", "--groups", "--bridges"),
        ),
    }


@pytest.fixture(scope="module")
def expected(shop: Path, works: dict[str, Work]) -> Path:
    """Where the outputs of every job lie, as one process makes them."""
    for name, work in works.items():
        simprod(*work.command(shop / "here" / name))
    return shop / "here"


def contents(place: Path) -> dict[str, Any]:
    """Returns what every file of a folder holds, tables as such."""
    return {
        str(file.relative_to(place)): table(file)
        if file.suffix == ".parquet"
        else file.read_bytes()
        for file in sorted(place.rglob("*"))
        if file.is_file()
    }


def table(file: Path) -> pa.Table:
    found = pq.read_table(file)
    return found.cast(pa.schema([(one.name, one.type) for one in found.schema]))


def require_same(name: str, work: Work, out: Path, expected: Path) -> None:
    """Compares all outputs of a job, and finds nothing left beside them."""
    names = {option.strip("-") for option in work.outputs}
    assert {path.name for path in out.iterdir()} == names
    for one in names:
        there, here = contents(out / one), contents(expected / name / one)
        assert list(there) == list(here)
        assert SUCCESS in there
        different = [file for file in here if there[file] != here[file]]
        assert different == []


JOBS = ["mine", "encode", "index", "match"]


@pytest.mark.parametrize("name", JOBS)
def test_a_worker_lost_in_the_middle_costs_no_row(
    name: str,
    works: dict[str, Work],
    expected: Path,
    cluster: Any,
    start: Callable[[list[str]], Any],
    tmp_path: Path,
) -> None:
    work, out = works[name], tmp_path / "there"
    job = start(cluster.command(*work.command(out)))
    job.wait_for(lambda: work.is_in_the_middle(out))
    cluster.kill_worker()
    job.succeeded()
    require_same(name, work, out, expected)


# Of units alone, and of units and SQL.
@pytest.mark.parametrize("name", ["encode", "match"])
def test_a_driver_killed_in_the_middle_goes_on(
    name: str,
    works: dict[str, Work],
    expected: Path,
    cluster: Any,
    start: Callable[[list[str]], Any],
    tmp_path: Path,
) -> None:
    work, out = works[name], tmp_path / "there"
    command = cluster.command(*work.command(out))
    job = start(command)
    job.wait_for(lambda: work.is_in_the_middle(out))
    job.kill()
    assert not (out / "out").exists()
    start(command).succeeded()
    require_same(name, work, out, expected)


def test_an_unreadable_shard_is_named(
    shop: Path,
    cluster: Any,
    start: Callable[[list[str]], Any],
    tmp_path: Path,
) -> None:
    events = tmp_path / "events"
    shutil.copytree(shop / "events", events)
    bad = events / "day-3.parquet"
    bad.write_bytes(bad.read_bytes()[:-100])
    job = start(cluster.command("mine", str(events), "--out", str(tmp_path / "out")))
    assert f"{bad}: no Parquet file, or one cut short" in job.failed()
    assert not (tmp_path / "out").exists()
