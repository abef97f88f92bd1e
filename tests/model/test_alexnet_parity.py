"""The same weights in PyTorch's layers and in ours give the same features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simprod_tf.model.alexnet import alexnet_from
from simprod_tf.model.preprocessing import ResponseNorm
from simprod_tf.model.weights import import_weights, read_weights, write_weights

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install '.[parity]'"
)
nn = torch.nn
pytestmark = pytest.mark.slow

MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
# PyTorch divides alpha by the five channels, so this alpha is the paper's.
PAPER_NORM = {"alpha": 5e-4, "k": 2.0}
CAFFE_NORM = {"alpha": 1e-4, "k": 1.0}


class TorchAlexNet(nn.Module):
    """Both published forms, under torchvision's names."""

    def __init__(self, filters, *, padding, groups, norm, classes=10):
        super().__init__()
        one, two, three, four, five = filters

        def normalised():
            return [nn.LocalResponseNorm(5, beta=0.75, **norm)] if norm else []

        self.features = nn.Sequential(
            nn.Conv2d(3, one, 11, 4, padding), nn.ReLU(), *normalised(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(one, two, 5, padding=2, groups=groups), nn.ReLU(),
            *normalised(), nn.MaxPool2d(3, 2),
            nn.Conv2d(two, three, 3, padding=1), nn.ReLU(),
            nn.Conv2d(three, four, 3, padding=1, groups=groups), nn.ReLU(),
            nn.Conv2d(four, five, 3, padding=1, groups=groups), nn.ReLU(),
            nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(five * 36, 4096), nn.ReLU(),
            nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, classes),
        )  # fmt: skip
        self.eval()

    def outputs(self, pixels):
        """Returns pool5 [B, 6, 6, C] and fc7 [B, 4096] of pixels [B, 3, H, W]."""
        with torch.inference_mode():
            pool5 = self.features((pixels / 255 - MEAN) / STD)
            fc7 = self.classifier[:-1](pool5.flatten(1))
        return pool5.permute(0, 2, 3, 1).numpy(), fc7.numpy()


def original(norm):
    return TorchAlexNet((96, 256, 384, 384, 256), padding=0, groups=2, norm=norm)


def one_tower():
    return TorchAlexNet((64, 192, 384, 256, 256), padding=2, groups=1, norm=None)


def enlarged(model):
    """Weights large enough for a normalisation that divides by more than its bias."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
            if layer.weight.shape[-1] == 11:
                layer.weight.data *= 50
    return model


def pictures(side):
    return np.random.default_rng(3).integers(0, 256, (3, side, side, 3), np.uint8)


def difference(ours, theirs):
    theirs = theirs.reshape(ours.shape)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize(
    ("build", "norm", "architecture", "side"),
    [
        (lambda: original(PAPER_NORM), None, "krizhevsky2012", 227),
        (
            lambda: original(CAFFE_NORM),
            ResponseNorm(1.0, 2e-5),
            "krizhevsky2012",
            227,
        ),
        (one_tower, None, "torchvision", 224),
    ],
    ids=["original", "original with Caffe's constants", "torchvision"],
)
def test_features_equal_pytorchs(tmp_path, build, norm, architecture, side):
    theirs = enlarged(build())
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    weights = import_weights(
        tmp_path / "w.pth", architecture=architecture, response_norm=norm
    )
    images = pictures(side)
    pool5, fc7 = theirs.outputs(torch.tensor(images).permute(0, 3, 1, 2).float())
    ours = alexnet_from(weights)
    assert ours.name.endswith("fc7")
    assert difference(ours(images).numpy(), fc7) < 1e-4
    features = alexnet_from(weights, output_layer="pool5")(images).numpy()
    assert difference(features, pool5) < 1e-4
    # Once more from our own file.
    write_weights(weights, tmp_path / "w.npz")
    again = alexnet_from(read_weights(tmp_path / "w.npz"))
    assert difference(again(images).numpy(), fc7) < 1e-4


def test_other_constants_channels_or_means_would_show(tmp_path):
    theirs = enlarged(original(PAPER_NORM))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    weights = import_weights(tmp_path / "w.pth")
    images = pictures(227)
    _, fc7 = theirs.outputs(torch.tensor(images).permute(0, 3, 1, 2).float())
    right = weights.preprocessing
    for wrong in (
        replace(weights, response_norm=ResponseNorm(2.0, 2e-5)),
        replace(weights, preprocessing=replace(right, channels="BGR")),
        replace(weights, preprocessing=replace(right, mean=(128.0,) * 3)),
    ):
        assert difference(alexnet_from(wrong)(images).numpy(), fc7) > 1e-3
