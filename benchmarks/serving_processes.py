"""What `serving.py` and `serving_soak.py` start on loopback, and its CPU."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"


class Worker:
    """A process that reads lines of JSON and answers each with one."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
        )

    def send(self, message: dict) -> None:
        """Sends one line."""
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """Returns the next line that it prints."""
        found = self.process.stdout.readline()
        if not found:
            raise RuntimeError(f"{self.process.args} ended.")
        return found

    def receive(self) -> dict:
        """Returns the next line as JSON."""
        return json.loads(self.line())

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()


def cpu_s(pid: int) -> float:
    """Returns the CPU seconds of a process and all its threads.

    Linux makes the number of a process's CPU clock of its id, as clock_getcpuclockid(3)
    does; /proc/PID/stat has the same in hundredths of a second.
    """
    return time.clock_gettime((~pid << 3) | 2)


def free_port() -> int:
    """Returns a port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def newest(folder: Path) -> Path:
    """Returns the folder of the highest version."""
    versions = [path for path in folder.iterdir() if path.name.isdigit()]
    return max(versions, key=lambda path: int(path.name))


@contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen]:
    """Runs a server until the block is left."""
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=HERE.parent)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_available(address: str, models: list[str], *, process=None) -> None:
    """Returns when ModelService calls every model AVAILABLE; two minutes at most."""
    import grpc
    from tensorflow_serving.apis import get_model_status_pb2 as status

    end = time.monotonic() + 120
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            STATUS,
            request_serializer=status.GetModelStatusRequest.SerializeToString,
            response_deserializer=status.GetModelStatusResponse.FromString,
        )
        for model in models:
            request = status.GetModelStatusRequest()
            request.model_spec.name = model
            while True:
                try:
                    told = call(request, timeout=5).model_version_status
                    if any(one.state == one.AVAILABLE for one in told):
                        break
                except grpc.RpcError as error:
                    last = error.details()
                if process is not None and process.poll() is not None:
                    raise RuntimeError("The server ended; its log says why.")
                if time.monotonic() > end:
                    raise RuntimeError(f"{model} is not available: {last}")
                time.sleep(0.2)


@dataclass(frozen=True)
class Server:
    """Where something listens, and its process where that is ours."""

    name: str
    grpc: str | None
    rest: str | None = None
    pid: int | None = None


def our_server(
    stack: ExitStack, folder: Path, models: dict[str, Path], *, batching: bool = False
) -> Server:
    """Starts `simprod serve` with these models."""
    port, rest_port = free_port(), free_port()
    command = [sys.executable, "-m", "simprod_tf", "serve"]
    command += ["--port", str(port), "--rest-port", str(rest_port)]
    for name, path in models.items():
        command += ["--model", f"{name}={path.resolve()}"]
    name = "simprod serve"
    if batching:
        parameters = HERE.parent / "serving" / "batching.config"
        command += ["--enable-batching", "--batching-parameters-file", str(parameters)]
        name += ", batching"
    log = folder / f"{name.replace(' ', '-')}.log"
    process = stack.enter_context(started(command, log))
    address = f"127.0.0.1:{port}"
    try:
        wait_available(address, list(models), process=process)
    except RuntimeError:
        print(log.read_text(encoding="utf-8")[-3000:], file=sys.stderr)
        raise
    return Server(name, address, f"127.0.0.1:{rest_port}", process.pid)


def echo_server(stack: ExitStack) -> Server:
    """Starts the bare gRPC server."""
    port = free_port()
    worker = Worker("serving_peers.py", "echo", str(port))
    stack.callback(worker.close)
    worker.line()
    return Server("echo", f"127.0.0.1:{port}", pid=worker.process.pid)
