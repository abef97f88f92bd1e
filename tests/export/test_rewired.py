"""A function's graph is copied, and reads what it is told to."""

from __future__ import annotations

import pytest
import tensorflow as tf

from simprod_tf.export.rewired import captures, rewired


@pytest.fixture
def function():
    """x, by -> total = factor * x + by, and product, from two variables and a table."""
    factor, plus = tf.Variable(2.0), tf.Variable(10.0)

    @tf.function(autograph=False)
    def inner(x):
        return factor * x

    def outer(**raw):
        return {"total": inner(raw["x"]) + raw["by"] + plus, "by": raw["by"] * plus}

    concrete = tf.function(outer, autograph=False).get_concrete_function(
        x=tf.TensorSpec([None], tf.float32, "x"), by=tf.TensorSpec([], name="by")
    )
    return concrete, factor, plus


def test_one_variable_is_read_in_place_of_another(function):
    concrete, factor, plus = function
    other = tf.Variable(3.0)
    found = rewired(concrete, {id(factor.handle): lambda: other.handle})
    for one, times in ((concrete, 2.0), (found, 3.0)):
        out = one(x=tf.constant([1.0, 5.0]), by=tf.constant(4.0))
        assert out["total"].numpy().tolist() == [times + 14, 5 * times + 14]
        assert out["by"].numpy() == 40
    plus.assign(0.0)
    assert found(x=tf.constant([1.0]), by=tf.constant(0.0))["total"].numpy() == [3.0]
    assert {v.ref() for v in found.graph.variables} <= {other.ref(), plus.ref()}


def test_what_a_function_captured_is_listed_with_its_inputs(function):
    concrete, factor, plus = function
    found = captures(concrete)
    assert {id(outer) for outer, _ in found} == {id(factor.handle), id(plus.handle)}
    assert {inner.name for _, inner in found} <= {one.name for one in concrete.inputs}
