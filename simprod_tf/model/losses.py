"""The pairwise loss, by TensorFlow Addons."""

from __future__ import annotations

import warnings

import tensorflow as tf

from simprod_tf.errors import MissingLibraryError

# Between unit vectors.
MAX_DISTANCE = 2.0


def contrastive_loss(margin: float = 1.0) -> tf.keras.losses.Loss:
    """Returns the contrastive loss of Hadsell, Chopra and LeCun 2006.

    label * distance^2 + (1 - label) * max(margin - distance, 0)^2, label 1 = similar.
    Distances between unit vectors are at most 2, so the margin must be below.

    Raises:
        MissingLibraryError: TensorFlow Addons is not installed.
    """
    if not 0 < margin <= MAX_DISTANCE:
        raise ValueError(f"margin must be in (0, 2], got {margin}.")
    try:
        with warnings.catch_warnings():
            # On import it announces its own end of life.
            warnings.simplefilter("ignore")
            import tensorflow_addons as tfa
    except ImportError as error:
        raise MissingLibraryError(
            "the contrastive loss needs TensorFlow Addons: "
            "pip install tensorflow-addons~=0.23.0 (with TensorFlow 2.15)."
        ) from error
    return tfa.losses.ContrastiveLoss(margin=margin)
