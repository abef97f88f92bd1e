"""Image towers by name: pixels -> features, with their preprocessing inside.

small, torchvision, krizhevsky2012, squeezenet   a network of ours
alexnet.npz                    its weights, as `simprod weights convert` writes them
keras:EfficientNetV2B0         any network of tf.keras.applications
mine.keras, mine.h5, folder/   the user's own Keras model or SavedModel
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf

# Their layers must be registered before a saved tower is loaded.
import simprod_tf.model.picture_layers  # noqa: F401
from simprod_tf.atomic import write_json
from simprod_tf.errors import ModelError
from simprod_tf.manifest import file_sha256, fingerprint
from simprod_tf.model.alexnet import alexnet_from, build_alexnet
from simprod_tf.model.architecture import (
    ARCHITECTURES,
    SQUEEZENET,
    usual_preprocessing,
)
from simprod_tf.model.keras_applications import (
    IMAGENET,
    RANDOM,
    application_named,
    build_application,
)
from simprod_tf.model.model_config import layer_configs
from simprod_tf.model.squeezenet import build_squeezenet, squeezenet_from
from simprod_tf.model.user_model import (
    copy_saved_model,
    keras_model_tower,
    saved_model_parts,
    saved_model_tower,
)
from simprod_tf.model.weights import Weights, import_weights

log = logging.getLogger(__name__)

KERAS_PREFIX = "keras:"
# The default output of SqueezeNet.
LAST_MAP = "fire9"
TOWER_FILE, MODEL_FILE, SAVED_MODEL = "tower.json", "tower.keras", "saved_model"


@dataclass(frozen=True, eq=False)
class ImageTower:
    """Pixels -> features, as a Keras model that holds its own preprocessing.

    Attributes:
        name: Letters, digits and "_"; unique among an encoder's towers.
        model: [B, S, S, 3] RGB in [0, 255], float32 or uint8 -> [B, F] float32, for
            B of at least 1: TensorFlow's convolutions refuse an empty batch on CPUs.
        image_size: S, in pixels.
        resize_to: Side that pictures are resized to before the centre crop.
        details: Where it comes from: spec, weights' file and SHA-256, output layer.
        saved_model: The folder of the user's SavedModel that `model` calls, if any.
    """

    name: str
    model: tf.keras.Model
    image_size: int
    resize_to: int
    details: Mapping[str, Any] = field(default_factory=dict)
    saved_model: Path | None = None

    def __post_init__(self) -> None:
        """Checks the name and the sizes."""
        if not re.fullmatch("[a-z0-9_]+", self.name):
            raise ValueError(f"a tower's name takes a-z, 0-9 and _, got {self.name!r}.")
        if not 1 <= self.image_size <= self.resize_to:
            raise ValueError(
                f"image_size must be between 1 and resize_to ({self.resize_to}), "
                f"got {self.image_size}."
            )
        expected = (None, self.image_size, self.image_size, 3)
        if self.model.input_shape != expected:
            raise ValueError(
                f"the model must take {expected}, got {self.model.input_shape}."
            )

    @property
    def dim(self) -> int:
        """The length of its features."""
        return int(self.model.output_shape[-1])

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the layers, their wiring and weights, and the sizes.

        The same in each process, before and after `save`, frozen or not, and whatever
        names Keras gave to the layers.
        """
        sizes = f"{self.image_size} {self.resize_to}"
        parts = [("sizes", sizes.encode()), ("layers", self._design().encode())]
        if self.saved_model is not None:
            parts += saved_model_parts(self.saved_model)
        else:
            for weight in self.model.get_weights():
                parts.append((f"{weight.dtype}{weight.shape}", weight.tobytes()))
        return fingerprint(parts)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the tower into an existing folder; `tower.json` last."""
        out = Path(folder)
        if self.saved_model is not None:
            copy_saved_model(self.saved_model, out / SAVED_MODEL)
        else:
            self.model.save(out / MODEL_FILE)
        content = {
            "name": self.name,
            "image_size": self.image_size,
            "resize_to": self.resize_to,
            "fingerprint": self.fingerprint,
            "details": dict(self.details),
        }
        write_json(out / TOWER_FILE, content)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> ImageTower:
        """Reads what `save` wrote.

        Raises:
            ModelError: it is not there, or not what its `tower.json` says.
        """
        path = Path(folder)
        content = _read_tower_file(path)
        details, size = content["details"], content["image_size"]
        copy = path / SAVED_MODEL if (path / SAVED_MODEL).is_dir() else None
        try:
            if copy is not None:
                output = details.get("output_layer")
                model = saved_model_tower(copy, output_layer=output, image_size=size)
            else:
                model = _load_model(path / MODEL_FILE)
            sizes = (size, content["resize_to"])
            found = cls(content["name"], model, *sizes, details, copy)
        except ValueError as error:
            raise ModelError(f"{folder} is damaged: {error}") from error
        if found.fingerprint != content["fingerprint"]:
            raise ModelError(
                f"{folder} is damaged: its {TOWER_FILE} says fingerprint "
                f"{content['fingerprint']}, its content has {found.fingerprint}."
            )
        return found

    def _design(self) -> str:
        """Returns the layers' settings and wiring, as text."""
        if self.saved_model is not None:
            return json.dumps({"output_layer": self.details.get("output_layer")})
        return json.dumps(layer_configs(self.model), sort_keys=True)


def build_image_tower(
    spec: str,
    *,
    weights: str | None = None,
    output_layer: str | None = None,
    image_size: int | None = None,
    name: str | None = None,
) -> ImageTower:
    """Returns the image tower that `spec` names.

    Args:
        spec: "small", "torchvision", "krizhevsky2012" or "squeezenet"; a file of such
            a network's weights; "keras:" and a network of `tf.keras.applications`;
            a `.keras` or `.h5` file, or the folder of a SavedModel, of the user's own
            model, which takes RGB in [0, 255] (preprocessing inside) and gives
            [B, F], or [B, h, w, F] that is averaged.
        weights: For a network of ours a file, or None or "random" for none; for
            "keras:", "imagenet" (None means the same), "random" or a `..._notop.h5`.
        output_layer: Where to stop: "pool5", "fc6" or "fc7" of AlexNet, "fire9" or
            "classes" of SqueezeNet, a layer of a Keras model by name, an output of a
            SavedModel; None is the last that the weights reach.
        image_size: Side of the input in pixels, where the network leaves it open.
        name: Of the tower; made of `spec` by default.

    Raises:
        ModelError: weights or a model are missing, damaged or do not fit.
        ValueError: no such network, layer or size.
    """
    asked = _Asked(spec, weights, output_layer, image_size, name)
    if spec in ARCHITECTURES:
        return _ours(asked)
    if spec.lower().startswith(KERAS_PREFIX):
        return _application(asked)
    path = Path(spec)
    if not path.exists():
        raise _nothing_like(spec)
    if weights is not None:
        raise ValueError(f"{spec} holds its own weights; leave out {weights}.")
    if path.is_dir():
        return _saved_model(asked, path)
    if _is_weights(path):
        return _with_weights(asked, path, import_weights(path))
    return _keras_file(asked, path)


@dataclass(frozen=True)
class _Asked:
    """The arguments of `build_image_tower`."""

    spec: str
    weights: str | None
    output_layer: str | None
    image_size: int | None
    name: str | None

    def require_size(self, size: int) -> None:
        """Refuses another size than that of a network that has only one."""
        if self.image_size not in (None, size):
            raise ValueError(
                f"{self.spec} takes pictures of {size} pixels, so image_size cannot "
                f"be {self.image_size}."
            )

    def tower(
        self,
        model: tf.keras.Model,
        details: Mapping[str, Any],
        *,
        usual_name: str,
        resize_to: int | None = None,
        saved_model: Path | None = None,
    ) -> ImageTower:
        """Returns the tower of a model that was built."""
        size = int(model.input_shape[1])
        # The edge is cut off at 224 alone, where it is the custom.
        resize_to = resize_to or (256 if size == 224 else size)
        own = {"spec": self.spec, "output_layer": self.output_layer}
        return ImageTower(
            self.name or re.sub("[^a-z0-9]+", "_", usual_name.lower()).strip("_"),
            model,
            size,
            resize_to,
            {**own, **details},
            saved_model,
        )


def _ours(asked: _Asked) -> ImageTower:
    """A network of ours, with the weights of a file or with random ones."""
    architecture = asked.spec
    if asked.weights not in (None, RANDOM):
        path = Path(str(asked.weights))
        weights = import_weights(path, architecture=architecture)
        return _with_weights(asked, path, weights)
    if architecture != "small":
        log.warning("%s has random weights, since none are given", architecture)
    expects = usual_preprocessing(architecture)
    asked.require_size(expects.image_size)
    if architecture == SQUEEZENET:
        output_layer = asked.output_layer or LAST_MAP
        model = build_squeezenet(output_layer=output_layer)
    else:
        output_layer = asked.output_layer or "pool5"
        model = build_alexnet(architecture, output_layer=output_layer)
    return asked.tower(
        model,
        {"weights": RANDOM, "output_layer": output_layer},
        usual_name=architecture,
        resize_to=expects.resize_to,
    )


def _with_weights(asked: _Asked, path: Path, weights: Weights) -> ImageTower:
    """A network of ours with imported weights and their own preprocessing."""
    expects = weights.preprocessing
    asked.require_size(expects.image_size)
    squeezenet = weights.architecture == SQUEEZENET
    build = squeezenet_from if squeezenet else alexnet_from
    model = build(weights, output_layer=asked.output_layer)
    details = {
        "architecture": weights.architecture,
        "weights": path.name,
        "sha256": file_sha256(path),
        # AlexNet's layers are named as its outputs are.
        "output_layer": asked.output_layer
        or (LAST_MAP if squeezenet else model.layers[-1].name),
        "source": dict(weights.source),
    }
    return asked.tower(
        model,
        details,
        usual_name=asked.spec if asked.weights else path.stem,
        resize_to=expects.resize_to,
    )


def _application(asked: _Asked) -> ImageTower:
    """A network of `tf.keras.applications`."""
    network = application_named(asked.spec[len(KERAS_PREFIX) :])
    weights = asked.weights or IMAGENET
    model = build_application(
        network,
        weights=weights,
        output_layer=asked.output_layer,
        image_size=asked.image_size,
    )
    details = {"spec": f"{KERAS_PREFIX}{network}", "weights": Path(weights).name}
    if weights not in (IMAGENET, RANDOM):
        details["sha256"] = file_sha256(weights)
    return asked.tower(model, details, usual_name=network)


def _keras_file(asked: _Asked, path: Path) -> ImageTower:
    """The user's own Keras model."""
    model = keras_model_tower(
        path, output_layer=asked.output_layer, image_size=asked.image_size
    )
    details = {"weights": path.name, "sha256": file_sha256(path)}
    return asked.tower(model, details, usual_name=path.stem)


def _saved_model(asked: _Asked, folder: Path) -> ImageTower:
    """The user's own SavedModel."""
    graph = folder / "saved_model.pb"
    if not graph.is_file():
        raise ModelError(
            f"{folder} is a folder but holds no saved_model.pb; give the folder of one "
            "SavedModel (of one version, where there are several)."
        )
    model = saved_model_tower(
        folder, output_layer=asked.output_layer, image_size=asked.image_size
    )
    return asked.tower(
        model,
        {"weights": folder.name, "sha256": file_sha256(graph)},
        usual_name=folder.absolute().name,
        saved_model=folder.absolute(),
    )


def _is_weights(path: Path) -> bool:
    """Whether a file holds weights alone, rather than a whole Keras model."""
    if path.suffix.lower() in (".h5", ".hdf5"):
        try:
            with h5py.File(path) as file:
                return "model_config" not in file.attrs
        except OSError:
            return True
    return path.suffix.lower() != ".keras"


def _nothing_like(spec: str) -> Exception:
    """Returns what to raise for a spec that is neither a name nor a file."""
    if Path(spec).suffix or os.sep in spec:
        return ModelError(f"there is no image tower {spec}: no such file or folder.")
    close = difflib.get_close_matches(spec.lower(), ARCHITECTURES, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return ValueError(
        f"image tower must be one of {', '.join(ARCHITECTURES)}, keras:<name>, a file "
        f"of weights or of a Keras model, or a SavedModel's folder, got {spec!r}.{hint}"
    )


def _read_tower_file(folder: Path) -> dict[str, Any]:
    path = folder / TOWER_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} holds no image tower: {TOWER_FILE} is missing."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
    wanted = {"name", "image_size", "resize_to", "fingerprint", "details"}
    missing = wanted - set(content if isinstance(content, dict) else ())
    if missing:
        raise ModelError(f"{path} is damaged: it has no {', '.join(sorted(missing))}.")
    return content


def _load_model(path: Path) -> tf.keras.Model:
    try:
        return tf.keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}.") from error
