"""A disk that is full: the job says so, nothing is there, and with room it goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_MOUNT = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc"]
# A disk of its own for the outputs: too small at first, then not.
_SCRIPT = """
mount -t tmpfs -o size="$1" small "$2"
shift
cd "$1"
shift
if "$@" > ../first.log 2>&1; then exit 3; fi
ls -A > ../left.log
mount -o remount,size=64m small .
"$@"
cp -r out ..
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 4,000 sessions, each of which views two products and buys one."""
    folder = tmp_path / "log"
    folder.mkdir()
    for part in range(2):
        sessions = range(part * 2000, part * 2000 + 2000)
        rows = [
            (f"session {one}", f"product {one * 7 % 5000 + seen}", kind, one * 9 + at)
            for one in sessions
            for at, (seen, kind) in enumerate([(0, "view"), (1, "view"), (1, "buy")])
        ]
        columns = dict(zip(("session", "id", "event", "time"), map(list, zip(*rows))))
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["embedded", "spark"])
def test_a_full_disk_is_named_and_the_job_goes_on(
    engine: str, log: Path, tmp_path: Path, java: None
) -> None:
    if subprocess.run([*_MOUNT, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk in a namespace")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [sys.executable, "-m", "simprod_tf", "mine", str(log), "--out", "out"]
    if engine == "spark":
        command += ["--engine", "spark", "--master", "local[1]"]
        command += ["--spark-conf", "spark.sql.shuffle.partitions=1"]
    subprocess.run(
        [*_MOUNT, _SCRIPT, "sh", "100k", str(disk), *command],
        check=True,
        capture_output=True,
    )
    said = (tmp_path / "first.log").read_text()
    assert f"simprod: {disk}/out.unfinished/" in said
    assert "No space left on device; make room" in said
    assert (tmp_path / "left.log").read_text().split() in ([], ["out.unfinished"])
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names[0] == "_SUCCESS"
    found = pa.concat_tables(map(pq.read_table, (tmp_path / "out").glob("*.parquet")))
    # The view before the bought product's own; 4,000 sessions, no pair twice.
    assert found.num_rows == 4000
