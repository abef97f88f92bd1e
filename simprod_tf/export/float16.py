"""Weights kept as float16: half of what a model's variables take on disk.

What has two axes or more, kernels and word vectors, is rounded; biases, norms and word
weights, few as they are, stay float32. Everything is still computed in float32.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.export.encoder_model import ExportedEncoder
from simprod_tf.export.rewired import rewired
from simprod_tf.model.image_tower import ImageTower
from simprod_tf.trained import TrainedEncoder

LARGEST = float(np.finfo(np.float16).max)


def rounded_to_float16(trained: TrainedEncoder) -> TrainedEncoder:
    """Returns the encoder with its matrices rounded to float16: another encoder.

    Its embeddings are a little different, so it has a fingerprint of its own, and
    neither an index nor a threshold of the first one is for it. A tower that is the
    user's own SavedModel stays as it is.

    Raises:
        ModelError: a weight is beyond what float16 holds.
    """
    towers = tuple(_rounded_tower(one) for one in trained.towers)
    details = {**trained.details, "float16_of": trained.fingerprint}
    if details.get("decision"):
        details["decision"] = {
            "refused": f"the threshold was chosen for encoder {trained.fingerprint}, "
            "before its weights were rounded to float16"
        }
    return replace(trained, head=_rounded(trained.head), towers=towers, details=details)


class StoredInHalf(tf.saved_model.experimental.TrackableResource):
    """A float32 variable that is made from a float16 one whenever a model is loaded.

    To convert at each request would cost a large tower as much as its convolutions,
    and to read a whole table of word vectors for one title.

    Attributes:
        stored: the float16 variable, to be saved.
    """

    def __init__(self, variable: tf.Variable) -> None:
        """Takes a float32 variable whose values float16 holds."""
        super().__init__()
        self._shape = variable.shape
        name = variable.name.partition(":")[0]
        # In one process, variables of one name would be one.
        self._shared_name = f"{name}-{uuid.uuid4()}"
        self.stored = tf.Variable(
            tf.cast(variable, tf.float16), trainable=False, name=name
        )

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self._shape, shared_name=self._shared_name
        )

    def _initialize(self) -> None:
        tf.raw_ops.AssignVariableOp(
            resource=self.resource_handle, value=tf.cast(self.stored, tf.float32)
        )

    def _destroy_resource(self) -> None:
        tf.raw_ops.DestroyResourceOp(
            resource=self.resource_handle, ignore_lookup_error=True
        )


class Float16Encoder(tf.train.Checkpoint):
    """An `ExportedEncoder` whose rounded matrices are saved as float16.

    It is called as that one is, but has nothing to train: `training` changes nothing.

    Attributes:
        functions: the concrete functions, by the names of their signatures.
        variables: as they are saved.
        trainable_variables, regularization_losses: none.
        parts: all else that the functions read.
    """

    def __init__(self, encoder: ExportedEncoder) -> None:
        """Takes the exported form of an encoder that `rounded_to_float16` gave."""
        super().__init__()
        variables = {
            id(one.handle): one
            for function in encoder.functions.values()
            for one in function.graph.variables
        }
        halves = {
            key: StoredInHalf(one)
            for key, one in variables.items()
            if _is_exact(one.numpy())
        }
        whole = [one for key, one in variables.items() if key not in halves]
        self.variables = [*(one.stored for one in halves.values()), *whole]
        self.trainable_variables: list[tf.Variable] = []
        self.regularization_losses: list[Any] = []
        tables = [one for one in encoder.parts if not isinstance(one, tf.Variable)]
        self.parts = [*tables, *halves.values()]
        handles = {
            key: (lambda one=one: one.resource_handle) for key, one in halves.items()
        }
        self.functions = {
            name: rewired(function, handles)
            for name, function in encoder.functions.items()
        }
        raw = self.functions["embed"].structured_input_signature[1]
        for training in (False, True):
            self.__call__.get_concrete_function(raw, training=training)

    @tf.function(autograph=False)
    def __call__(
        self, inputs: dict[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Returns [B, D] float32 embeddings of what the signature `embed` takes."""
        return self.functions["embed"](**inputs)["embedding"]


def _rounded_tower(tower: ImageTower) -> ImageTower:
    if tower.saved_model is not None:
        return tower
    return replace(tower, model=_rounded(tower.model))


def _rounded(model: tf.keras.Model) -> tf.keras.Model:
    """Returns a copy of a Keras model with rounded weights."""
    weights = []
    for variable, weight in zip(model.weights, model.get_weights()):
        if _is_matrix(weight):
            most = float(np.abs(weight).max(initial=0))
            if not most <= LARGEST:
                raise ModelError(
                    f"The weight {variable.name} reaches {most:g}; float16 ends at "
                    f"{LARGEST:g}. Export this encoder with float32 weights."
                )
            weight = weight.astype(np.float16).astype(np.float32)
        weights.append(weight)
    copy = tf.keras.models.clone_model(model)
    copy.set_weights(weights)
    return copy


def _is_matrix(weight: np.ndarray) -> bool:
    return weight.ndim >= 2 and weight.dtype == np.float32


def _is_exact(weight: np.ndarray) -> bool:
    """Returns whether float16 holds the very values of a matrix."""
    if not _is_matrix(weight) or not (np.abs(weight) <= LARGEST).all():
        return False
    return bool((weight.astype(np.float16) == weight).all())
