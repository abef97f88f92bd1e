"""Jobs of work units: they go on where they were interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from simprod_tf.engine.embedded import Embedded
from simprod_tf.engine.units import file_facts, run_units, unfinished
from simprod_tf.errors import SimprodError


@dataclass(frozen=True)
class Square:
    name: str
    number: int


UNITS = [Square(f"u{number}", number) for number in range(4)]


def squared(log: Path, fail_at: int | None, unit: Square) -> dict[str, int]:
    with log.open("a") as file:
        file.write(f"{unit.name}\n")
    if unit.number == fail_at:
        raise SimprodError("the unit is bad.")
    return {"square": unit.number**2}


def test_every_unit_has_its_record(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with Embedded() as engine:
        records = run_units(
            engine,
            partial(squared, tmp_path / "log", None),
            UNITS,
            folder=tmp_path / "records",
            progress=lambda done, total: told.append((done, total)),
        )
    assert records == {f"u{n}": {"square": n * n} for n in range(4)}
    assert list(records) == ["u0", "u1", "u2", "u3"]
    assert told[0] == (0, 4)
    assert told[-1] == (4, 4)


def test_a_job_goes_on_after_the_units_that_are_done(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "records"
    told: list[tuple[int, int]] = []
    with Embedded() as engine:
        with pytest.raises(SimprodError, match="the unit is bad"):
            run_units(engine, partial(squared, log, 2), UNITS, folder=folder)
        assert log.read_text().split() == ["u0", "u1", "u2"]
        records = run_units(
            engine,
            partial(squared, log, None),
            UNITS,
            folder=folder,
            progress=lambda done, total: told.append((done, total)),
        )
    assert log.read_text().split()[3:] == ["u2", "u3"]
    assert records["u0"] == {"square": 0}
    assert told == [(2, 4), (3, 4), (4, 4)]


def test_what_a_job_has_done_is_gone_when_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(SimprodError), unfinished(out, {"k": 1}) as folder:
        (folder / "part").write_text("done")
        raise SimprodError("interrupted")
    with unfinished(out, {"k": 1}) as again:
        assert (again / "part").read_text() == "done"
    assert list(tmp_path.iterdir()) == []


def test_a_job_with_other_settings_finds_nothing(tmp_path: Path) -> None:
    with pytest.raises(SimprodError), unfinished(tmp_path / "out", {"k": 1}) as one:
        (one / "part").write_text("done")
        raise SimprodError("interrupted")
    with unfinished(tmp_path / "out", {"k": 2}) as other:
        assert list(other.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SimprodError), unfinished(tmp_path / "out", {"k": 1}):
        raise SimprodError("bad input")
    assert list(tmp_path.iterdir()) == []


def test_a_changed_file_has_other_facts(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    before = file_facts(file)
    assert file_facts(file) == before
    file.write_text("xy")
    assert file_facts(file) != before
