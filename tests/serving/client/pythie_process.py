"""Serves a scikit-learn model and a table by pythie-serving; prints the two ports.

Run by test_pythie.py in an environment of its own: pythie-serving wants NumPy 1.23.
"""

import json
import sys
import threading
from pathlib import Path

import cloudpickle
import numpy as np
from pythie_serving import create_grpc_server
from pythie_serving.tensorflow_proto.tensorflow_serving.config import (
    model_server_config_pb2,
)
from sklearn.linear_model import LinearRegression


def main(folder):
    """Serves `plane`, 2 a - 3 b + 1, and `stock`, a number by colour and size."""
    points = np.array([[0, 0], [1, 0], [0, 1], [2, 3]], float)
    model = LinearRegression().fit(points, 2 * points[:, 0] - 3 * points[:, 1] + 1)
    (folder / "plane").mkdir()
    (folder / "plane/plane.pickled").write_bytes(cloudpickle.dumps(model))
    describe(folder / "plane", feature_names=["a", "b"])
    (folder / "stock").mkdir()
    table = "colour,size,number\nred,1,11\nblau,2,22\nred,2,12\n"
    (folder / "stock/stock.csv").write_text(table, encoding="utf-8")
    describe(
        folder / "stock",
        feature_names=["colour", "size"],
        target_name="number",
        data_type={"colour": "str", "size": "int", "number": "int"},
    )
    servers = [serve(folder, "plane", "sklearn"), serve(folder, "stock", "table")]
    ports = [server.add_insecure_port("127.0.0.1:0") for server in servers]
    sys.stdout.write(" ".join(map(str, ports)) + "\n")
    sys.stdout.flush()
    for server in servers:
        server.start()
    threading.Event().wait()


def describe(folder, **content):
    """Writes what pythie-serving must know of a model."""
    (folder / "metadata.json").write_text(json.dumps(content), encoding="utf-8")


def serve(folder, name, platform):
    """Returns a server of one model; pythie-serving has one platform a server."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=name, base_path=str(folder / name), model_platform=platform
    )
    return create_grpc_server(
        model_server_config=config, worker_count=1, port=0, maximum_concurrent_rpcs=None
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
