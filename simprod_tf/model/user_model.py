"""A user's own model as an image tower: a Keras file, or a SavedModel of anything.

It takes RGB pixels [B, H, W, 3] in [0, 255], float32 or uint8, with whatever
preprocessing it needs inside, and gives features [B, F], or a map [B, h, w, F] that is
averaged over the picture.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.manifest import file_sha256
from simprod_tf.model.keras_applications import features_of

WANTED = "an image tower takes one input [B, H, W, 3] and gives [B, F] or [B, h, w, F]"
SIGNATURE = "serving_default"


def keras_model_tower(
    path: str | os.PathLike[str],
    *,
    output_layer: str | None = None,
    image_size: int | None = None,
) -> tf.keras.Model:
    """Returns a tower [B, S, S, 3] in [0, 255] -> [B, F] float32 of a Keras file.

    Args:
        path: `.keras` or `.h5` of a whole model.
        output_layer: A layer by name; the model's output by default.
        image_size: Side of the input, where the model does not fix it.

    Raises:
        ModelError: it cannot be loaded, or is no image tower.
        ValueError: no such layer, or `image_size` is missing or not the model's.
    """
    model = _load_keras(path)
    if len(model.inputs) != 1 or (output_layer is None and len(model.outputs) != 1):
        raise ModelError(
            f"{path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            f"{WANTED}."
        )
    size = _square(model.inputs[0].shape, image_size, path)
    if output_layer is not None:
        features = features_of(model, output_layer)
    else:
        features = model
    image = tf.keras.Input([size, size, 3], name="image")
    x = features(image)
    # A model may compute in float16; features are float32 everywhere.
    x = tf.keras.layers.Activation("linear", dtype="float32", name="as_float32")(x)
    return _tower(image, x, path)


def saved_model_tower(
    folder: str | os.PathLike[str],
    *,
    output_layer: str | None = None,
    image_size: int | None = None,
) -> tf.keras.Model:
    """Returns a tower [B, S, S, 3] in [0, 255] -> [B, F] float32 of a SavedModel.

    It is frozen: its variables are there and are exported with the rest, but training
    leaves them as they are.

    Args:
        folder: Of the SavedModel. Its signature `serving_default` is called, or, where
            there is none, the object itself.
        output_layer: The signature's output by name, where it has several.
        image_size: Side of the input, where the SavedModel does not fix it.

    Raises:
        ModelError: it cannot be loaded, or is no image tower.
        ValueError: no such output, or `image_size` is missing or not the model's.
    """
    layer = SavedModelFeatures(
        str(folder), output_layer, image_size, name="saved_model"
    )
    image = tf.keras.Input([layer.image_size, layer.image_size, 3], name="image")
    return _tower(image, layer(image), folder)


def saved_model_parts(folder: Path) -> list[tuple[str, bytes]]:
    """Returns the name and the digest of each file, for a fingerprint."""
    return [
        (path.as_posix(), file_sha256(folder / path).encode())
        for path in _saved_model_files(folder)
    ]


def copy_saved_model(folder: Path, copy: Path) -> None:
    """Copies what of a SavedModel decides what it computes."""
    for path in _saved_model_files(folder):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, copy / path)
    # TensorFlow looks for this folder even where there are no variables.
    (copy / "variables").mkdir(exist_ok=True)


@tf.keras.saving.register_keras_serializable(package="simprod")
class SavedModelFeatures(tf.keras.layers.Layer):
    """Calls a SavedModel on pixels: [B, S, S, 3] -> [B, ...] float32, frozen.

    Its settings name the SavedModel's folder, which must be there to rebuild it.
    """

    def __init__(
        self,
        folder: str,
        output: str | None = None,
        image_size: int | None = None,
        **kw: Any,
    ) -> None:
        super().__init__(**{**kw, "trainable": False})
        self.folder, self.output_key = folder, output
        self._call = _Call(folder, output)
        self.image_size = _square(self._call.input.shape, image_size, folder)
        # Kept here so that Keras and tf.saved_model.save see what it consists of.
        self._loaded = self._call.loaded
        self._loaded_variables = list(self._call.variables)
        self._tail = tf.TensorShape(self._try())

    @property
    def trainable(self) -> bool:
        """False, though a model around it be made trainable."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Keras sets it; here it changes nothing."""

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns features of [B, S, S, 3] RGB in [0, 255]."""
        out = tf.cast(self._call(pixels), tf.float32)
        return tf.stop_gradient(tf.ensure_shape(out, [None, *self._tail]))

    def compute_output_shape(self, input_shape: tf.TensorShape) -> tf.TensorShape:
        """Returns [B, F] or [B, h, w, F]."""
        return tf.TensorShape([input_shape[0], *self._tail])

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = {"folder": self.folder, "output": self.output_key}
        return {**super().get_config(), **own, "image_size": self.image_size}

    def _try(self) -> tuple[int, ...]:
        """Returns the shape of one picture's features, found by computing them."""
        size = self.image_size
        try:
            out = self._call(tf.zeros([2, size, size, 3]))
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ModelError(
                f"{self.folder} fails on pictures of {size} x {size} pixels: {error}"
            ) from error
        if len(out.shape) not in (2, 4) or out.shape[0] != 2:
            raise ModelError(
                f"{self.folder} gives {out.shape} for [2, {size}, {size}, 3]; {WANTED}."
            )
        if not np.isfinite(out.numpy()).all():
            raise ModelError(
                f"{self.folder} gives values that are not finite for a black picture."
            )
        return tuple(out.shape[1:])


class _Call:
    """What of a SavedModel is called, and how."""

    def __init__(self, folder: str | os.PathLike[str], output: str | None) -> None:
        """Loads it and finds its one input and its one output."""
        self.folder, self.loaded = folder, _load_saved_model(folder)
        signature = dict(self.loaded.signatures).get(SIGNATURE)
        if signature is not None:
            self._function: Callable = signature
            specs = signature.structured_input_signature[1]
            self.input = self._one_input(list(specs.values()))
            self._name: str | None = next(iter(specs))
            self._output: str | None = self._one_output(
                list(signature.structured_outputs), output
            )
            self.variables = signature.variables
        elif callable(self.loaded):
            self._function, self._name, self._output = self.loaded, None, output
            self.input = self._one_input(_specs_of(self.loaded))
            self.variables = getattr(self.loaded, "variables", ())
        else:
            raise ModelError(
                f"{folder} has no signature {SIGNATURE} and cannot be called; it has "
                f"{', '.join(self.loaded.signatures) or 'no signature'}."
            )

    def __call__(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns what it gives for [B, S, S, 3] pixels, cast to what it takes."""
        if self.input.dtype.is_integer:
            pixels = tf.saturate_cast(tf.round(pixels), self.input.dtype)
        pixels = tf.cast(pixels, self.input.dtype)
        if self._name is None:
            out = self._function(pixels)
            return out if self._output is None else out[self._output]
        return self._function(**{self._name: pixels})[self._output]

    def _one_input(self, specs: list[tf.TensorSpec]) -> tf.TensorSpec:
        if len(specs) != 1 or specs[0].dtype == tf.string:
            found = ", ".join(f"{one.dtype.name} {one.shape}" for one in specs)
            raise ModelError(f"{self.folder} takes {found or 'no tensor'}; {WANTED}.")
        return specs[0]

    def _one_output(self, names: list[str], wanted: str | None) -> str:
        if wanted is None and len(names) != 1:
            raise ModelError(
                f"{self.folder} has the outputs {', '.join(names)}; choose one by "
                "--output-layer."
            )
        if wanted is not None and wanted not in names:
            raise ValueError(
                f"{self.folder} has no output {wanted!r}; it has {', '.join(names)}."
            )
        return wanted or names[0]


def _specs_of(loaded: Any) -> list[tf.TensorSpec]:
    """Returns what a callable without a signature takes, flags and the like aside."""
    functions = getattr(loaded.__call__, "concrete_functions", [])
    if not functions:
        return []
    found = tf.nest.flatten(functions[0].structured_input_signature)
    return [one for one in found if isinstance(one, tf.TensorSpec)]


def _load_saved_model(folder: str | os.PathLike[str]) -> Any:
    try:
        return tf.saved_model.load(os.fspath(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise ModelError(f"{folder} cannot be loaded: {error}") from error


def _load_keras(path: str | os.PathLike[str]) -> tf.keras.Model:
    try:
        model = tf.keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise ModelError(
            f"{path} cannot be loaded as a Keras model: {error} If it has layers of "
            "your own, register them (tf.keras.saving.register_keras_serializable) and "
            "import them first, from Python; or export it as a SavedModel "
            "(model.export), which needs no code of yours."
        ) from error
    if not getattr(model, "inputs", None):
        raise ModelError(f"{path} has no fixed inputs (it was never built); {WANTED}.")
    return model


def _square(
    shape: tf.TensorShape, image_size: int | None, path: str | os.PathLike[str]
) -> int:
    """Returns the side of the input, from the model or from `image_size`."""
    sides = [None] * 3 if shape.rank is None else list(shape[1:])
    if len(sides) != 3 or sides[2] not in (3, None) or (shape.rank and shape[0]):
        raise ModelError(f"{path} takes {shape}; {WANTED}.")
    height, width = sides[0] or image_size, sides[1] or image_size
    if height is None or width is None:
        raise ValueError(
            f"{path} takes pictures of any size; say which by --image-size, in pixels."
        )
    if height != width:
        raise ModelError(f"{path} takes {height} x {width} pixels; expected a square.")
    if image_size not in (None, height):
        raise ValueError(
            f"{path} takes pictures of {height} pixels, so image_size cannot be "
            f"{image_size}."
        )
    return int(height)


def _tower(
    image: tf.Tensor, x: tf.Tensor, path: str | os.PathLike[str]
) -> tf.keras.Model:
    if x.shape.rank == 4:
        x = tf.keras.layers.GlobalAveragePooling2D(name="mean_of_map")(x)
    if x.shape.rank != 2 or x.shape[-1] is None:
        raise ModelError(f"{path} gives {x.shape}; {WANTED}.")
    # TensorFlow takes no spaces in names.
    name = re.sub("[^A-Za-z0-9]+", "_", Path(path).stem).strip("_")
    return tf.keras.Model(image, x, name=f"{name}_tower".lstrip("_"))


def _saved_model_files(folder: Path) -> list[Path]:
    """Returns the files that decide what a SavedModel computes, relative to it."""
    found = [folder / "saved_model.pb"]
    for kind in ("variables", "assets"):
        found += sorted(path for path in (folder / kind).rglob("*") if path.is_file())
    return [path.relative_to(folder) for path in found]
