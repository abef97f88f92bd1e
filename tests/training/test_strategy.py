"""Training on several devices and machines comes to what one device does."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import SimprodError
from simprod_tf.training.strategy import distributed, strategy_of


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
