"""Two workers, as two machines would be, train on mined shards by the command line."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

EPOCHS = 4
LIMIT_S = 240


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A catalogue of two attributes, and mined pairs of it in shards."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    kinds, sizes = rng.integers(0, 30, 300), rng.integers(0, 10, 300)
    with open(folder / "catalog.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "kind", "size"])
        for row, (kind, size) in enumerate(zip(kinds, sizes)):
            table.writerow([f"p{row:03}", f"kind{kind}", size])
    every = [(a, b) for a in range(300) for b in range(a + 1, 300)]
    same = [pair for pair in every if kinds[pair[0]] == kinds[pair[1]]]
    other = [every[row] for row in rng.permutation(len(every))[:1000]]
    other = [pair for pair in other if kinds[pair[0]] != kinds[pair[1]]]
    rows = [(*pair, 1) for pair in same] + [(*pair, 0) for pair in other]
    rows = [rows[row] for row in rng.permutation(len(rows))]
    (folder / "mined").mkdir()
    for number in range(3):
        some = rows[number::3]
        columns = {
            "anchor_id": [f"p{a:03}" for a, _, _ in some],
            "other_id": [f"p{b:03}" for _, b, _ in some],
            "label": [label for _, _, label in some],
        }
        pq.write_table(pa.table(columns), folder / "mined" / f"part-{number}.parquet")
    return folder


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(work, out, ports):
    """Starts both workers."""
    workers = ",".join(f"localhost:{port}" for port in ports)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "200"}
    environment.pop("TF_CONFIG", None)
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "simprod_tf", "train", "catalog.csv"),
                *("--mined-pairs", "mined", "--category", "kind", "--number", "size"),
                *("--loss", "contrastive", "--batches", "twin", "--batch-size", "16"),
                *("--learning-rate", "0.01", "--embedding-dim", "16"),
                *("--epochs", str(EPOCHS), "--precision", "0.6", "--out", out),
                *("--workers", workers, "--worker", str(worker)),
            ],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for worker in range(2)
    ]


def ended(processes):
    """What each said, once all have ended by themselves."""
    return [one.communicate(timeout=LIMIT_S)[0] for one in processes]


def losses(work, out):
    with open(work / out / "history.csv", encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def epochs_done(work, out):
    """How many epochs there are a record and a backup of."""
    done = 0
    for path in (work / f"{out}.unfinished").glob("*/epochs-0/epochs.json"):
        done = len(json.loads(path.read_text(encoding="utf-8"))["epochs"])
    backups = (work / f"{out}.unfinished").glob("*/backup-0/chief/ckpt-*.index")
    return min(done, max((int(one.stem.split("-")[1]) for one in backups), default=0))


@pytest.fixture(scope="module")
def whole(work):
    """What two workers said that ran to their end; the encoder is in `whole`."""
    processes = start(work, "whole", free_ports(2))
    told = ended(processes)
    assert [one.returncode for one in processes] == [0, 0], told
    return told


def test_two_workers_write_one_encoder_that_both_came_to(work, whole):
    from simprod_tf.trained import TrainedEncoder

    found = losses(work, "whole")
    assert len(found) == EPOCHS
    assert found[-1] < 0.9 * found[0]
    trained = TrainedEncoder.load(work / "whole")
    assert all(np.isfinite(one).all() for one in trained.head.get_weights())
    # The fingerprint is one of the weights: each worker tells that of its own.
    own = [re.search(r"Encoder (\w{16}) written", told)[1] for told in whole]
    assert own == [trained.fingerprint] * 2
    assert not (work / "whole.unfinished").exists()


def test_a_lost_worker_ends_the_other_and_both_go_on_when_started_again(work, whole):
    processes = start(work, "parts", free_ports(2))
    limit = time.monotonic() + LIMIT_S
    while epochs_done(work, "parts") < 1:
        assert time.monotonic() < limit, "no epoch was done"
        assert processes[1].poll() is None, ended(processes)
        time.sleep(0.05)
    processes[1].kill()
    told = ended(processes)
    assert processes[0].returncode == 1, told
    # Behind it TensorFlow's threads may complain of the process's end.
    before, message, _ = told[0].partition("another worker is gone, or cannot")
    assert message, before
    assert "Traceback" not in before
    assert not (work / "parts").exists()
    processes = start(work, "parts", free_ports(2))
    told = ended(processes)
    assert [one.returncode for one in processes] == [0, 0], told
    assert "Training on both, going on after epoch" in told[0]
    # As if nobody had been lost.
    np.testing.assert_allclose(losses(work, "parts"), losses(work, "whole"), atol=1e-4)


def test_a_port_in_use_is_told(work):
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        first, second = start(work, "none", [port, free_ports(1)[0]])
        told = first.communicate(timeout=LIMIT_S)[0]
        # It waits for the first one, and TensorFlow does not let itself be terminated.
        second.kill()
        second.communicate(timeout=LIMIT_S)
    assert first.returncode == 1
    assert "the cluster does not come about: this machine's port may be in use" in told
    assert "Traceback" not in told
