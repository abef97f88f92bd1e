"""Weights as files: ours come back, others' are told by content, damage is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from simprod_tf.errors import ModelError
from simprod_tf.model.alexnet import alexnet_from, build_alexnet
from simprod_tf.model.architecture import (
    preset_named,
    usual_preprocessing,
    weight_shapes,
)
from simprod_tf.model.preprocessing import (
    CAFFE_NORM,
    Preprocessing,
    ResponseNorm,
    caffe_preprocessing,
)
from simprod_tf.model.weights import (
    Weights,
    import_weights,
    read_weights,
    write_weights,
)


def random_arrays(architecture="small", layers=None, scale=0.1):
    rng = np.random.default_rng(0)
    return {
        name: rng.normal(0, scale, shape).astype(np.float32)
        for name, shape in weight_shapes(architecture).items()
        if layers is None or name.partition("/")[0] in layers
    }


def convolutions(architecture="small"):
    return random_arrays(architecture, [f"conv{n}" for n in range(1, 6)])


def small_weights(**changes):
    fields = {
        "architecture": "small",
        "preprocessing": usual_preprocessing("small"),
        "arrays": random_arrays(),
        "source": {"file": "w.npz", "sha256": "0" * 64, "format": "npz"},
    }
    return Weights(**{**fields, **changes})


def same_arrays(first, second):
    assert list(first) == list(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def with_manifest(path, change):
    with np.load(path) as file:
        arrays = dict(file)
    manifest = json.loads(str(arrays["manifest"]))
    arrays["manifest"] = np.array(json.dumps(change(manifest)))
    np.savez(path, **arrays)


def caffe_form(arrays, architecture):
    """Ours as Caffe lays it out: channels before rows, outputs first."""
    height, width, depth = preset_named(architecture).pool5_shape
    out = {}
    for name, array in arrays.items():
        layer, _, kind = name.partition("/")
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif layer == "fc6" and kind == "kernel":
            planes = array.reshape(height, width, depth, -1)
            array = planes.transpose(3, 2, 0, 1).reshape(array.shape[::-1])
        elif kind == "kernel":
            array = array.T
        out[f"{layer}/{'w' if kind == 'kernel' else 'b'}"] = array
    return out


def test_what_is_written_comes_back(tmp_path):
    before = small_weights(
        preprocessing=Preprocessing("BGR", (1, 2, 3.5), (1, 2, 3), 64, 70),
        response_norm=ResponseNorm(1.0, 2e-5),
    )
    write_weights(before, tmp_path / "w.npz")
    after = read_weights(tmp_path / "w.npz")
    assert after.architecture == "small"
    assert after.preprocessing == before.preprocessing
    assert after.response_norm == before.response_norm
    assert after.source == before.source
    same_arrays(before.arrays, after.arrays)
    same_arrays(before.arrays, import_weights(tmp_path / "w.npz").arrays)


def test_the_file_needs_no_pickle_and_no_suffix(tmp_path):
    write_weights(small_weights(), tmp_path / "weights")
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    with np.load(tmp_path / "weights", allow_pickle=False) as file:
        manifest = json.loads(str(file["manifest"]))
    assert manifest["architecture"] == "small"
    assert manifest["preprocessing"]["channels"] == "RGB"


def test_half_floats_become_floats():
    arrays = {name: array.astype(np.float16) for name, array in convolutions().items()}
    found = small_weights(arrays=arrays).arrays["conv1/kernel"]
    assert found.dtype == np.float32


def changed(name, value):
    return {**random_arrays(), name: value}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "vgg"}, "w.npz: architecture must be one of .*got 'vgg'"),
        (
            {"preprocessing": caffe_preprocessing()},
            "small takes 64 pixels, but its preprocessing says image_size 227",
        ),
        ({"arrays": {}}, "w.npz has no conv1/kernel"),
        ({"arrays": changed("conv9/kernel", np.zeros(1))}, "small has no conv9/kernel"),
        (
            {"arrays": changed("conv2/bias", np.zeros(3))},
            r"conv2/bias must have shape \(48,\) in small, got \(3,\)",
        ),
        (
            {"arrays": changed("conv2/bias", np.zeros(48, int))},
            "conv2/bias must be of floats, got int64",
        ),
        (
            {"arrays": changed("conv2/bias", np.full(48, np.nan))},
            "conv2/bias holds values that are not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        small_weights(**changes)


def test_a_kernel_without_its_bias_is_refused():
    arrays = random_arrays()
    del arrays["fc7/bias"]
    with pytest.raises(ModelError, match="w.npz has no fc7/bias"):
        small_weights(arrays=arrays)


def test_without_a_manifest_ours_is_not_read_but_imported(tmp_path):
    np.savez(tmp_path / "w.npz", **convolutions())
    with pytest.raises(ModelError, match="no manifest.*simprod weights convert"):
        read_weights(tmp_path / "w.npz")
    found = import_weights(tmp_path / "w.npz")
    assert found.preprocessing == usual_preprocessing("small")
    content = (tmp_path / "w.npz").read_bytes()
    assert found.source == {
        "file": "w.npz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "format": "npz",
    }


def test_convolutions_counted_from_zero_are_torchvisions(tmp_path):
    arrays = {
        f"Conv_{int(name[4]) - 1}/{name.partition('/')[2]}": array
        for name, array in convolutions("torchvision").items()
    }
    np.savez(tmp_path / "w.npz", **arrays)
    found = import_weights(tmp_path / "w.npz", architecture="torchvision")
    same_arrays(found.arrays, convolutions("torchvision"))
    assert found.preprocessing.mean == (123.675, 116.28, 103.53)
    assert found.preprocessing.std == (58.395, 57.12, 57.375)
    assert found.preprocessing.image_size == 224


@pytest.mark.parametrize("names", [("w", "b"), ("weights", "biases")])
def test_caffes_layout_is_told_by_shape_and_turned(tmp_path, names):
    expected = random_arrays()
    arrays = {
        name.replace("/w", f"/{names[0]}").replace("/b", f"/{names[1]}"): array
        for name, array in caffe_form(expected, "small").items()
    }
    # The classes' layer is left out.
    np.savez(tmp_path / "w.npz", **arrays, **{f"fc8/{names[0]}": np.zeros((9, 256))})
    same_arrays(import_weights(tmp_path / "w.npz").arrays, expected)


def test_the_originals_arrays_bring_caffes_preprocessing_and_constants(tmp_path):
    expected = convolutions("krizhevsky2012")
    np.savez(tmp_path / "w.npz", **caffe_form(expected, "krizhevsky2012"))
    found = import_weights(tmp_path / "w.npz")
    same_arrays(found.arrays, expected)
    assert found.preprocessing == Preprocessing(
        "BGR", (104, 117, 123), (1, 1, 1), 227, 256
    )
    assert found.response_norm == CAFFE_NORM == ResponseNorm(1.0, 2e-5)
    write_weights(found, tmp_path / "ours.npz")
    assert read_weights(tmp_path / "ours.npz").response_norm == CAFFE_NORM


@pytest.mark.parametrize("architecture", ["small", "krizhevsky2012"])
def test_a_dict_of_pairs_for_tensorflow_is_in_our_layout(tmp_path, architecture):
    expected = (
        random_arrays() if architecture == "small" else convolutions(architecture)
    )
    layers = dict.fromkeys(name.partition("/")[0] for name in expected)
    pairs = {
        layer: [expected[f"{layer}/kernel"], expected[f"{layer}/bias"]]
        for layer in layers
    }
    pairs["fc8"] = [np.zeros((256, 10), np.float32), np.zeros(10, np.float32)]
    np.save(tmp_path / "alexnet.npy", pairs, allow_pickle=True)
    found = import_weights(tmp_path / "alexnet.npy")
    same_arrays(found.arrays, expected)
    assert found.source["format"] == "npy"
    if architecture == "krizhevsky2012":
        assert found.preprocessing == caffe_preprocessing(227, 256)
        assert found.response_norm == CAFFE_NORM


def test_what_is_assumed_can_be_said_instead(tmp_path):
    np.savez(tmp_path / "w.npz", **convolutions("krizhevsky2012"))
    other = replace(usual_preprocessing("krizhevsky2012"), resize_to=300)
    found = import_weights(
        tmp_path / "w.npz", preprocessing=other, response_norm=ResponseNorm(3.0, 1e-3)
    )
    assert found.preprocessing == other
    assert found.response_norm == ResponseNorm(3.0, 1e-3)
    assert found.source["file"] == "w.npz"


def test_another_architecture_than_asked_for_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **convolutions())
    with pytest.raises(ModelError, match="holds weights of small, expected torchv"):
        import_weights(tmp_path / "w.npz", architecture="torchvision")
    with pytest.raises(ValueError, match="small, squeezenet, got 'vgg'"):
        import_weights(tmp_path / "w.npz", architecture="vgg")


def test_arrays_of_no_known_network_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv1/kernel": np.zeros((3, 3, 3, 64))})
    with pytest.raises(ModelError, match=r"of none of .*holds conv1/kernel \(3, 3, 3"):
        import_weights(tmp_path / "w.npz")
    np.savez(tmp_path / "w.npz")
    with pytest.raises(ModelError, match="it holds nothing"):
        import_weights(tmp_path / "w.npz")


def test_a_name_twice_is_refused(tmp_path):
    arrays = convolutions()
    np.savez(tmp_path / "w.npz", **arrays, **{"conv1/b": arrays["conv1/bias"]})
    with pytest.raises(ModelError, match="conv1/bias is there twice, as conv1/b too"):
        import_weights(tmp_path / "w.npz")


def test_a_fully_connected_layer_of_another_size_is_named(tmp_path):
    arrays = {**random_arrays(), "fc6/kernel": np.zeros((9, 9))}
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(ModelError, match=r"fc6/kernel must have shape \(576, 256\)"):
        import_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("read", [read_weights, import_weights])
def test_files_that_cannot_be_read_are_named(tmp_path, read):
    path = tmp_path / "w.npz"
    with pytest.raises(ModelError, match=r"w.npz cannot be read as weights: .*No such"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="w.npz cannot be read as weights"):
        read(path)
    path.write_bytes(b"conv1: 1 2 3")
    with pytest.raises(ModelError, match="w.npz cannot be read as weights"):
        read(path)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read(tmp_path)
    write_weights(small_weights(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"w.npz .*(cut short|cannot be read)"):
        read(path)
    # One wrong byte in the middle: the archive's checksum tells.
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + b"\xff\xfe" + whole[middle + 2 :])
    with pytest.raises(ModelError, match="w.npz cannot be read as weights: .*CRC"):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {**m, "kind": "index"}, "expected a manifest of simprod weights"),
        (lambda m: {**m, "version": 2}, "got simprod weights, version 2"),
        (lambda m: {"kind": m["kind"], "version": 1}, "manifest is damaged: KeyError"),
        (lambda m: [1], "manifest is damaged: TypeError"),
        (
            lambda m: {**m, "preprocessing": {**m["preprocessing"], "std": [0, 1, 1]}},
            "damaged: ValueError: std must be above 0",
        ),
        (lambda m: {**m, "architecture": "vgg"}, "architecture must be one of"),
        (lambda m: {**m, "architecture": "torchvision"}, "takes 224 pixels"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, change, message):
    path = tmp_path / "w.npz"
    write_weights(small_weights(), path)
    with_manifest(path, change)
    with pytest.raises(ModelError, match=message) as error:
        read_weights(path)
    assert str(path) in str(error.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.npz"
    write_weights(small_weights(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_weights(small_weights(source={"file": object()}), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["w.npz"]


def test_a_network_written_and_read_gives_the_same_features(tmp_path):
    write_weights(small_weights(), tmp_path / "w.npz")
    before = alexnet_from(small_weights())
    after = alexnet_from(read_weights(tmp_path / "w.npz"))
    images = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3))
    assert np.allclose(before(images), after(images), rtol=1e-5)
    assert not np.allclose(
        before(images), build_alexnet("small", output_layer="fc7")(images)
    )


@pytest.mark.real_data
def test_the_real_files_are_told_apart(real_data):
    folder = real_data / "weights"
    alexnet = import_weights(folder / "alexnet_conv_torchvision.npz")
    assert alexnet.architecture == "torchvision"
    assert "fc6/kernel" not in alexnet.arrays
    squeezenet = import_weights(folder / "squeezenet_v1.0_caffe_oihw.npz")
    assert squeezenet.architecture == "squeezenet"
    assert squeezenet.preprocessing == caffe_preprocessing()
    with np.load(folder / "squeezenet_v1.0_caffe_oihw.npz") as file:
        theirs = file["fire3/expand3x3/w"]
    ours = squeezenet.arrays["fire3_expand3x3/kernel"]
    assert ours[0, 2, 3, 5] == theirs[5, 3, 0, 2]
