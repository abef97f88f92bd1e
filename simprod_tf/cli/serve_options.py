"""The options of the sub-command serve; TF Serving's flags keep their names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

MODELS, PORTS, CHANGES = "Models", "Ports", "Changes while it serves"
REQUESTS, SIMILAR = "Requests", "Similar products"
# With batches, those that wait for others run nothing.
CONCURRENCY, CONCURRENCY_WITH_BATCHING = 8, 64

Models = Annotated[
    Optional[list[str]],
    typer.Option(
        metavar="NAME=PATH",
        help="A model: the folder that holds its versions. Give it once a model.",
        rich_help_panel=MODELS,
    ),
]
ModelConfigFile = Annotated[
    Optional[Path],
    typer.Option(
        help="TF Serving's models.config, in place of --model.",
        rich_help_panel=MODELS,
    ),
]
Host = Annotated[
    str,
    typer.Option(
        help="Where to listen; 0.0.0.0 is every network.", rich_help_panel=PORTS
    ),
]
Port = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        help="gRPC's port; 0 is any free one.",
        rich_help_panel=PORTS,
    ),
]
RestPort = Annotated[
    int,
    typer.Option(
        min=-1, max=65535, help="REST's port; -1 is no REST.", rich_help_panel=PORTS
    ),
]
UnixSocket = Annotated[
    Optional[Path],
    typer.Option(help="A socket that gRPC listens on, too.", rich_help_panel=PORTS),
]
SslConfigFile = Annotated[
    Optional[Path],
    typer.Option(help="TF Serving's ssl.config: TLS for gRPC.", rich_help_panel=PORTS),
]
ModelConfigFilePollWaitSeconds = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Read --model-config-file this often; 0 is once.",
        rich_help_panel=CHANGES,
    ),
]
RestApiEnableCorsSupport = Annotated[
    bool,
    typer.Option(
        "--rest-api-enable-cors-support",
        help="Let web pages of other origins ask REST.",
        rich_help_panel=PORTS,
    ),
]
FileSystemPollWaitSeconds = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Look for versions this often; 0 is once.",
        rich_help_panel=CHANGES,
    ),
]
AllowLabelsForUnavailable = Annotated[
    bool,
    typer.Option(
        "--allow-version-labels-for-unavailable-models",
        help="Take a new label before its version is loaded.",
        rich_help_panel=CHANGES,
    ),
]
EnableBatching = Annotated[
    bool,
    typer.Option(
        "--enable-batching",
        help="Join requests into batches.",
        rich_help_panel=REQUESTS,
    ),
]
BatchingParametersFile = Annotated[
    Optional[Path],
    typer.Option(help="TF Serving's batching.config.", rich_help_panel=REQUESTS),
]
MaxMessageMb = Annotated[
    int,
    typer.Option(
        min=1,
        max=2047,
        help="The largest request or answer, in MiB.",
        rich_help_panel=REQUESTS,
    ),
]
Concurrency = Annotated[
    Optional[int],
    typer.Option(
        min=1,
        help=f"Requests that run at once. [default: {CONCURRENCY}; with batching "
        f"{CONCURRENCY_WITH_BATCHING}]",
        rich_help_panel=REQUESTS,
    ),
]
Queue = Annotated[
    int,
    typer.Option(
        min=0,
        help="Requests that may wait; more are refused.",
        rich_help_panel=REQUESTS,
    ),
]
RestTimeout = Annotated[
    float,
    typer.Option(
        min=0.001,
        help="Seconds that REST gives a request.",
        rich_help_panel=REQUESTS,
    ),
]
DrainSeconds = Annotated[
    float,
    typer.Option(
        min=0,
        help="At SIGTERM, give running requests this long.",
        rich_help_panel=REQUESTS,
    ),
]
MonitoringConfigFile = Annotated[
    Optional[Path],
    typer.Option(
        help="TF Serving's monitoring.config: metrics at REST's port.",
        rich_help_panel=REQUESTS,
    ),
]
Index = Annotated[
    Optional[Path],
    typer.Option(
        help="Answer Similar, Add and Remove from the index published here.",
        rich_help_panel=SIMILAR,
    ),
]
IndexModel = Annotated[
    Optional[str],
    typer.Option(
        metavar="NAME",
        help="The model that made --index, where there are several.",
        rich_help_panel=SIMILAR,
    ),
]
Decisions = Annotated[
    Optional[Path],
    typer.Option(
        help="For --index: `simprod threshold`'s file.", rich_help_panel=SIMILAR
    ),
]
Log = Annotated[
    Optional[Path],
    typer.Option(
        help="For --index: what was added; by default in its folder.",
        rich_help_panel=SIMILAR,
    ),
]
