"""The server's configuration files: TensorFlow Serving's, in protobuf's text format.

models.config is a real `ModelServerConfig`. The other messages are not among the stubs
of tensorflow-serving-api; ours (protos/server_config.proto) have the same fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelServerConfig,
)

from simprod_tf.errors import InputError
from simprod_tf.serving.protos.server_config_pb2 import (
    BatchingParameters,
    MonitoringConfig,
    SSLConfig,
)

PLATFORM = "tensorflow"
DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"

# The names that TensorFlow Serving's own messages have, for the texts of errors.
_FULL_NAME = "tensorflow.serving."

AnyMessage = TypeVar("AnyMessage", bound=Message)


def read_models_config(path: str | os.PathLike[str]) -> ModelServerConfig:
    """Returns the models of a models.config.

    Raises:
        InputError: it cannot be read or parsed, or `models_fault` finds something.
    """
    config = _parsed(path, ModelServerConfig())
    fault = models_fault(config)
    if fault:
        raise InputError(fault, path=path)
    return config


def models_of(
    names_and_paths: Mapping[str, str | os.PathLike[str]],
) -> ModelServerConfig:
    """Returns models by their names, each with the folder that holds its versions.

    Relative paths are made absolute; of every model the latest version is served.

    Raises:
        InputError: the folder of a model does not exist, or holds other things than
            versions. An empty one may be waited for.
        ValueError: a name is empty.
    """
    config = ModelServerConfig()
    # Set even where there is none: an empty list is a configuration, too.
    config.model_config_list.SetInParent()
    for name, path in names_and_paths.items():
        if not name:
            raise ValueError(f"A model needs a name, got none for {path}.")
        if not Path(path).is_dir():
            raise InputError(
                f"expected the folder with the versions of model {name}; there is "
                "none. `simprod export` makes one.",
                path=path,
            )
        found = sorted(each.name for each in Path(path).iterdir())
        if found and not any(each.isdigit() for each in found):
            raise InputError(
                f"expected the folder with the versions of model {name}, 1, 2, ..., "
                f"got {', '.join(found[:3])}. `simprod export` writes the next version "
                "into such a folder.",
                path=path,
            )
        config.model_config_list.config.add(
            name=name, base_path=str(Path(path).absolute()), model_platform=PLATFORM
        )
    return config


def models_fault(config: ModelServerConfig) -> str | None:
    """Returns why a list of models cannot be served, None if it can.

    The texts of duplicate names, relative paths and platforms are those of TensorFlow
    Serving's server_core.cc.
    """
    if config.WhichOneof("config") != "model_config_list":
        return (
            "expected a model_config_list, got "
            f"{config.WhichOneof('config') or 'an empty configuration'}."
        )
    seen = set()
    for model in config.model_config_list.config:
        if model.name in seen:
            return f"Illegal to list model {model.name} multiple times in config list"
        seen.add(model.name)
        fault = _model_fault(model)
        if fault:
            return fault
    return None


def read_batching(path: str | os.PathLike[str]) -> BatchingParameters:
    """Returns how requests are batched.

    Raises:
        InputError: the file cannot be read or parsed, or a number of it makes no sense.
    """
    batching = _parsed(path, BatchingParameters())
    for field, least in (
        ("max_batch_size", 1),
        ("batch_timeout_micros", 0),
        ("max_enqueued_batches", 1),
        ("num_batch_threads", 1),
    ):
        value = getattr(batching, field).value
        if batching.HasField(field) and value < least:
            raise InputError(
                f"{field} must be at least {least}, got {value}.", path=path
            )
    sizes = list(batching.allowed_batch_sizes)
    if sizes != sorted(set(sizes)) or (sizes and sizes[0] < 1):
        raise InputError(
            f"allowed_batch_sizes must rise from 1 or more, got {sizes}.", path=path
        )
    if sizes and sizes[-1] != batching.max_batch_size.value:
        raise InputError(
            f"the last of allowed_batch_sizes, {sizes[-1]}, must be max_batch_size, "
            f"which is {batching.max_batch_size.value or 'absent'}.",
            path=path,
        )
    return batching


def read_monitoring(path: str | os.PathLike[str]) -> str | None:
    """Returns the path of the metrics on the REST port, None where they are off.

    Raises:
        InputError: the file cannot be read or parsed, or the path lacks its slash.
    """
    prometheus = _parsed(path, MonitoringConfig()).prometheus_config
    if not prometheus.enable:
        return None
    shown = prometheus.path or DEFAULT_METRICS_PATH
    if not shown.startswith("/"):
        raise InputError(
            f'prometheus_config.path must begin with "/", got "{shown}".', path=path
        )
    return str(shown)


def read_ssl(path: str | os.PathLike[str]) -> SSLConfig:
    """Returns the keys and certificates of the gRPC port.

    Raises:
        InputError: the file cannot be read or parsed, or lacks a key or certificate.
    """
    ssl = _parsed(path, SSLConfig())
    wanted = [
        "server_key",
        "server_cert",
        *(["custom_ca"] if ssl.client_verify else []),
    ]
    for field in wanted:
        if "-----BEGIN" not in getattr(ssl, field):
            raise InputError(
                f"{field} must hold a PEM text itself, not the name of a file.",
                path=path,
            )
    return ssl


def _parsed(path: str | os.PathLike[str], message: AnyMessage) -> AnyMessage:
    """Returns `message`, filled from a text file."""
    kind = _FULL_NAME + message.DESCRIPTOR.name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}.", path=path) from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        # protobuf's reason begins with "line : column".
        raise InputError(
            f"Error parsing text-format {kind}: {error}", path=path
        ) from error


def _model_fault(model: ModelConfig) -> str | None:
    """Returns why one model cannot be served, None if it can."""
    if not model.name:
        return f'A model has no name; its base_path is "{model.base_path}".'
    if not os.path.isabs(model.base_path):
        return (
            f"Expected model {model.name} to have an absolute path or URI; "
            f"got base_path()={model.base_path}"
        )
    if "\0" in model.base_path:
        return f"Model {model.name} has a base_path with a NUL character."
    # The deprecated model_type says the same as a platform: 1 is TensorFlow.
    platform = model.model_platform or {0: "", 1: PLATFORM}.get(
        model.model_type, f"model_type {model.model_type}"
    )
    if not platform:
        return (
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform."
        )
    if platform != PLATFORM:
        return f"Model {model.name} requests unsupported platform {platform}"
    policy = model.model_version_policy
    if policy.HasField("specific") and not policy.specific.versions:
        return f"Model {model.name} has a specific version policy without versions."
    return None
