"""What an exported encoder computes: raw tensors of products -> embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from simprod_tf.export.probability import probability_of
from simprod_tf.features.decoded_pictures import DecodedPictures, decode_pictures
from simprod_tf.features.image import PictureSettings, prepare_pixels
from simprod_tf.features.product_inputs import InputOps
from simprod_tf.matching.calibration import Calibration
from simprod_tf.trained import TrainedEncoder, pictures_of

Tensors = dict[str, tf.Tensor]
# The two products of `distance`.
SIDES = ("a_", "b_")


class ExportedEncoder(tf.train.Checkpoint):
    """What the SavedModel holds: functions of raw tensors, and what they read.

    Not the Keras models themselves: with them TensorFlow would trace each of their
    layers again, several times over, which is two thirds of an export's time.

    Attributes:
        functions: the concrete functions, by the names of their signatures.
        variables, trainable_variables, regularization_losses: as reusable SavedModels
            have them, https://www.tensorflow.org/hub/reusable_saved_models.
        parts: all else that the functions read: tables, and states of generators.
    """

    def __init__(
        self, trained: TrainedEncoder, calibration: Calibration | None = None
    ) -> None:
        """Traces the functions.

        Args:
            trained: the encoder.
            calibration: from distances to probabilities, for `distance`.
        """
        super().__init__()
        graph = _Graph(trained, calibration)
        rest = {
            "title": tf.TensorSpec([None], tf.string, "title"),
            **trained.inputs.signature(),
        }
        raw = {"image_bytes": tf.TensorSpec([None], tf.string, "image_bytes"), **rest}
        pair = {
            side + name: tf.TensorSpec(spec.shape, spec.dtype, side + name)
            for side in SIDES
            for name, spec in raw.items()
        }
        self.functions = {
            "embed": _traced(graph.embed, raw),
            "embed_features": _traced(graph.embed_features, graph.features | rest),
            "distance": _traced(graph.distance, pair),
        }
        if trained.towers:
            image = tf.TensorSpec([None, None, None, 3], tf.uint8, "image")
            self.functions["embed_image_tensor"] = _traced(
                graph.embed_image_tensor, {"image": image, **rest}
            )
        self._training = _traced(graph.embed_in_training, raw)
        for training in (False, True):
            self.__call__.get_concrete_function(raw, training=training)
        self.variables = list(trained.model.variables)
        self.trainable_variables = list(trained.model.trainable_variables)
        self.regularization_losses = _regularization_losses(trained)
        self.parts = _parts(trained, graph, [*self.functions.values(), self._training])

    @tf.function(autograph=False)
    def __call__(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> Any:
        """Returns [B, D] float32 embeddings of what the signature `embed` takes."""
        # Functions already traced: this one is traced again when it is saved.
        embed = self._training if training else self.functions["embed"]
        return embed(**inputs)["embedding"]


class _Graph:
    """The computations, each traced once and shared by the functions."""

    def __init__(
        self, trained: TrainedEncoder, calibration: Calibration | None
    ) -> None:
        """Takes the model and builds its look-up tables."""
        self.input_ops = InputOps(trained.inputs)
        self.pictures = {one.name: pictures_of(one) for one in trained.towers}
        self.features = {
            f"{one.name}_features": tf.TensorSpec(
                [None, one.dim], tf.float32, f"{one.name}_features"
            )
            for one in trained.towers
        }
        self._towers = {one.name: one.model for one in trained.towers}
        self._head, self._calibration = trained.head, calibration
        self._prepare = tf.function(self._prepared, autograph=False)
        self._forward = tf.function(self._embedded, autograph=False)
        self._embed = tf.function(self._embedding_of_raw, autograph=False)

    def embed(self, **raw: tf.Tensor) -> Tensors:
        """Returns `embedding` [B, D], `valid` [B] bool and `fault` [B] string."""
        return self._embed(raw)

    def embed_in_training(self, **raw: tf.Tensor) -> Tensors:
        """Returns what `embed` does, with dropout and all else that training adds."""
        return self._embedding_of_raw(raw, training=True)

    def embed_features(self, **raw: tf.Tensor) -> Tensors:
        """Returns `embedding` of what the towers gave before."""
        inputs = self.input_ops(raw)
        found = {name: raw[name] for name in self.features}
        if found:
            there = [
                tf.reduce_any(one != 0, axis=1, keepdims=True) for one in found.values()
            ]
            any_of = tf.reduce_any(tf.concat(there, axis=1), axis=1, keepdims=True)
            inputs["has_image"] = tf.cast(any_of, tf.float32)
        return {"embedding": self._forward({**inputs, **found}, False)}

    def embed_image_tensor(self, **raw: tf.Tensor) -> Tensors:
        """Returns `embedding` of pictures that the caller has decoded."""
        inputs = self.input_ops(raw)
        prepared = {
            settings: prepare_pixels(raw["image"], settings)
            for settings in set(self.pictures.values())
        }
        for name, settings in self.pictures.items():
            inputs[f"{name}_pixels"] = prepared[settings]
        inputs["has_image"] = tf.ones([tf.shape(raw["image"])[0], 1])
        return {"embedding": self._forward(inputs, False)}

    def distance(self, **pair: tf.Tensor) -> Tensors:
        """Returns `distance` of two products, and what belongs to it."""
        a, b = (
            {name: pair[side + name] for name in self._raw_names(pair)}
            for side in SIDES
        )
        count = tf.shape(a["title"])[0]
        same = tf.debugging.assert_equal(
            count, tf.shape(b["title"])[0], "a_title and b_title differ in length"
        )
        with tf.control_dependencies([] if same is None else [same]):
            both = {name: tf.concat([a[name], b[name]], axis=0) for name in a}
        # As one batch: pictures of both are decoded side by side.
        found = self._embed(both)
        one, other = found["embedding"][:count], found["embedding"][count:]
        known = tf.norm(found["embedding"], axis=1) > 0
        comparable = known[:count] & known[count:]
        distance = tf.minimum(tf.norm(one - other, axis=1), 2.0)
        out = {
            "distance": tf.where(comparable, distance, float("inf")),
            "valid": found["valid"][:count] & found["valid"][count:],
            "a_fault": found["fault"][:count],
            "b_fault": found["fault"][count:],
        }
        if self._calibration is not None:
            likely = probability_of(self._calibration, distance)
            out["probability"] = tf.where(comparable, likely, 0.0)
        return out

    def _raw_names(self, pair: Mapping[str, tf.Tensor]) -> list[str]:
        side = SIDES[0]
        return [name[len(side) :] for name in pair if name.startswith(side)]

    def _prepared(self, raw: Mapping[str, tf.Tensor]) -> tuple[Tensors, Tensors]:
        """Returns the inputs of towers and head, and `valid` and `fault`, [B]."""
        inputs = self.input_ops(raw)
        fault = tf.fill(tf.shape(raw["image_bytes"]), "")
        decoded: dict[PictureSettings, DecodedPictures] = {}
        for name, settings in self.pictures.items():
            if settings not in decoded:
                decoded[settings] = decode_pictures(raw["image_bytes"], settings)
            pictures = decoded[settings]
            inputs[f"{name}_pixels"] = pictures.pixels
            inputs["has_image"] = tf.cast(pictures.has_image, tf.float32)[:, tf.newaxis]
            fault = tf.where(fault == "", pictures.fault, fault)
        return inputs, {"valid": fault == "", "fault": fault}

    def _embedding_of_raw(
        self, raw: Mapping[str, tf.Tensor], training: bool = False
    ) -> Tensors:
        inputs, told = self._prepare(raw)
        embedding = self._forward(inputs, training)
        # What else is known of it is no answer either: it was asked for as a whole.
        embedding = tf.where(told["valid"][:, tf.newaxis], embedding, 0.0)
        return {"embedding": embedding, **told}

    def _embedded(self, inputs: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """Returns [B, D] float32; each tower's input is its pixels, or its features."""
        count = tf.shape(next(iter(inputs.values())))[0]
        # TensorFlow's convolutions refuse an empty batch on CPUs.
        spare = tf.cast(count == 0, tf.int32)
        filled = {name: _with_rows(value, spare) for name, value in inputs.items()}
        for name, tower in self._towers.items():
            pixels = filled.pop(f"{name}_pixels", None)
            if pixels is not None:
                pixels = tf.cast(pixels, tf.float32)
                filled[f"{name}_features"] = tower(pixels, training=training)
        wanted = {name: filled[name] for name in self._head.input}
        return self._head(wanted, training=training)[:count]


def _traced(
    function: Callable[..., Tensors], specs: Mapping[str, tf.TensorSpec]
) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(**specs)


def _with_rows(values: tf.Tensor, spare: tf.Tensor) -> tf.Tensor:
    """Returns [B + spare, ...]: the values, and rows of zeros behind."""
    shape = tf.concat([[spare], tf.shape(values)[1:]], axis=0)
    more = tf.ensure_shape(tf.zeros(shape, values.dtype), [None, *values.shape[1:]])
    return tf.concat([values, more], axis=0)


def _regularization_losses(trained: TrainedEncoder) -> list[Any]:
    """Returns a function without inputs, to the sum of the losses, where any are."""
    models = [trained.head, *(one.model for one in trained.towers)]

    def losses() -> list[tf.Tensor]:
        found = [loss for model in models for loss in model.losses]
        # Losses on what layers compute, not on weights, belong to one call each.
        return [one for one in found if not tf.keras.backend.is_keras_tensor(one)]

    if not losses():
        return []
    total = tf.function(lambda: tf.add_n(losses()), input_signature=[], autograph=False)
    return [total]


def _parts(trained: TrainedEncoder, graph: _Graph, functions: list[Any]) -> list[Any]:
    """Returns what the functions read, so that it is saved with them."""
    found: list[Any] = [graph.input_ops]
    # Of a user's SavedModel, its tables and files.
    found += [one.model for one in trained.towers if one.saved_model is not None]
    variables = {v.ref(): v for one in functions for v in one.graph.variables}
    return found + [one.deref() for one in variables]
