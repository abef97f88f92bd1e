"""Calibration inside a graph: distances -> probabilities, by stock ops."""

from __future__ import annotations

import tensorflow as tf

from simprod_tf.matching.calibration import Calibration


def probability_of(calibration: Calibration, distances: tf.Tensor) -> tf.Tensor:
    """Returns what `calibration.probability` does, float32, for finite distances.

    Args:
        calibration: the curve.
        distances: [B] float32.
    """
    places = tf.cast(distances, tf.float64)
    if calibration.knots:
        log_odds = _between_knots(places, calibration.knots)
    else:
        log_odds = calibration.intercept + calibration.slope * places
    return tf.cast(0.5 * (1 + tf.tanh(log_odds / 2)), tf.float32)


def _between_knots(
    places: tf.Tensor, knots: tuple[tuple[float, float], ...]
) -> tf.Tensor:
    """Returns the [B] float64 heights of a line through knots, level at its ends."""
    at, heights = (tf.constant(values, tf.float64) for values in zip(*knots))
    if len(knots) == 1:
        return tf.fill(tf.shape(places), heights[0])
    # The knot on the left, the last but one at most.
    left = tf.searchsorted(at, places, side="right") - 1
    left = tf.clip_by_value(left, 0, len(knots) - 2)
    start, end = tf.gather(at, left), tf.gather(at, left + 1)
    low, high = tf.gather(heights, left), tf.gather(heights, left + 1)
    share = tf.clip_by_value((places - start) / (end - start), 0.0, 1.0)
    return low + share * (high - low)
