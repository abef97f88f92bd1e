"""ArcFace: the margin in the angle by hand, at its ends, its ramp, and one step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.arcface import (
    ArcFaceLoss,
    ClassCosine,
    MarginRamp,
    build_classifier,
)
from simprod_tf.model.encoder import UnitLength


def cross_entropy(logits, target):
    return np.log(np.exp(logits).sum()) - logits[target]


def small_classifier(num_classes=2):
    # Three products, one-hot: each has a row of the kernel for itself.
    product = tf.keras.Input([3], name="product")
    angles = np.array([0.0, 0.6, 1.1])
    start = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    dense = tf.keras.layers.Dense(
        2, kernel_initializer=tf.keras.initializers.Constant(start), use_bias=False
    )
    encoder = tf.keras.Model({"product": product}, UnitLength()(dense(product)))
    return encoder, build_classifier(encoder, num_classes)


def test_values_by_hand():
    loss = ArcFaceLoss(margin=0.5, scale=2.0)
    cosines = np.array([[0.5, 0.1, 0.0], [0.3, -0.2, 0.9]], np.float32)
    first = 2 * np.array([math.cos(math.acos(0.5) + 0.5), 0.1, 0.0])
    second = 2 * np.array([0.3, -0.2, math.cos(math.acos(0.9) + 0.5)])
    wanted = [cross_entropy(first, 0), cross_entropy(second, 2)]
    found = loss.call(tf.constant([0, 2]), tf.constant(cosines)).numpy()
    assert np.allclose(found, wanted, atol=1e-5)
    assert np.isclose(loss(np.array([[0], [2]]), cosines), np.mean(wanted), atol=1e-5)
    weighted = loss(np.array([0, 2]), cosines, np.array([0.0, 3.0], np.float32))
    assert np.isclose(weighted, 3 * wanted[1] / 2, atol=1e-5)


def test_without_margin_it_is_scaled_softmax_cross_entropy():
    cosines = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)
    class_ids = np.array([0, 1, 2, 3, 0, 1])
    plain = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = ArcFaceLoss(margin=0.0, scale=30.0)(class_ids, cosines)
    assert np.isclose(found, plain(class_ids, 30 * cosines), rtol=1e-4)


def test_the_loss_rises_with_the_angle_all_the_way_to_pi():
    angles = np.linspace(0, np.pi, 400)
    cosines = np.stack([np.cos(angles), np.zeros(400)], axis=1).astype(np.float32)
    loss = ArcFaceLoss(margin=0.5, scale=5.0)
    found = loss.call(tf.zeros(400, tf.int32), tf.constant(cosines)).numpy()
    assert (np.diff(found) > 0).mean() > 0.98
    assert np.diff(found).min() > -1e-4
    # No jump where the angle and the margin pass pi.
    assert np.diff(found).max() < 0.06


def test_gradients_are_finite_at_both_ends():
    cosines = tf.Variable([[1.0, -1.0], [-1.0, 1.0], [1.0000001, 0.0]])
    with tf.GradientTape() as tape:
        value = ArcFaceLoss(0.5, 30.0)(np.array([0, 0, 0]), cosines)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, cosines).numpy()).all()


def test_identical_products_have_a_finite_gradient():
    _, model = small_classifier()
    direction = model.get_layer("cosine").get_weights()[0][:1]
    model.layers[1].set_weights([np.repeat(direction, 3, axis=0)])
    with tf.GradientTape() as tape:
        cosines = model({"product": np.eye(3, dtype=np.float32)})
        value = ArcFaceLoss(0.5)(np.array([0, 1, 0]), cosines)
    assert np.allclose(cosines[:, 0], 1)
    for gradient in tape.gradient(value, model.trainable_weights):
        assert np.isfinite(gradient.numpy()).all()


def test_class_vectors_count_by_their_directions():
    layer = ClassCosine(2)
    layer(tf.zeros([1, 2]))
    layer.set_weights([np.array([[3, 4], [0, -2]], np.float32)])
    found = layer(tf.constant([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).numpy()
    assert np.allclose(found, [[0.6, 0], [0.8, -1], [0, 0]])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_step_of_fit_pulls_a_class_together_and_others_apart(jit_compile):
    encoder, model = small_classifier()
    model.get_layer("cosine").set_weights([np.array([[1, 0.4], [0, 1]], np.float32)])
    inputs = {"product": np.eye(3, dtype=np.float32)}
    model.compile(
        tf.keras.optimizers.SGD(0.1), ArcFaceLoss(0.3, 5.0), jit_compile=jit_compile
    )
    cosines = model(inputs).numpy()
    before = encoder(inputs).numpy()
    found = model.fit(inputs, np.array([0, 0, 1]), sample_weight=np.ones(3), verbose=0)
    wanted = ArcFaceLoss(0.3, 5.0)(np.array([0, 0, 1]), cosines)
    assert found.history["loss"][0] == pytest.approx(float(wanted), rel=1e-5)
    after = encoder(inputs).numpy()
    assert after[0] @ after[1] > before[0] @ before[1]
    assert after[1] @ after[2] < before[1] @ before[2]


def test_a_ramp_reaches_the_loss_that_fit_uses():
    _, model = small_classifier()
    loss = ArcFaceLoss(margin=0.3)
    model.compile("sgd", loss)
    seen = []

    class Watch(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(loss.margin))

    ramp = MarginRamp(loss, start=0.1, end=0.5, epochs=4)
    inputs, class_ids = {"product": np.eye(3, dtype=np.float32)}, np.array([0, 1, 1])
    fit = {"verbose": 0, "callbacks": [ramp, Watch()]}
    model.fit(inputs, class_ids, epochs=6, **fit)
    assert np.allclose(seen, [0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    # Taken up again at the third epoch, it goes on as it did.
    model.fit(inputs, class_ids, initial_epoch=2, epochs=3, **fit)
    assert np.isclose(seen[-1], 0.3)
    before = model.evaluate(inputs, class_ids, verbose=0)
    loss.margin.assign(1.0)
    assert model.evaluate(inputs, class_ids, verbose=0) > before


def test_the_classifier_takes_the_encoders_inputs_and_trains_it():
    encoder, model = small_classifier(num_classes=5)
    assert set(model.input) == {"product"}
    assert model.output_shape == (None, 5)
    assert len(model.weights) == len(encoder.weights) + 1


def test_a_saved_classifier_answers_the_same(tmp_path):
    _, model = small_classifier()
    model.compile("sgd", ArcFaceLoss(0.2))
    model.save(tmp_path / "classifier.keras")
    again = tf.keras.models.load_model(tmp_path / "classifier.keras")
    inputs = {"product": np.eye(3, dtype=np.float32)}
    assert (again(inputs).numpy() == model(inputs).numpy()).all()


def test_a_loss_comes_back_from_its_config_with_the_margin_it_had_reached():
    loss = ArcFaceLoss(0.1, 20.0)
    loss.margin.assign(0.4)
    again = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert isinstance(again, ArcFaceLoss)
    assert np.isclose(float(again.margin), 0.4)
    assert again.scale == 20.0


def test_it_computes_in_float32_whatever_comes():
    cosines = np.array([[0.5, 0.1], [0.3, -0.2]], np.float32)
    found = ArcFaceLoss()(np.array([0, 1]), tf.cast(cosines, tf.bfloat16))
    assert found.dtype == tf.float32
    assert np.isclose(found, ArcFaceLoss()(np.array([0, 1]), cosines), rtol=0.02)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"margin must be in \[0, pi / 2\).*got 1.6"):
        ArcFaceLoss(1.6)
    with pytest.raises(ValueError, match="scale must be above 0, got 0"):
        ArcFaceLoss(scale=0)
    with pytest.raises(ValueError, match=r"margin must be in \[0, pi / 2\).*got -1"):
        MarginRamp(ArcFaceLoss(), start=-1)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        MarginRamp(ArcFaceLoss(), epochs=0)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        small_classifier(1)
