"""Smaller and faster forms of an exported encoder, each a choice of its own.

`export_float16`    the SavedModel of `simprod_tf.export.encoder`, all its signatures,
                    with weights rounded to float16 and stored so. It is another
                    encoder, with a fingerprint of its own: index and thresholds must
                    be made with it. Not to be trained further.
`export_batch_1`    a SavedModel of the signature `embed` (also serving_default) alone,
                    of one product a request: shapes known and weights constant, so
                    that TensorFlow can simplify the graph. The same embeddings, the
                    same fingerprint.
`export_tflite`     for phones: see `simprod_tf.export.tflite`.

Sizes, times and what they cost in recall: benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from simprod_tf.atomic import whole_folder
from simprod_tf.export.encoder import KIND, encoder_manifest
from simprod_tf.export.encoder_model import ExportedEncoder
from simprod_tf.export.float16 import Float16Encoder, rounded_to_float16
from simprod_tf.export.rewired import captures, imported
from simprod_tf.export.versions import next_version
from simprod_tf.export.warmup import write_warmup
from simprod_tf.manifest import write_manifest
from simprod_tf.matching.decisions import Decisions
from simprod_tf.trained import TrainedEncoder

BATCH_1_KIND = "exported encoder of batch 1"


def export_float16(
    trained: TrainedEncoder, folder: str | Path, *, decisions: Decisions | None = None
) -> Path:
    """Writes the next version of the model, of float16 weights; returns its folder.

    Args:
        trained: the encoder, which is rounded first.
        folder: the model's folder.
        decisions: chosen with the rounded encoder (by an index of it), for the
            probabilities of the signature `distance`; without them there are none.

    Raises:
        FingerprintError: the decisions are for another encoder.
        ModelError: a weight is beyond what float16 holds.
    """
    final = next_version(folder, KIND)
    rounded = rounded_to_float16(trained)
    if decisions is not None:
        decisions.require_for(rounded.fingerprint)
    decision = None if decisions is None else decisions.whole
    calibration = None if decision is None else decision.calibration
    module = Float16Encoder(ExportedEncoder(rounded, calibration))
    functions = {"serving_default": module.functions["embed"], **module.functions}
    manifest = encoder_manifest(rounded, decision, functions)
    return _written(module, functions, manifest, final)


def export_batch_1(trained: TrainedEncoder, folder: str | Path) -> Path:
    """Writes the next version of a model of one product a request; its folder.

    Raises:
        ModelError: the folder holds models of another kind.
    """
    final = next_version(folder, BATCH_1_KIND)
    encoder = ExportedEncoder(trained)
    module = tf.train.Checkpoint()
    module.embed = _of_batch_1(encoder.functions["embed"])
    module.tables = [one for one in encoder.parts if not isinstance(one, tf.Variable)]
    functions = {"serving_default": module.embed, "embed": module.embed}
    manifest = encoder_manifest(trained, None, functions)
    return _written(module, functions, {**manifest, "kind": BATCH_1_KIND}, final)


def _of_batch_1(function: Any) -> Any:
    """Returns the concrete function for batches of one, its variables constants."""
    specs = {
        name: tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, name)
        for name, spec in function.structured_input_signature[1].items()
    }
    single = tf.function(lambda **raw: function(**raw), autograph=False)
    single = single.get_concrete_function(**specs)
    # TensorFlow 1's control flow, into which it would be lowered, breaks loops that
    # stand in branches: "has inputs from different frames".
    frozen = convert_variables_to_constants_v2(single, lower_control_flow=False)
    # What stays captured are the tables.
    tables = {inner.name: outer for outer, inner in captures(single)}
    shapes = {
        name: [1, *tensor.shape[1:]]
        for name, tensor in sorted(function.structured_outputs.items())
    }

    def embed(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        fed = {f"{name}:0": value for name, value in raw.items()}
        found = tf.nest.flatten(imported(frozen, {**tables, **fed}))
        return {
            name: tf.ensure_shape(tensor, shape)
            for (name, shape), tensor in zip(shapes.items(), found)
        }

    return tf.function(embed, autograph=False).get_concrete_function(**specs)


def _written(
    module: Any,
    functions: Mapping[str, Any],
    manifest: Mapping[str, Any],
    final: Path,
) -> Path:
    with whole_folder(final) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=dict(functions))
        write_warmup(temporary)
        write_manifest(temporary, manifest)
    return final
