"""What a network's weights expect of its input, and the constants they came with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

CHANNEL_ORDERS = ("RGB", "BGR")


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become what weights were trained on: (pixel - mean) / std.

    Attributes:
        channels: "RGB" or "BGR".
        mean, std: of each channel, in that order, of pixels in [0, 255].
        image_size: side of the square input, in pixels.
        resize_to: side that pictures are resized to before the centre crop.
    """

    channels: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int
    resize_to: int

    def __post_init__(self) -> None:
        """Checks the ranges, and makes plain floats of the numbers."""
        if self.channels not in CHANNEL_ORDERS:
            raise ValueError(
                f"channels must be one of {', '.join(CHANNEL_ORDERS)}, "
                f"got {self.channels!r}."
            )
        for name in ("mean", "std"):
            numbers = tuple(float(number) for number in getattr(self, name))
            if len(numbers) != 3:
                raise ValueError(f"{name} must hold 3 numbers, got {len(numbers)}.")
            object.__setattr__(self, name, numbers)
        if not min(self.std) > 0:
            raise ValueError(f"std must be above 0, got {self.std}.")
        if not 1 <= self.image_size <= self.resize_to:
            raise ValueError(
                f"image_size must be between 1 and resize_to ({self.resize_to}), "
                f"got {self.image_size}."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as plain values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """Returns what `to_json` gave; ValueError, TypeError where it does not fit."""
        return cls(**fields)


@dataclass(frozen=True)
class ResponseNorm:
    """The constants of local response normalisation over five channels.

    x / (bias + alpha * (sum of squares over the channel and two on each side)) ** 0.75.
    Frameworks that divide alpha by the five (Caffe, PyTorch) state five times it.
    """

    bias: float = 2.0
    alpha: float = 1e-4

    def __post_init__(self) -> None:
        """Checks that no activation can divide by zero."""
        if not (self.bias > 0 and self.alpha >= 0):
            raise ValueError(
                "bias must be above 0 and alpha at least 0, "
                f"got {self.bias} and {self.alpha}."
            )

    def to_json(self) -> dict[str, float]:
        """Returns the fields as plain values."""
        return asdict(self)


# ImageNet's mean and standard deviation, as torchvision states them, times 255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
# The mean that Caffe's models subtract, in their order (BGR); no scale.
CAFFE_MEAN = (104.0, 117.0, 123.0)

PAPER_NORM = ResponseNorm(bias=2.0, alpha=1e-4)
# Caffe's AlexNet states alpha 1e-4 and divides it by the five channels.
CAFFE_NORM = ResponseNorm(bias=1.0, alpha=2e-5)


def caffe_preprocessing(image_size: int = 227, resize_to: int = 256) -> Preprocessing:
    """Returns that of Caffe's published ImageNet models: BGR minus the mean."""
    return Preprocessing("BGR", CAFFE_MEAN, (1.0, 1.0, 1.0), image_size, resize_to)
