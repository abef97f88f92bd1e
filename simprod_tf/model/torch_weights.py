"""An AlexNet's state dict of PyTorch -> arrays by layer, in PyTorch's own layout."""

from __future__ import annotations

import os
import pickle
import re
from typing import Any

import numpy as np

from simprod_tf.errors import MissingLibraryError, ModelError

_NAME = re.compile(
    r"(?:module\.)?(?P<part>features|classifier)\.(?P<number>\d+)\."
    r"(?P<kind>weight|bias)"
)


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns `conv1/weight` ... `fc7/bias` of a `.pth` file, float32.

    The layers are `features.<number>` and `classifier.<number>`, as torchvision names
    them, taken in the order of the numbers: ReLU, pooling and dropout hold none. The
    last of three classifier layers, the classes', is left out. PyTorch reads the file
    with `weights_only=True`: nothing in it is executed.

    Raises:
        ModelError: the file is damaged, holds more than tensors, or no such layers.
        MissingLibraryError: PyTorch is not installed.
    """
    state = _load(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    layers = _numbered(state) if isinstance(state, dict) else {}
    convolutions, dense = layers.get("features", {}), layers.get("classifier", {})
    if len(convolutions) != 5 or len(dense) > 3:
        raise ModelError(
            f"{path} is no AlexNet's state dict: expected 5 layers features.<number> "
            "with weights and up to 3 classifier.<number>, got "
            f"{len(convolutions)} and {len(dense)}."
        )
    names = {"features": "conv1 conv2 conv3 conv4 conv5", "classifier": "fc6 fc7"}
    return {
        f"{name}/{kind}": _array(tensor, f"{part}.{number}.{kind}", path)
        for part, order in names.items()
        for name, (number, tensors) in zip(order.split(), _in_order(layers, part))
        for kind, tensor in tensors.items()
    }


def _load(path: str | os.PathLike[str]) -> Any:
    try:
        # An extra: hundreds of megabytes.
        import torch
    except ImportError as error:
        raise MissingLibraryError(
            f"{path} is a PyTorch file, and PyTorch is not installed: "
            "pip install 'simprod-tf[convert]'."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds more than tensors, which is not read "
            "(save model.state_dict() alone)."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first_line = str(error).partition("\n")[0]
        raise ModelError(f"{path} cannot be read by PyTorch: {first_line}") from error


def _numbered(state: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """Returns the tensors of each part by number and kind."""
    layers: dict[str, dict[int, dict[str, Any]]] = {}
    for name, tensor in state.items():
        match = _NAME.fullmatch(str(name))
        if match:
            part = layers.setdefault(match["part"], {})
            part.setdefault(int(match["number"]), {})[match["kind"]] = tensor
    return layers


def _in_order(
    layers: dict[str, dict[int, dict[str, Any]]], part: str
) -> list[tuple[int, dict[str, Any]]]:
    return sorted(layers.get(part, {}).items())


def _array(tensor: Any, name: str, path: str | os.PathLike[str]) -> np.ndarray:
    if not hasattr(tensor, "detach"):
        raise ModelError(
            f"{path}: {name} must be a tensor, got {type(tensor).__name__}."
        )
    return tensor.detach().float().numpy()
