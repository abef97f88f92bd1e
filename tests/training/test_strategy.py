"""Training on several devices and machines comes to what one device does."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import SimprodError
from simprod_tf.features.epoch_clock import EpochClock
from simprod_tf.training.strategy import (
    PassClock,
    cluster_config,
    distributed,
    naming_lost_workers,
    one_by_one,
    strategy_of,
    wait_for_all,
    writes,
)


def losses_of(processes):
    """Returns what each printed; all of them have to run before one can end."""
    found = []
    for one in processes:
        out, errors = one.communicate(timeout=300)
        assert one.returncode == 0, errors[-3000:]
        found.append(json.loads(out.splitlines()[-1]))
    return found


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_one_device_takes_the_whole_dataset():
    asked = []

    def make(shard):
        asked.append(shard)
        return tf.data.Dataset.range(4)

    found = distributed(strategy_of("none"), make)
    assert [int(one) for one in found.dataset] == [0, 1, 2, 3]
    assert found.steps_per_epoch is None
    assert asked == [(0, 1)]


def test_mirrored_is_a_strategy_on_whatever_this_machine_has():
    strategy = strategy_of("mirrored")
    gpus = len(tf.config.list_physical_devices("GPU"))
    assert strategy.num_replicas_in_sync == max(gpus, 1)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(
        ValueError, match="one of none, mirrored, multi-worker, got 'horovod'"
    ):
        strategy_of("horovod")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "TF_CONFIG, which is not set; on the first of two machines: TF_CONFIG="),
        ("{", "TF_CONFIG must name the workers and this task, as in"),
        ('{"cluster": {}}', "got {"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "names 1 workers, and this task's index is 1",
        ),
    ],
)
def test_a_missing_or_wrong_cluster_is_explained(monkeypatch, config, message):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(SimprodError, match=message):
        strategy_of("multi-worker")


def test_a_worker_s_cluster_is_written_as_tensorflow_reads_it():
    found = json.loads(cluster_config(["10.0.0.1:2222", "b.example:80"], 1))
    assert found == {
        "cluster": {"worker": ["10.0.0.1:2222", "b.example:80"]},
        "task": {"type": "worker", "index": 1},
    }


@pytest.mark.parametrize(
    ("workers", "worker", "message"),
    [
        (["a:1", "b"], 0, "a worker is host:port, such as .*; got 'b'"),
        (["a:1", ":2"], 0, "got ':2'"),
        (["a:1", "a:1"], 0, "a worker stands there twice: a:1, a:1"),
        (["a:1", "b:1"], 2, "the 2 workers are numbered from 0 to 1, got 2"),
        (["a:1", "b:1"], -1, "got -1"),
    ],
)
def test_workers_that_make_no_cluster_are_refused(workers, worker, message):
    with pytest.raises(ValueError, match=message):
        cluster_config(workers, worker)


def test_alone_nobody_is_waited_for_and_everything_is_written():
    strategy = strategy_of("none")
    wait_for_all(strategy)
    assert writes(strategy)
    assert one_by_one(strategy, lambda: 7) == 7
    # Nobody else was there to be lost.
    with pytest.raises(tf.errors.UnavailableError), naming_lost_workers(strategy):
        raise tf.errors.UnavailableError(None, None, "the disk")


def test_each_pass_of_one_iterator_is_told_its_epoch():
    start, now = EpochClock(0, epoch=0), EpochClock(0)
    begun = []

    def one_pass():
        begun.append(now.epoch)
        yield from range(3)

    signature = tf.TensorSpec([], tf.int64)
    dataset = tf.data.Dataset.from_generator(one_pass, output_signature=signature)
    endless = PassClock(start, now).endless(dataset.prefetch(2))
    # Whoever goes on says so after the dataset is made, before its iterator is.
    start.epoch = 5
    iterator = iter(endless)
    assert [int(next(iterator)) for _ in range(8)] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert begun == [5, 6, 7]


@pytest.mark.slow
def test_interrupted_on_two_replicas_it_ends_as_if_it_had_not_been(start, tmp_path):
    script = "resumed_replicas.py"
    whole = start(script, tmp_path / "whole")
    killed = start(script, tmp_path / "parts", 2)
    killed.communicate(timeout=300)
    assert killed.returncode == 9
    expected, found = losses_of([whole, start(script, tmp_path / "parts")])
    assert len(set(expected)) == 4
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_two_replicas_and_two_workers_come_to_what_one_device_does(start):
    script = "distributed_fit.py"
    (alone,) = losses_of([start(script, "none")])
    assert alone[-1] < 0.95 * alone[0]
    (mirrored,) = losses_of([start(script, "mirrored")])
    np.testing.assert_allclose(mirrored, alone, atol=1e-4)
    workers = [f"localhost:{port}" for port in free_ports(2)]
    cluster = {"cluster": {"worker": workers}}
    processes = [
        start(
            script,
            "multi-worker",
            TF_CONFIG=json.dumps(
                {**cluster, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]
    for found in losses_of(processes):
        np.testing.assert_allclose(found, alone, atol=1e-4)
