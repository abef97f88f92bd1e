"""The networks whose weights can be read: their sizes, and the shapes of their arrays.

Arrays are named `<layer>/kernel` and `<layer>/bias`. Kernels of convolutions are
[height, width, in, out]; those of fully connected layers [in, out], where `in` of the
first one runs over height, width, channel of pool5.
"""

from __future__ import annotations

from dataclasses import dataclass

from simprod_tf.model.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PAPER_NORM,
    Preprocessing,
    ResponseNorm,
    caffe_preprocessing,
)

Shapes = dict[str, tuple[int, ...]]

SQUEEZENET = "squeezenet"
# Of the squeeze convolution of each fire module; each expand has four times as many.
FIRE_FILTERS = {
    "fire2": 16, "fire3": 16, "fire4": 32, "fire5": 32,
    "fire6": 48, "fire7": 48, "fire8": 64, "fire9": 64,
}  # fmt: skip
SQUEEZENET_CLASSES = 1000


@dataclass(frozen=True)
class AlexNetPreset:
    """The sizes of one AlexNet, and the preprocessing of the weights of its home.

    Attributes:
        filters: of the five convolutions.
        first: kernel, stride and zero padding of the first one, in pixels.
        second_kernel: of the second one.
        groups: two in conv2, conv4 and conv5 of the original, for its two GPUs.
        response_norm: after conv1 and conv2; None for no normalisation.
        fc_units: of fc6 and fc7.
        preprocessing: unless the weights bring their own.
    """

    filters: tuple[int, int, int, int, int]
    first: tuple[int, int, int]
    second_kernel: int
    groups: int
    response_norm: ResponseNorm | None
    fc_units: int
    preprocessing: Preprocessing

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return self.preprocessing.image_size

    def groups_of(self, number: int) -> int:
        """Returns the groups of convolution 1 to 5; 1 and 3 see all channels."""
        return 1 if number in (1, 3) else self.groups

    def kernel_of(self, number: int) -> int:
        """Returns the kernel's side of convolution 1 to 5."""
        return {1: self.first[0], 2: self.second_kernel}.get(number, 3)

    @property
    def pool5_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of pool5."""
        kernel, stride, padding = self.first
        side = (self.image_size + 2 * padding - kernel) // stride + 1
        for _ in range(3):
            side = (side - 3) // 2 + 1
        return side, side, self.filters[4]

    @property
    def shapes(self) -> Shapes:
        """The shape of each array, conv1 to fc7."""
        shapes: Shapes = {}
        depths = (3, *self.filters)
        for number in range(1, 6):
            side, depth = self.kernel_of(number), depths[number - 1]
            depth //= self.groups_of(number)
            shapes |= _pair(f"conv{number}", side, side, depth, depths[number])
        height, width, depth = self.pool5_shape
        shapes |= _pair("fc6", height * width * depth, self.fc_units)
        return shapes | _pair("fc7", self.fc_units, self.fc_units)


PRESETS = {
    # The network of Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with
    # Deep Convolutional Neural Networks", sections 3.3 to 3.5 and figure 2; 227 pixels,
    # since the paper's 224 do not give its 55 x 55.
    "krizhevsky2012": AlexNetPreset(
        (96, 256, 384, 384, 256), (11, 4, 0), 5, 2, PAPER_NORM, 4096,
        Preprocessing("RGB", IMAGENET_MEAN, (1.0, 1.0, 1.0), 227, 256),
    ),
    # The one-tower network of Krizhevsky 2014, "One weird trick for parallelizing
    # convolutional neural networks", https://arxiv.org/abs/1404.5997, footnote 1,
    # with the sizes and the preprocessing that torchvision publishes weights for.
    "torchvision": AlexNetPreset(
        (64, 192, 384, 256, 256), (11, 4, 2), 5, 1, None, 4096,
        Preprocessing("RGB", IMAGENET_MEAN, IMAGENET_STD, 224, 256),
    ),
    # The same plan, narrower, for 64 pixels on a CPU; ours, trained from nothing.
    "small": AlexNetPreset(
        (24, 48, 64, 64, 64), (5, 2, 2), 3, 1, None, 256,
        Preprocessing("RGB", (127.5,) * 3, (63.75,) * 3, 64, 64),
    ),
}  # fmt: skip

ARCHITECTURES = (*PRESETS, SQUEEZENET)


def preset_named(name: str) -> AlexNetPreset:
    """Returns a preset; ValueError names those there are."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}.")
    return PRESETS[name]


def weight_shapes(architecture: str) -> Shapes:
    """Returns the shape of each array of an architecture, in the layers' order."""
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture must be one of {', '.join(ARCHITECTURES)}, "
            f"got {architecture!r}."
        )
    if architecture == SQUEEZENET:
        return _squeezenet_shapes()
    return PRESETS[architecture].shapes


def required_arrays(architecture: str) -> list[str]:
    """Returns the names of the arrays without which there are no features."""
    optional = ("conv10",) if architecture == SQUEEZENET else ("fc6", "fc7")
    return [
        name
        for name in weight_shapes(architecture)
        if name.partition("/")[0] not in optional
    ]


def usual_preprocessing(architecture: str) -> Preprocessing:
    """Returns the preprocessing of the weights published for an architecture."""
    if architecture == SQUEEZENET:
        return caffe_preprocessing()
    return preset_named(architecture).preprocessing


def _squeezenet_shapes() -> Shapes:
    shapes = _pair("conv1", 7, 7, 3, 96)
    depth = 96
    for fire, filters in FIRE_FILTERS.items():
        shapes |= _pair(f"{fire}_squeeze1x1", 1, 1, depth, filters)
        shapes |= _pair(f"{fire}_expand1x1", 1, 1, filters, 4 * filters)
        shapes |= _pair(f"{fire}_expand3x3", 3, 3, filters, 4 * filters)
        depth = 8 * filters
    return shapes | _pair("conv10", 1, 1, depth, SQUEEZENET_CLASSES)


def _pair(layer: str, *kernel: int) -> Shapes:
    return {f"{layer}/kernel": kernel, f"{layer}/bias": kernel[-1:]}
