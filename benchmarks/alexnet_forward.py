"""AlexNet's forward pass to fc7 beside PyTorch, ONNX Runtime and matrix products.

    python benchmarks/alexnet_forward.py [--batch 32] [--repeats 9] [--compile]

Random weights and pictures; images per CPU-second (`time.process_time`), medians of
interleaved repeats, two threads. The roof is what the same multiplications take as
products of large square matrices. PyTorch, onnx and onnxruntime are needed:
pip install '.[benchmark]'.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import torch
from torch import nn

from simprod_tf.model.alexnet import build_alexnet
from simprod_tf.model.architecture import AlexNetPreset, preset_named
from simprod_tf.model.picture_layers import LocalResponseNorm

THREADS = 2
ROOF_SIDE = 2048
FLOAT = onnx.TensorProto.FLOAT

Call = Callable[[], object]


def torch_alexnet(sizes: AlexNetPreset, *, norm: bool) -> nn.Sequential:
    """Returns the same network in PyTorch, on standardised [B, 3, H, W]."""
    layers: list[nn.Module] = []
    depths = (3, *sizes.filters)
    kernel, stride, padding = sizes.first
    for number in range(1, 6):
        if number > 1:
            kernel, stride, padding = sizes.kernel_of(number), 1, -1
        layers += [
            nn.Conv2d(
                depths[number - 1],
                depths[number],
                kernel,
                stride,
                kernel // 2 if padding < 0 else padding,
                groups=sizes.groups_of(number),
            ),
            nn.ReLU(inplace=True),
        ]
        if norm and number < 3:
            layers.append(nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0))
        if number in (1, 2, 5):
            layers.append(nn.MaxPool2d(3, 2))
    inputs, units = sizes.shapes["fc6/kernel"]
    layers += [nn.Flatten(), nn.Linear(inputs, units), nn.ReLU(inplace=True)]
    layers += [nn.Linear(units, units), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers).eval()


def without_norm(model: tf.keras.Model) -> tf.keras.Model:
    """Returns the model with its response normalisation left out."""

    def keep(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if isinstance(layer, LocalResponseNorm):
            return tf.keras.layers.Activation("linear", name=layer.name)
        return layer

    return tf.keras.models.clone_model(model, clone_function=keep)


def tensorflow_call(preset: str, batch: int, *, norm: bool) -> Call:
    """Returns our forward pass, from pixels."""
    model = build_alexnet(preset, output_layer="fc7")
    if not norm:
        model = without_norm(model)
    side = preset_named(preset).image_size
    pixels = tf.random.uniform([batch, side, side, 3], 0, 255)
    forward = tf.function(lambda x: model(x, training=False))
    return lambda: forward(pixels).numpy()


def torch_calls(
    preset: str, batch: int, *, norm: bool, compiled: bool
) -> dict[str, Call]:
    """Returns PyTorch's forward passes and ONNX Runtime's, from standardised pixels."""
    sizes = preset_named(preset)
    model = torch_alexnet(sizes, norm=norm)
    pictures = torch.randn(batch, 3, sizes.image_size, sizes.image_size)
    calls = {"onnxruntime": onnx_call(model, pictures)}
    model = model.to(memory_format=torch.channels_last)
    last = pictures.to(memory_format=torch.channels_last)
    calls["torch channels_last"] = lambda: model(last)
    if compiled:
        fast = torch.compile(model)
        calls["torch compile"] = lambda: fast(last)
    return calls


def onnx_call(model: nn.Sequential, pictures: torch.Tensor) -> Call:
    """Returns ONNX Runtime's forward pass of the same model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Threads that spin while they wait would count as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "alexnet.onnx")
        onnx.save(onnx_model(model, list(pictures.shape)), path)
        session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    feed = {"x": pictures.numpy()}
    with torch.inference_mode():
        expected = model(pictures).numpy()
    found = session.run(None, feed)[0]
    if not np.allclose(found, expected, atol=1e-3 * np.abs(expected).max()):
        raise RuntimeError("ONNX Runtime and PyTorch differ.")
    return lambda: session.run(None, feed)


def onnx_model(model: nn.Sequential, shape: list[int]) -> onnx.ModelProto:
    """Returns a sequential model in ONNX, with its own op for the normalisation.

    PyTorch's export writes that as five others.
    """
    nodes, constants, name = [], [], "x"
    for place, layer in enumerate(model):
        operator, settings = onnx_node(layer)
        inputs, output = [name], f"x{place}"
        for key, tensor in layer.named_parameters():
            array = tensor.detach().numpy()
            constants.append(onnx.numpy_helper.from_array(array, f"{key}{place}"))
            inputs.append(f"{key}{place}")
        nodes.append(onnx.helper.make_node(operator, inputs, [output], **settings))
        name = output
    of_floats = partial(onnx.helper.make_tensor_value_info, elem_type=FLOAT)
    graph = onnx.helper.make_graph(
        nodes, "alexnet", [of_floats("x", shape=shape)],
        [of_floats(name, shape=None)], constants,
    )  # fmt: skip
    opset = onnx.helper.make_opsetid("", 17)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


def onnx_node(layer: nn.Module) -> tuple[str, dict[str, object]]:
    """Returns the ONNX operator of a layer of PyTorch, and its attributes."""
    if isinstance(layer, nn.Conv2d):
        pads, strides = list(layer.padding) * 2, list(layer.stride)
        return "Conv", {"pads": pads, "strides": strides, "group": layer.groups}
    if isinstance(layer, nn.LocalResponseNorm):
        norm = {"alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}
        return "LRN", {**norm, "size": layer.size}
    if isinstance(layer, nn.MaxPool2d):
        return "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2]}
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}
    return type(layer).__name__.replace("ReLU", "Relu"), {}


def roof_call() -> Call:
    """Returns a product of two square matrices, float32, [ROOF_SIDE, ROOF_SIDE]."""
    left = tf.random.normal([ROOF_SIDE, ROOF_SIDE])
    product = tf.function(lambda a: tf.matmul(a, a))
    return lambda: product(left).numpy()


def multiplications(sizes: AlexNetPreset) -> int:
    """Returns the multiplications of one picture's convolutions, fc6 and fc7."""
    kernel, stride, padding = sizes.first
    side = (sizes.image_size + 2 * padding - kernel) // stride + 1
    total = 0
    for number in range(1, 6):
        total += side * side * int(np.prod(sizes.shapes[f"conv{number}/kernel"]))
        if number < 3:
            side = (side - 3) // 2 + 1
    return total + sum(
        int(np.prod(sizes.shapes[f"{name}/kernel"])) for name in ("fc6", "fc7")
    )


def cpu_seconds(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Returns the median CPU seconds of each, taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for call in calls.values():
            call()
            call()
        for _ in range(repeats):
            for name, call in calls.items():
                begin = time.process_time()
                call()
                taken[name].append(time.process_time() - begin)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def measure(preset: str, args: argparse.Namespace, *, norm: bool) -> None:
    """Prints the rates of one network: ours, its peers', and the roof."""
    calls = {
        "simprod_tf": tensorflow_call(preset, args.batch, norm=norm),
        "roof": roof_call(),
        **torch_calls(preset, args.batch, norm=norm, compiled=args.compile),
    }
    seconds = cpu_seconds(calls, args.repeats)
    macs = multiplications(preset_named(preset))
    # The product's own multiplications, per CPU-second, over those of a picture.
    rates = {"roof": ROOF_SIDE**3 / seconds.pop("roof") / macs}
    rates |= {name: args.batch / taken for name, taken in seconds.items()}
    ours = rates.pop("simprod_tf")
    print(f"{preset}{'' if norm else ', no LRN'}: {macs / 1e9:.2f} GMAC")
    print(f"  {'simprod_tf':20} {ours:7.1f}")
    for name, rate in rates.items():
        print(f"  {name:20} {rate:7.1f}   ours / it: {ours / rate:.2f}", flush=True)


def main() -> None:
    """Measures the original, the original without normalisation, and torchvision's."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    for preset, norm in (
        ("krizhevsky2012", True),
        ("krizhevsky2012", False),
        ("torchvision", False),
    ):
        measure(preset, args, norm=norm)


if __name__ == "__main__":
    main()
