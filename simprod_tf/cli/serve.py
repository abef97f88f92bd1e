"""The sub-command serve: models behind gRPC and REST, as TF Serving has them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import options, say

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    from simprod_tf.serving.server.limits import Gate
    from simprod_tf.serving.server.server import ServeOptions, Server
    from simprod_tf.serving.similar.parts import SimilarParts

MODELS, PORTS, CHANGES = "Models", "Ports", "Changes while it serves"
REQUESTS, SIMILAR = "Requests", "Similar products"
# With batches, those that wait for others run nothing.
CONCURRENCY, CONCURRENCY_WITH_BATCHING = 8, 64


def serve(
    model: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME=PATH",
            help="A model: the folder that holds its versions. Give it once a model.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    model_config_file: Annotated[
        Optional[Path],
        typer.Option(
            help="TF Serving's models.config, in place of --model.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Where to listen; 0.0.0.0 is every network.", rich_help_panel=PORTS
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            help="gRPC's port; 0 is any free one.",
            rich_help_panel=PORTS,
        ),
    ] = 8500,
    rest_port: Annotated[
        int,
        typer.Option(
            min=-1, max=65535, help="REST's port; -1 is no REST.", rich_help_panel=PORTS
        ),
    ] = 8501,
    unix_socket: Annotated[
        Optional[Path],
        typer.Option(help="A socket that gRPC listens on, too.", rich_help_panel=PORTS),
    ] = None,
    ssl_config_file: Annotated[
        Optional[Path],
        typer.Option(
            help="TF Serving's ssl.config: TLS for gRPC.", rich_help_panel=PORTS
        ),
    ] = None,
    model_config_file_poll_wait_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Read --model-config-file this often; 0 is once.",
            rich_help_panel=CHANGES,
        ),
    ] = 0,
    rest_api_enable_cors_support: Annotated[
        bool,
        typer.Option(
            "--rest-api-enable-cors-support",
            help="Let web pages of other origins ask REST.",
            rich_help_panel=PORTS,
        ),
    ] = False,
    file_system_poll_wait_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Look for versions this often; 0 is once.",
            rich_help_panel=CHANGES,
        ),
    ] = 1,
    allow_version_labels_for_unavailable_models: Annotated[
        bool,
        typer.Option(
            "--allow-version-labels-for-unavailable-models",
            help="Take a new label before its version is loaded.",
            rich_help_panel=CHANGES,
        ),
    ] = False,
    enable_batching: Annotated[
        bool,
        typer.Option(
            "--enable-batching",
            help="Join requests into batches.",
            rich_help_panel=REQUESTS,
        ),
    ] = False,
    batching_parameters_file: Annotated[
        Optional[Path],
        typer.Option(help="TF Serving's batching.config.", rich_help_panel=REQUESTS),
    ] = None,
    max_message_mb: Annotated[
        int,
        typer.Option(
            min=1,
            max=2047,
            help="The largest request or answer, in MiB.",
            rich_help_panel=REQUESTS,
        ),
    ] = 64,
    concurrency: Annotated[
        Optional[int],
        typer.Option(
            min=1,
            help=f"Requests that run at once. [default: {CONCURRENCY}; with batching "
            f"{CONCURRENCY_WITH_BATCHING}]",
            rich_help_panel=REQUESTS,
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            min=0,
            help="Requests that may wait; more are refused.",
            rich_help_panel=REQUESTS,
        ),
    ] = 64,
    rest_timeout: Annotated[
        float,
        typer.Option(
            min=0.001,
            help="Seconds that REST gives a request.",
            rich_help_panel=REQUESTS,
        ),
    ] = 30,
    drain_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="At SIGTERM, give running requests this long.",
            rich_help_panel=REQUESTS,
        ),
    ] = 30,
    monitoring_config_file: Annotated[
        Optional[Path],
        typer.Option(
            help="TF Serving's monitoring.config: metrics at REST's port.",
            rich_help_panel=REQUESTS,
        ),
    ] = None,
    index: Annotated[
        Optional[Path],
        typer.Option(
            help="Answer Similar, Add and Remove from the index published here.",
            rich_help_panel=SIMILAR,
        ),
    ] = None,
    index_model: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="The model that made --index, where there are several.",
            rich_help_panel=SIMILAR,
        ),
    ] = None,
    decisions: Annotated[
        Optional[Path],
        typer.Option(
            help="For --index: `simprod threshold`'s file.", rich_help_panel=SIMILAR
        ),
    ] = None,
    log: Annotated[
        Optional[Path],
        typer.Option(
            help="For --index: what was added; by default in its folder.",
            rich_help_panel=SIMILAR,
        ),
    ] = None,
) -> None:
    """Serve models over gRPC and REST, with TF Serving's API, files and answers.

    For machines where TF Serving is not at hand; clients cannot tell them apart.

    TF Serving's flags keep their names, with hyphens, such as
    --model-config-file-poll-wait-seconds, --file-system-poll-wait-seconds,
    --allow-version-labels-for-unavailable-models, --batching-parameters-file,
    --monitoring-config-file, --rest-api-enable-cors-support.

    Example: `simprod serve --model shop=saved_models/shop --port 8500 --rest-port 8501`
    """
    from simprod_tf.serving.models import config
    from simprod_tf.serving.server.limits import MIB, Gate, Limits
    from simprod_tf.serving.server.server import ServeOptions

    if batching_parameters_file is not None and not enable_batching:
        raise typer.BadParameter("--batching-parameters-file needs --enable-batching.")
    if model_config_file_poll_wait_seconds and model_config_file is None:
        raise typer.BadParameter(
            "--model-config-file-poll-wait-seconds needs --model-config-file."
        )
    if concurrency is None:
        concurrency = CONCURRENCY_WITH_BATCHING if enable_batching else CONCURRENCY
    batching, metrics_path, ssl = None, None, None
    if enable_batching:
        batching = config.BatchingParameters()
    if batching_parameters_file is not None:
        batching = config.read_batching(batching_parameters_file)
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
