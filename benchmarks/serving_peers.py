"""What `serving.py` compares a server with, each in a process of its own.

python serving_peers.py echo PORT          a gRPC server that answers bytes
python serving_peers.py session FOLDER     Session.run of a SavedModel, no server
python serving_peers.py trivial FOLDER     writes a SavedModel: one 64x64 product
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc

# As in the server: TF Serving's is 4 a core.
ECHO_WORKERS = 8
ECHO = "/benchmark.Echo/Bytes"
# Between runs, as a server waits for its one caller: caches and threads go to sleep.
PAUSE_S = 0.002


def serve_echo(port: int) -> None:
    """Serves gRPC: the first 4 bytes of a request say how many bytes to answer."""
    payload = b"\x00" * 2**26

    def reply(request: bytes, context: grpc.ServicerContext) -> bytes:
        return payload[: int.from_bytes(request[:4], "big")]

    # Without serialisers a handler takes and gives bytes.
    handler = grpc.unary_unary_rpc_method_handler(reply)
    service = grpc.method_handlers_generic_handler("benchmark.Echo", {"Bytes": handler})
    server = grpc.server(
        futures.ThreadPoolExecutor(ECHO_WORKERS),
        options=[("grpc.max_receive_message_length", -1)],
    )
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


def run_session(folder: str) -> None:
    """Answers commands: a request's file, seconds, and which way to run the session."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    tf.get_logger().setLevel("ERROR")
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        command = json.loads(line)
        request = predict_pb2.PredictRequest.FromString(
            Path(command["request"]).read_bytes()
        )
        signature = loaded.signature_def[request.model_spec.signature_name]
        feeds = {
            signature.inputs[name].name: tf.make_ndarray(tensor)
            for name, tensor in request.inputs.items()
        }
        fetches = {key: one.name for key, one in signature.outputs.items()}
        run = _ways(session, fetches, feeds)[command["way"]]
        gap_s = PAUSE_S if command["way"] == "Session.run, pauses" else 0.0
        found = _timed(run, command["seconds"], gap_s)
        if "answer" in command:
            values = session.run(fetches, feeds)
            tensors = {key: tf.make_tensor_proto(v) for key, v in values.items()}
            response = predict_pb2.PredictResponse(outputs=tensors)
            Path(command["answer"]).write_bytes(response.SerializeToString())
        print(json.dumps(found), flush=True)


def _ways(session, fetches: dict, feeds: dict) -> dict[str, Callable]:
    """Returns Session.run itself and a callable of it, with their arguments."""
    names = list(feeds)
    made = session.make_callable(list(fetches.values()), feed_list=names)
    values = [feeds[name] for name in names]
    return {
        "Session.run": lambda: session.run(fetches, feeds),
        "Session.run, pauses": lambda: session.run(fetches, feeds),
        "callable": lambda: made(*values),
    }


def _timed(run: Callable, seconds: float, gap_s: float) -> dict:
    for _ in range(3):
        run()
    runs, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        run()
        runs += 1
        if gap_s:
            time.sleep(gap_s)
    return {
        "runs": runs,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - began,
    }


def write_trivial(folder: str) -> None:
    """Writes `folder`/1: `x` [B, 64] float32 -> `y` [B, 64] float32, one product."""
    import tensorflow as tf

    module = tf.Module()
    module.matrix = tf.Variable(tf.random.stateless_normal([64, 64], seed=[0, 0]))

    def product(x):
        return {"y": x @ module.matrix}

    spec = tf.TensorSpec([None, 64], tf.float32, name="x")
    concrete = tf.function(product).get_concrete_function(spec)
    tf.saved_model.save(module, f"{folder}/1", {"serving_default": concrete})


if __name__ == "__main__":
    what, argument = sys.argv[1:]
    if what == "echo":
        serve_echo(int(argument))
    elif what == "session":
        run_session(argument)
    else:
        write_trivial(argument)
