"""`simprod serve` with an index: killed amid changes, it starts with all of them."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.versions import current_folder, publish
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.protos import similar_products_pb2_grpc as pb_grpc

_spec = importlib.util.spec_from_file_location(
    "similar_process", Path(__file__).with_name("similar_process.py")
)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)


class Serve:
    """A server process over a model and an index."""

    def __init__(self, model, root):
        options = ["--model", f"shop={model}", "--index", str(root)]
        ports = ["--port", "0", "--rest-port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simprod_tf", "serve", *options, *ports],
            stderr=subprocess.PIPE,
            text=True,
        )
        # A server that never is ready ends, and so does what it says.
        timer = threading.Timer(120, self.process.kill)
        timer.start()
        said = ""
        while "Serving" not in said:
            line = self.process.stderr.readline()
            assert line, f"the server ended: {said}"
            said += line
        timer.cancel()
        self.ports = re.findall(r"127\.0\.0\.1:(\d+)", said)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.ports[0]}")
        self.stub = pb_grpc.SimilarProductsStub(self.channel)

    def end(self, number):
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stderr.close()
        self.channel.close()


@pytest.fixture
def served(tmp_path):
    """A function that starts servers over one model and one index of two products."""
    model, root = tmp_path / "model", tmp_path / "root"
    shop.save_encoder(model / "1", "f1")
    vectors = np.eye(2, 5, dtype=np.float32)
    publish(ExactIndex.build(["a", "b"], vectors, encoder_fingerprint="f1"), root)
    servers = []

    def start():
        servers.append(Serve(model, root))
        return servers[-1], root

    yield start
    for one in servers:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_server_starts_again_with_every_acknowledged_change(served):
    server, root = served()
    added, removed, enough = set(), set(), threading.Event()

    def change(name):
        for number in range(10_000):
            id = f"{name}-{number}"
            one = pb.NewProduct(id=id, product=pb.Product(title="x" * (number + 1)))
            try:
                server.stub.Add(pb.AddRequest(products=[one]), timeout=30)
                added.add(id)
                if number % 3 == 0:
                    server.stub.Remove(pb.RemoveRequest(ids=[id]), timeout=30)
                    removed.add(id)
            except grpc.RpcError:
                return
            if len(added) > 60:
                enough.set()

    threads = [threading.Thread(target=change, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    server.end(signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    server, root = served()
    # What was killed between its two acknowledgements may be there or not.
    tried = {id for id in added - removed if int(id.split("-")[1]) % 3 == 0}
    assert len(tried) <= 4
    for id in added - tried:
        answer = httpx.post(
            f"http://127.0.0.1:{server.ports[1]}/simprod/v1/similar",
            json={"queries": [{"id": id}], "k": 1},
            timeout=30,
        )
        assert answer.status_code == (404 if id in removed else 200), id
    # A clean end makes a version of the log.
    server.end(signal.SIGTERM)
    assert int(current_folder(root).name) == 2
    held = set(shop.load_index(root).ids)
    assert added - removed - tried <= held
    assert not held & removed
