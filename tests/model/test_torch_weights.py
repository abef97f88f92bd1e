"""PyTorch's state dicts; those that need PyTorch are skipped without it."""

from __future__ import annotations

import sys
import zipfile

import numpy as np
import pytest

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.model.architecture import weight_shapes
from simprod_tf.model.preprocessing import ResponseNorm
from simprod_tf.model.weights import import_weights

WITHOUT_TORCH = "PyTorch is not installed: pip install '.[parity]'"


def state_dict(torch, architecture="small", places=((0, 3, 6, 8, 10), (1, 4))):
    """Random tensors under torchvision's names, in PyTorch's layout."""
    torch.manual_seed(0)
    shapes = weight_shapes(architecture)
    state = {}
    for part, name, first, numbers in (
        ("features", "conv", 1, places[0]),
        ("classifier", "fc", 6, places[1]),
    ):
        for count, number in enumerate(numbers):
            kernel = shapes[f"{name}{first + count}/kernel"]
            turned = (*kernel[:1:-1], *kernel[:2]) if len(kernel) == 4 else kernel[::-1]
            state[f"{part}.{number}.weight"] = torch.randn(turned) / 10
            state[f"{part}.{number}.bias"] = torch.randn(turned[0]) / 10
    return state


def test_without_pytorch_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("alexnet/data.pkl", b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingLibraryError, match=r"w.pth is a PyTorch file.*simprod-tf\[convert\]"
    ):
        import_weights(tmp_path / "w.pth")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason=WITHOUT_TORCH)


@pytest.mark.parametrize("new_form", [True, False])
def test_a_state_dict_is_turned_into_ours(tmp_path, torch, new_form):
    state = state_dict(torch)
    state["classifier.6.weight"] = torch.zeros(10, 256)
    path = tmp_path / "w.pth"
    torch.save(state, path, _use_new_zipfile_serialization=new_form)
    weights = import_weights(path)
    assert weights.architecture == "small"
    assert weights.source["format"] == "torch state dict"
    conv2 = state["features.3.weight"].numpy()
    assert weights.arrays["conv2/kernel"][0, 2, 5, 7] == conv2[7, 5, 0, 2]
    # Row of channel 5 at (1, 2) of 3 x 3 x 64: channels last, and channels first.
    fc6 = state["classifier.1.weight"].numpy()
    assert weights.arrays["fc6/kernel"][(1 * 3 + 2) * 64 + 5, 9] == fc6[9, 5 * 9 + 5]
    fc7 = state["classifier.4.weight"].numpy()
    assert np.array_equal(weights.arrays["fc7/kernel"], fc7.T)
    assert set(weights.arrays) == set(weight_shapes("small"))


def test_a_checkpoint_of_parallel_training_is_read(tmp_path, torch):
    state = {f"module.{name}": each for name, each in state_dict(torch).items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth")
    assert "fc7/bias" in import_weights(tmp_path / "w.pth").arrays


def test_the_original_in_pytorch_has_torchvisions_preprocessing(tmp_path, torch):
    places = ((0, 4, 8, 10, 12), ())
    torch.save(state_dict(torch, "krizhevsky2012", places), tmp_path / "w.pth")
    weights = import_weights(tmp_path / "w.pth", response_norm=ResponseNorm(2.0, 2e-5))
    assert weights.architecture == "krizhevsky2012"
    assert weights.preprocessing.channels == "RGB"
    assert weights.preprocessing.std == (58.395, 57.12, 57.375)
    assert weights.response_norm == ResponseNorm(2.0, 2e-5)


def test_a_whole_model_is_not_unpickled(tmp_path, torch):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ModelError, match="holds more than tensors.*state_dict"):
        import_weights(tmp_path / "w.pth")


def test_damaged_and_foreign_files_are_refused(tmp_path, torch):
    path = tmp_path / "w.pth"
    torch.save(state_dict(torch), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="w.pth is damaged or cut short"):
        import_weights(path)
    torch.save(state_dict(torch), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ModelError, match=r"w.pth (is damaged|cannot be read)"):
        import_weights(path)
    torch.save({"fc.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="no AlexNet's state dict.*got 0 and 0"):
        import_weights(path)
    torch.save([1, 2], path)
    with pytest.raises(ModelError, match="no AlexNet's state dict"):
        import_weights(path)
    torch.save({**state_dict(torch), "features.0.bias": "none"}, path)
    with pytest.raises(ModelError, match=r"features.0.bias must be a tensor, got str"):
        import_weights(path)
