"""Reliability and the expected calibration error: by hand and on drawn pairs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from simprod_tf.evaluation.figures import reliability_svg
from simprod_tf.evaluation.reliability import (
    binned,
    cross_fitted_reliability,
    expected_calibration_error,
    reliability,
)


def test_bins_of_equal_mass_by_hand() -> None:
    probabilities = np.array([0.9, 0.1, 0.3, 0.8, 0.2, 0.7])
    labels = np.array([1, 0, 1, 1, 0, 0])
    found = reliability(probabilities, labels, bins=2)
    np.testing.assert_allclose(found.probability, [0.2, 0.8])
    np.testing.assert_allclose(found.share, [1 / 3, 2 / 3])
    np.testing.assert_array_equal(found.count, [3, 3])
    # Both bins are 2/15 off.
    assert found.expected_calibration_error == pytest.approx(2 / 15)
    assert expected_calibration_error(probabilities, labels, bins=2) == pytest.approx(
        2 / 15
    )


def test_equal_probabilities_do_not_depend_on_the_order() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert expected_calibration_error(np.full(6, 0.5), labels, bins=3) == 0
    assert expected_calibration_error(np.full(6, 0.5), labels[::-1], bins=3) == 0


def test_calibrated_pairs_have_little_error_and_others_have_theirs() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random(20_000) ** 2
    labels = random.random(20_000) < probabilities
    assert expected_calibration_error(probabilities, labels) < 0.015
    # x against x^2: the integral of x - x^2 under the density of x.
    wrong = expected_calibration_error(np.sqrt(probabilities), labels)
    assert wrong == pytest.approx(1 / 2 - 1 / 3, abs=0.01)


def test_cross_fitted_curves_are_reliable_on_drawn_pairs() -> None:
    random = np.random.default_rng(0)
    labels = random.random(2_000) < 0.3
    distances = np.abs(np.where(labels, 0.5, 1.0) + 0.2 * random.normal(size=2_000))
    found = cross_fitted_reliability(distances, labels)
    assert found is not None and len(found.count) == 15
    assert found.count.sum() == 2_000
    assert (np.diff(found.probability) > 0).all()
    assert found.expected_calibration_error < 0.05


def test_too_few_pairs_of_a_kind_have_no_reliability() -> None:
    labels = np.arange(30) < 9
    assert cross_fitted_reliability(np.linspace(0, 1, 30), labels) is None
    assert cross_fitted_reliability(np.empty(0), np.empty(0)) is None
    assert expected_calibration_error(np.empty(0), np.empty(0)) == 0


@pytest.mark.parametrize(
    ("probabilities", "labels", "bins", "message"),
    [
        ([0.1, 0.2], [1], 3, r"one shape \[N\] .*\[2\], \[1\] and 3"),
        ([0.1], [1], 0, "bins is at least 1"),
        ([1.2], [1], 3, "lie between 0 and 1"),
        ([float("nan")], [1], 3, "lie between 0 and 1"),
    ],
)
def test_what_is_no_probability_is_refused(
    probabilities: list[float], labels: list[int], bins: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reliability(np.array(probabilities), np.array(labels), bins=bins)


def test_the_drawing_states_pairs_and_error() -> None:
    found = reliability(np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 1, 1, 1]), bins=2)
    drawing = reliability_svg(found, number=0)
    ElementTree.fromstring(drawing)
    # Bins (.2, 1/2) and (.8, 1): .3 and .2 off.
    assert "4 pairs, ECE 0.250" in drawing
    assert "var(--line-1)" in drawing and not re.search("#0[1-4]0[1-4]0", drawing)
    assert drawing == reliability_svg(found, number=0)
    ids = set(re.findall(r'\bid="([^"]+)"', drawing))
    assert not ids & set(
        re.findall(r'\bid="([^"]+)"', reliability_svg(found, number=1))
    )


@pytest.mark.parametrize("seed", range(4))
def test_counted_pairs_fall_into_the_bins_of_repeated_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = np.sort(generator.random(9))
    mass = generator.integers(0, 6, 9)
    similar = np.array([generator.integers(0, count + 1) for count in mass])
    repeated = np.repeat(values, mass)
    labels = np.concatenate(
        [np.arange(count) < hits for count, hits in zip(mass, similar)]
    )
    counted = binned(values, mass=mass, similar=similar, bins=4)
    # One by one: bins of as many pairs, each with its probability's share of similar.
    share = np.repeat(similar / np.maximum(mass, 1), mass)
    borders = np.linspace(0, len(labels), 5).astype(int)
    for bin, (start, end) in enumerate(zip(borders, borders[1:])):
        assert counted.count[bin] == end - start
        assert counted.share[bin] == pytest.approx(share[start:end].mean())
        assert counted.probability[bin] == pytest.approx(repeated[start:end].mean())
    whole = reliability(repeated, labels.astype(int), bins=4)
    np.testing.assert_allclose(whole.share, counted.share)
