"""Labels: names for versions of a model, such as stable and canary."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from simprod_tf.serving.status import ServingError


class Labels:
    """The labels of all models, replaced together by each configuration."""

    def __init__(self, *, allow_unavailable: bool) -> None:
        """Has no labels until `assign`.

        Args:
            allow_unavailable: whether a new label may name a version that is not
                served; one in use never moves to such a version.
        """
        self._allow_unavailable = allow_unavailable
        self._versions: dict[tuple[str, str], int] | None = None

    def assign(
        self, config: ModelServerConfig, is_available: Callable[[str, int], bool]
    ) -> None:
        """Takes the labels of a configuration in place of the present: all or none.

        Args:
            config: all models.
            is_available: whether a model serves a version.

        Raises:
            ServingError: FAILED_PRECONDITION, a label names a version not served.
        """
        new = {}
        for model in config.model_config_list.config:
            for label, version in model.version_labels.items():
                key = (model.name, label)
                allowed = self._allow_unavailable and self._stays(key, version)
                if not allowed and not is_available(model.name, version):
                    raise ServingError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model "
                        f"{model.name}, which is not currently available for "
                        "inference",
                    )
                new[key] = version
        # One assignment: who reads sees the old labels or the new ones.
        self._versions = new

    def version(self, name: str, label: str) -> int:
        """Returns the version of a model that a label names.

        Raises:
            ServingError: INVALID_ARGUMENT, there is no such label; UNAVAILABLE before
                the first configuration.
        """
        if self._versions is None:
            raise ServingError(
                grpc.StatusCode.UNAVAILABLE, "Model labels does not init yet."
            )
        try:
            return self._versions[name, label]
        except KeyError:
            raise ServingError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Unrecognized servable version label: {label}",
            ) from None

    def _stays(self, key: tuple[str, str], version: int) -> bool:
        """Whether a label is new, or names this version already."""
        return (self._versions or {}).get(key, version) == version
