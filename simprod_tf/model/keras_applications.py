"""Any network of `tf.keras.applications`, with its own preprocessing inside."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import tensorflow as tf

from simprod_tf.errors import ModelError

IMAGENET, RANDOM = "imagenet", "random"

# Sides that the networks were trained at, in pixels, where it is not 224.
SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}
IMAGENET_VARIANCE = (0.229, 0.224, 0.225)


@tf.keras.saving.register_keras_serializable(package="simprod")
class KerasPreprocess(tf.keras.layers.Layer):
    """`preprocess_input` of one family, such as "resnet", as a layer."""

    def __init__(self, family: str, **kw: object):
        super().__init__(**kw)
        self.family = family

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Maps [B, H, W, 3] RGB in [0, 255] to what the family expects."""
        module = getattr(tf.keras.applications, self.family)
        pixels = tf.cast(pixels, tf.float32)
        return module.preprocess_input(pixels, data_format="channels_last")

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "family": self.family}


def application_named(name: str) -> str:
    """Returns the name as Keras writes it; case does not matter.

    Raises:
        ValueError: Keras has no such network; names those that are close.
    """
    known = _names()
    by_lower = {one.lower(): one for one in known}
    if name.lower() in by_lower:
        return by_lower[name.lower()]
    close = difflib.get_close_matches(name.lower(), by_lower, n=4, cutoff=0.4)
    hint = ", ".join([by_lower[one] for one in close] or known)
    raise ValueError(
        f"tf.keras.applications has no network {name!r}; close are: {hint}."
    )


def application_size(name: str) -> int:
    """Returns the side that a network was trained at, in pixels."""
    return SIZES.get(name, 224)


def build_application(
    name: str,
    *,
    weights: str | None = None,
    output_layer: str | None = None,
    image_size: int | None = None,
) -> tf.keras.Model:
    """Returns a network without its classifier: [B, S, S, 3] in [0, 255] -> [B, F].

    Args:
        name: As `tf.keras.applications` has it, such as "EfficientNetV2B0".
        weights: "imagenet" (None means the same), "random", or a file of the weights
            of the network without its top, such as `..._notop.h5`.
        output_layer: A layer by name, averaged over the picture; the last by default.
        image_size: Side of the input; by default the one it was trained at.

    Raises:
        ModelError: the weights cannot be downloaded, or do not fit.
        ValueError: no such network or layer, or a picture too small for it.
    """
    name, chosen = application_named(name), weights or IMAGENET
    if chosen not in (IMAGENET, RANDOM) and not os.path.isfile(chosen):
        raise ModelError(
            f"there is no file of weights {chosen}; give imagenet, random or a file."
        )
    size = image_size or application_size(name)
    network = _network(name, size, IMAGENET if chosen == IMAGENET else None)
    if chosen not in (IMAGENET, RANDOM):
        _load(network, name, chosen)
    image = tf.keras.Input([size, size, 3], name="image")
    features = features_of(network, output_layer)
    family = _family(name)
    x = features(KerasPreprocess(family, name="preprocess")(image))
    return tf.keras.Model(image, x, name=f"{name.lower()}_tower")


def features_of(network: tf.keras.Model, output_layer: str | None) -> tf.keras.Model:
    """Returns `network` up to a layer, averaged over the picture where it is a map.

    Raises:
        ValueError: it has no such layer, or the layer gives no [B, F] or [B, h, w, F].
    """
    out = network.output
    if output_layer is not None:
        names = [layer.name for layer in network.layers]
        if output_layer not in names:
            close = difflib.get_close_matches(output_layer, names, n=4, cutoff=0.3)
            raise ValueError(
                f"{network.name} has no layer {output_layer!r}; close are "
                f"{', '.join(close or names[-4:])}."
            )
        out = network.get_layer(output_layer).output
    if out.shape.rank == 4:
        out = tf.keras.layers.GlobalAveragePooling2D(name="mean_of_map")(out)
    if out.shape.rank != 2 or out.shape[-1] is None:
        raise ValueError(
            f"{output_layer or 'the output'} of {network.name} must be [B, F] or "
            f"[B, h, w, F], got {out.shape}."
        )
    return tf.keras.Model(network.input, out, name=f"{network.name}_features")


def _names() -> list[str]:
    module = tf.keras.applications
    return [one for one in dir(module) if one[0].isupper()]


def _family(name: str) -> str:
    """Returns the module that holds the network and its `preprocess_input`."""
    builder: Callable = getattr(tf.keras.applications, name)
    return builder.__module__.rsplit(".", 1)[-1]


def _network(name: str, size: int, weights: str | None) -> tf.keras.Model:
    build = getattr(tf.keras.applications, name)
    try:
        # Keras draws its bar of a download on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return build(
                include_top=False,
                weights=weights,
                pooling="avg",
                input_shape=(size, size, 3),
            )
    except Exception as error:
        # For a failed download Keras raises no class of its own but `Exception`.
        if "URL fetch failure" not in str(error):
            raise
        raise _no_download(name, str(error)) from error


def _no_download(name: str, message: str) -> ModelError:
    url = message.split("URL fetch failure on ", 1)[1].split(": ", 1)[0]
    file = Path(urlsplit(url).path).name
    place = Path.home() / ".keras" / "models" / file
    return ModelError(
        f"the weights of {name} cannot be downloaded from {url}. Without a network "
        f"here: put that file at {place}, where Keras looks for it, or give its path "
        "by --image-weights; `--image-weights random` takes none."
    )


def _load(network: tf.keras.Model, name: str, path: str) -> None:
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ModelError(
            f"{path} does not hold the weights of {name} without its top "
            f"(Keras names such files ..._notop.h5): {error}"
        ) from error
    if _family(name) == "efficientnet":
        _as_imagenet(network)


def _as_imagenet(network: tf.keras.Model) -> None:
    """Puts right the scale of the input of an EfficientNet (not V2).

    Keras divides it by the roots of these numbers in `weights="imagenet"` alone, though
    the same file, given as a path, needs it too: it goes into the variance here.
    """
    kind = tf.keras.layers.Normalization
    layer = next(one for one in network.layers if isinstance(one, kind))
    mean, variance, count = layer.get_weights()
    layer.set_weights([mean, variance * IMAGENET_VARIANCE, count])
    # The layer computes with what it derives from its weights.
    layer.finalize_state()
