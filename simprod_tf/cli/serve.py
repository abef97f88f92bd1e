"""The sub-command serve: models behind gRPC and REST, as TF Serving has them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from simprod_tf.cli.console import options, say
from simprod_tf.cli.serve_options import (
    CONCURRENCY,
    CONCURRENCY_WITH_BATCHING,
    AllowLabelsForUnavailable,
    BatchingParametersFile,
    Concurrency,
    Decisions,
    DrainSeconds,
    EnableBatching,
    FileSystemPollWaitSeconds,
    Host,
    Index,
    IndexModel,
    Log,
    MaxMessageMb,
    ModelConfigFile,
    ModelConfigFilePollWaitSeconds,
    Models,
    MonitoringConfigFile,
    Port,
    Queue,
    RestApiEnableCorsSupport,
    RestPort,
    RestTimeout,
    SslConfigFile,
    UnixSocket,
)

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from simprod_tf.serving.protos.server_config_pb2 import BatchingParameters
    from simprod_tf.serving.server.limits import Gate
    from simprod_tf.serving.server.server import ServeOptions, Server
    from simprod_tf.serving.similar.parts import SimilarParts


def serve(
    model: Models = None,
    model_config_file: ModelConfigFile = None,
    host: Host = "127.0.0.1",
    port: Port = 8500,
    rest_port: RestPort = 8501,
    unix_socket: UnixSocket = None,
    ssl_config_file: SslConfigFile = None,
    model_config_file_poll_wait_seconds: ModelConfigFilePollWaitSeconds = 0,
    rest_api_enable_cors_support: RestApiEnableCorsSupport = False,
    file_system_poll_wait_seconds: FileSystemPollWaitSeconds = 1,
    allow_version_labels_for_unavailable_models: AllowLabelsForUnavailable = False,
    enable_batching: EnableBatching = False,
    batching_parameters_file: BatchingParametersFile = None,
    max_message_mb: MaxMessageMb = 64,
    concurrency: Concurrency = None,
    queue: Queue = 64,
    rest_timeout: RestTimeout = 30,
    drain_seconds: DrainSeconds = 30,
    monitoring_config_file: MonitoringConfigFile = None,
    index: Index = None,
    index_model: IndexModel = None,
    decisions: Decisions = None,
    log: Log = None,
) -> None:
    """Serve models over gRPC and REST, with TF Serving's API, files and answers.

    For machines where TF Serving is not at hand; clients ask both alike.

    TF Serving's flags keep their names, with hyphens, such as
    --model-config-file-poll-wait-seconds, --file-system-poll-wait-seconds,
    --allow-version-labels-for-unavailable-models, --batching-parameters-file,
    --monitoring-config-file, --rest-api-enable-cors-support.

    Example: `simprod serve --model shop=saved_models/shop --port 8500 --rest-port 8501`
    """
    from simprod_tf.serving.models import config
    from simprod_tf.serving.server.limits import MIB, Gate, Limits
    from simprod_tf.serving.server.server import ServeOptions

    if model_config_file_poll_wait_seconds and model_config_file is None:
        raise typer.BadParameter(
            "--model-config-file-poll-wait-seconds needs --model-config-file."
        )
    if concurrency is None:
        concurrency = CONCURRENCY_WITH_BATCHING if enable_batching else CONCURRENCY
    batching = _batching(enable_batching, batching_parameters_file)
    metrics_path, ssl = None, None
    if monitoring_config_file is not None:
        metrics_path = config.read_monitoring(monitoring_config_file)
    if ssl_config_file is not None:
        ssl = config.read_ssl(ssl_config_file)
    models = _models(model, model_config_file)
    with options():
        served = ServeOptions(
            models=models,
            host=host,
            port=port,
            rest_port=None if rest_port < 0 else rest_port,
            unix_socket=unix_socket,
            limits=Limits(concurrency, queue, max_message_mb * MIB),
            batching=batching,
            ssl=ssl,
            metrics_path=metrics_path,
            rest_timeout=rest_timeout,
            enable_cors=rest_api_enable_cors_support,
            poll_seconds=file_system_poll_wait_seconds,
            config_path=model_config_file,
            config_poll_seconds=model_config_file_poll_wait_seconds,
            allow_labels_for_unavailable=allow_version_labels_for_unavailable_models,
        )
    if index is None and (index_model or decisions or log):
        raise typer.BadParameter("--index-model, --decisions and --log need --index.")
    gate, similar = Gate(served.limits), None
    with _logged():
        if index is not None:
            made_by = _encoder_folder(models, index_model)
            similar = _similar(
                served, gate, made_by, index, decisions=decisions, log=log
            )
        _run(served, gate, similar, drain_seconds=drain_seconds)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Logs what is loaded and unloaded meanwhile, -v or not."""
    logger = logging.getLogger("simprod_tf.serving")
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)


def _models(named: Sequence[str] | None, config_file: Path | None) -> ModelServerConfig:
    """Returns the models of the options, or of the file."""
    from simprod_tf.serving.models.config import models_of, read_models_config

    if (not named) == (config_file is None):
        raise typer.BadParameter(
            "give --model NAME=PATH, once for each model, or --model-config-file."
        )
    if config_file is not None:
        return read_models_config(config_file)
    paths: dict[str, str] = {}
    for each in named or ():
        name, equals, path = each.partition("=")
        if not name or not equals or not path:
            raise typer.BadParameter(f"--model takes NAME=PATH, got {each!r}.")
        if name in paths:
            raise typer.BadParameter(f"--model names {name} twice.")
        paths[name] = path
    return models_of(paths)


def _batching(enabled: bool, parameters: Path | None) -> BatchingParameters | None:
    """Returns how requests are joined; None where they are not."""
    from simprod_tf.serving.models import config

    if parameters is None:
        return config.BatchingParameters() if enabled else None
    if not enabled:
        raise typer.BadParameter("--batching-parameters-file needs --enable-batching.")
    return config.read_batching(parameters)


def _encoder_folder(models: ModelServerConfig, name: str | None) -> Path:
    """Returns the folder of the model that made the index."""
    folders = {
        each.name: Path(each.base_path) for each in models.model_config_list.config
    }
    if name is None and len(folders) == 1:
        return next(iter(folders.values()))
    if name not in folders:
        got = "there are several models" if name is None else f"got {name}"
        raise typer.BadParameter(
            f"--index-model must be one of {', '.join(sorted(folders))}: {got}."
        )
    return folders[name]


def _similar(
    served: ServeOptions,
    gate: Gate,
    encoder: Path,
    index: Path,
    *,
    decisions: Path | None,
    log: Path | None,
) -> SimilarParts:
    """Opens the service of similar products."""
    from simprod_tf.serving.similar.bundle import BundleOptions
    from simprod_tf.serving.similar.parts import similar_parts

    opened = BundleOptions(
        encoder, index, decisions, log, poll_seconds=served.poll_seconds
    )
    return similar_parts(opened, gate=gate, timeout=served.rest_timeout)


def _run(
    served: ServeOptions,
    gate: Gate,
    similar: SimilarParts | None,
    *,
    drain_seconds: float,
) -> None:
    """Serves until a signal comes."""
    from simprod_tf.serving.server.server import Server, signalled

    # Closed last, once no request uses it: then it writes what was added.
    with contextlib.closing(similar) if similar else contextlib.nullcontext():
        server = Server(
            served,
            servicers=[similar.servicer] if similar else [],
            routes=similar.routes if similar else [],
            gate=gate,
        )
        with server:
            say(ready_line(server, similar=similar is not None))
            came = signalled()
            say(
                f"{came.name}: running requests have {drain_seconds:g} s to finish; a "
                "second signal ends them."
            )
            server.drain(drain_seconds)
    say("Stopped.")


def ready_line(server: Server, *, similar: bool) -> str:
    """Returns what is served where."""
    chosen: ServeOptions = server.options
    models = sorted(server.models.names())
    names = ", ".join(models) or "no model"
    # A colon of an IPv6 address is not the port's.
    host = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    if similar:
        names += " and similar products"
    safe = "" if chosen.ssl is None else " with TLS"
    places = [f"gRPC{safe} at {host}:{server.port}"]
    if chosen.unix_socket is not None:
        places.append(f"gRPC{safe} at unix:{chosen.unix_socket}")
    if server.rest_port is not None:
        page = "/".join(["/v1/models", *models[:1]])
        places.append(f"REST at http://{host}:{server.rest_port}{page}")
    if server.rest_port is not None and chosen.metrics_path is not None:
        places.append(f"metrics at {chosen.metrics_path}")
    return f"Serving {names}: {'; '.join(places)}. Ctrl-C stops."
