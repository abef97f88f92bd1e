"""The encoder as a SavedModel that TF Serving loads.

`<folder>/<version>/` holds a SavedModel of stock TensorFlow ops, `manifest.json`, and
in `assets.extra` the requests by which a server warms it up. Its signatures, for B
products of which B may be 0:

embed  (also serving_default)
    `image_bytes` [B] string, a JPEG, PNG, GIF or BMP, "" where there is none; `title`
    [B] string, may be ""; and by name the attributes and precomputed vectors that the
    encoder was trained with: a category [B] string ("" where missing), a number [B]
    float32 (NaN where missing), a vector [B, F] float32 (zeros where missing)
    -> `embedding` [B, D] float32, unit length, or zeros where nothing is known of the
    product; `valid` [B] bool; `fault` [B] string. A picture that cannot be used makes
    its own row alone not valid: its embedding is zeros, its fault says why. A missing
    picture is no fault.
embed_features
    `<tower>_features` [B, F] float32 of each image tower, as `simprod features` keeps
    them, zeros where there is no picture; `title` and the rest -> `embedding`.
embed_image_tensor  (where there is an image tower)
    `image` [B, H, W, 3] uint8 RGB, of any H and W, resized as a decoded picture is;
    `title` and the rest -> `embedding`. Every row has a picture. More than MAX_PIXELS
    pixels in a picture, or none, fail the request.
distance
    two products a row: all that `embed` takes, with `a_` and with `b_` before the name
    -> `distance` [B] float32 in [0, 2], inf where nothing is known of one of them or
    its picture cannot be used; `valid` [B] bool, of both; `a_fault` and `b_fault` [B]
    string; and, where there is a calibration, `probability` [B] float32 that the two
    are similar, 0 where the distance is inf.

It is a reusable SavedModel as well: `tf.saved_model.load(folder)` gives an object that,
called with a dict of what `embed` takes, gives the embeddings, `training=True` with
dropout; it has `variables`, `trainable_variables` and `regularization_losses`, so that
it can be trained further (`hub.KerasLayer`, a gradient tape).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from simprod_tf import __version__
from simprod_tf.atomic import whole_folder
from simprod_tf.data.picture_file import MAX_PIXELS, PICTURE_FORMATS
from simprod_tf.export.encoder_model import ExportedEncoder
from simprod_tf.export.versions import next_version
from simprod_tf.export.warmup import write_warmup
from simprod_tf.manifest import write_manifest
from simprod_tf.matching.decision import Decision
from simprod_tf.matching.decisions import Decisions, trained_decisions
from simprod_tf.trained import TrainedEncoder, pictures_of, tower_details

KIND = "exported encoder"


def export_encoder(
    trained: TrainedEncoder, folder: str | Path, *, decisions: Decisions | None = None
) -> Path:
    """Writes the next version of the model and returns its folder, `<folder>/<n>`.

    Args:
        trained: the encoder.
        folder: the model's folder.
        decisions: of `simprod threshold`, in place of the one that training made;
            their calibration gives the probabilities of the signature `distance`.

    Raises:
        FingerprintError: the decisions are for another encoder.
        ModelError: training's decision is damaged, or the folder holds another kind
            of model.
    """
    final = next_version(folder, KIND)
    decision = _decision(trained, decisions)
    module = ExportedEncoder(
        trained, None if decision is None else decision.calibration
    )
    functions = {"serving_default": module.functions["embed"], **module.functions}
    with whole_folder(final) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=functions)
        write_warmup(temporary)
        write_manifest(temporary, encoder_manifest(trained, decision, functions))
    return final


def described_signatures(functions: Mapping[str, Any]) -> dict[str, Any]:
    """Returns inputs and outputs of concrete functions, by name, for a manifest."""
    return {
        name: {
            "inputs": _described(_inputs(function)),
            "outputs": _described(function.structured_outputs),
        }
        for name, function in functions.items()
    }


def _inputs(function: Any) -> dict[str, tf.TensorSpec]:
    """Returns the inputs of a concrete function by name, in its order."""
    return {
        spec.name: spec for spec in tf.nest.flatten(function.structured_input_signature)
    }


def _decision(trained: TrainedEncoder, decisions: Decisions | None) -> Decision | None:
    """Returns the decision on whole products, None if there is none."""
    if decisions is not None:
        decisions.require_for(trained.fingerprint)
    else:
        decisions = trained_decisions(
            trained.details.get("decision"), trained.fingerprint
        )
    return None if decisions is None else decisions.whole


def encoder_manifest(
    trained: TrainedEncoder, decision: Decision | None, functions: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what the manifest of an exported encoder says."""
    words = "\n".join(trained.vocabulary).encode()
    own = {
        "kind": KIND,
        "fingerprint": trained.fingerprint,
        "dim": trained.dim,
        "towers": tower_details(trained.towers),
        "inputs": trained.inputs.to_json(),
        "pictures": {
            "formats": list(PICTURE_FORMATS),
            "max_pixels": MAX_PIXELS,
            "towers": {one.name: pictures_of(one).to_json() for one in trained.towers},
        },
        "vocabulary": {
            "num_words": len(trained.vocabulary),
            "sha256": hashlib.sha256(words).hexdigest(),
        },
        "simprod_tf": __version__,
        "tensorflow": tf.__version__,
        "signatures": described_signatures(functions),
        # Whether `distance` gives `probability`.
        "has_probability": decision is not None,
    }
    if decision is not None:
        own["decision"] = decision.to_json()
    return {**trained.details, **own}


def _described(specs: Mapping[str, Any]) -> dict[str, str]:
    """Returns dtype and shape of each tensor, for people."""
    return {
        name: f"{spec.dtype.name} [{', '.join(['B', *map(_size, spec.shape[1:])])}]"
        for name, spec in specs.items()
    }


def _size(size: int | None) -> str:
    return "any" if size is None else str(size)
