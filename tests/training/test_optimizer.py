"""The optimizer: steps worked by hand, rates by layer, schedule, clipping, saving."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.training.optimizer import (
    GroupedAdamW,
    OptimizerSettings,
    WarmupCosine,
    build_optimizer,
    rate_groups,
)


def network():
    tf.keras.utils.set_random_seed(1)
    x = tf.keras.Input((3,))
    layers = tf.keras.layers
    tower = tf.keras.Model(x, layers.Dense(4, name="fc")(x), name="small")
    y = tf.keras.Input((3,))
    out = layers.Dense(2, name="projection")(tower(y))
    return tf.keras.Model(y, out, name="encoder")


def _built(settings, model, **rates):
    return build_optimizer(settings, model, steps_per_epoch=3, epochs=3, **rates)


def moved(optimizer, model, steps=1):
    """How far each variable goes in steps on gradients of one, two, one, two..."""
    before = model.get_weights()
    for step in range(steps):
        grads = [
            tf.ones_like(one) * (1.0 + step % 2) for one in model.trainable_variables
        ]
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
    return [new - old for new, old in zip(model.get_weights(), before)]


def test_two_steps_are_those_of_adamw_by_hand():
    weight = tf.Variable(2.0)
    optimizer = GroupedAdamW(0.1, weight_decay=0.5)
    optimizer.apply_gradients([(tf.constant(3.0), weight)])
    # Decay 2 * 0.5 * 0.1 = 0.1; Adam's first step is the rate, whatever the gradient.
    assert float(weight) == pytest.approx(2.0 - 0.1 - 0.1, abs=1e-6)
    optimizer.apply_gradients([(tf.constant(1.0), weight)])
    first = (0.9 * 0.1 * 3 + 0.1 * 1) / (1 - 0.9**2)
    second = (0.999 * 0.001 * 9 + 0.001 * 1) / (1 - 0.999**2)
    expected = 1.8 * (1 - 0.05) - 0.1 * first / math.sqrt(second)
    assert float(weight) == pytest.approx(expected, abs=1e-5)


def test_with_factors_of_one_it_is_keras_own_adamw():
    ours, theirs = network(), network()
    theirs_moved = moved(tf.keras.optimizers.AdamW(0.01, 0.1), theirs, steps=5)
    ours_moved = moved(GroupedAdamW(0.01, weight_decay=0.1), ours, steps=5)
    for one, other in zip(ours_moved, theirs_moved):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_factor_of_a_tenth_moves_a_tenth_and_zero_nothing():
    settings = OptimizerSettings(learning_rate=0.01, weight_decay=0.1)
    plain, grouped = network(), network()
    whole = moved(_built(settings, plain), plain)
    rates = {"small": 0.1, "projection/bias": 0.0}
    optimizer = _built(settings, grouped, rates=rates)
    part = moved(optimizer, grouped)
    for row, factor in enumerate([0.1, 0.1, 1.0, 0.0]):
        np.testing.assert_allclose(part[row], factor * whole[row], atol=1e-7)
        assert np.abs(whole[row]).min() > 0.005


def test_biases_gains_and_word_vectors_do_not_decay():
    words = tf.keras.Input((2,), dtype=tf.int32)
    layers = tf.keras.layers
    x = layers.Flatten()(layers.Embedding(5, 3, name="words")(words))
    x = layers.LayerNormalization(name="norm")(x)
    model = tf.keras.Model(words, layers.Dense(2, name="fc")(x))
    model.set_weights([np.ones_like(one) for one in model.get_weights()])
    settings = OptimizerSettings(learning_rate=0.5, weight_decay=0.5)
    optimizer = _built(settings, model)
    zeros = [tf.zeros_like(one) for one in model.trainable_variables]
    optimizer.apply_gradients(zip(zeros, model.trainable_variables))
    values = {one.name: float(np.mean(one)) for one in model.trainable_variables}
    decayed = {name: value for name, value in values.items() if value != 1.0}
    assert decayed == {"fc/kernel:0": pytest.approx(0.75)}


def test_of_two_patterns_the_last_counts():
    assert rate_groups(network(), {".*": 2, "small/fc/kernel": 3}) == [3, 2, 2, 2]


def test_a_pattern_that_fits_nothing_is_refused_with_the_layers():
    with pytest.raises(ValueError, match="fits 'large'; there are small/fc, projec"):
        rate_groups(network(), {"large": 0.1})
    with pytest.raises(ValueError, match="'small' must be at least 0, got -1"):
        rate_groups(network(), {"small": -1})


def test_freezing_after_building_is_refused():
    model = network()
    optimizer = _built(OptimizerSettings(), model)
    model.get_layer("small").trainable = False
    with pytest.raises(ValueError, match="4 trainable variables, and the model has 2"):
        optimizer.build(model.trainable_variables)


def test_the_rate_rises_then_falls_along_a_cosine():
    rate = WarmupCosine(0.8, 12, warmup_steps=4, final_share=0.25)
    values = [float(rate(tf.constant(step, tf.int64))) for step in (0, 1, 3, 4, 8, 12)]
    # Half-way: 0.25 + 0.75 / 2 of the peak; a quarter stays.
    assert values == pytest.approx([0.2, 0.4, 0.8, 0.8, 0.5, 0.2])
    assert float(rate(99)) == pytest.approx(0.2)


def test_a_constant_rate_may_warm_up():
    settings = OptimizerSettings(learning_rate=0.4, warmup_epochs=0.5)
    # Half of an epoch of four steps.
    optimizer = build_optimizer(settings, network(), steps_per_epoch=4, epochs=3)
    schedule = optimizer._learning_rate
    assert [float(schedule(step)) for step in (0, 1, 5, 10)] == pytest.approx(
        [0.2, 0.4, 0.4, 0.4]
    )


def test_epochs_make_the_steps_of_the_schedule():
    settings = OptimizerSettings(0.8, warmup_epochs=1, schedule="cosine")
    rate = build_optimizer(settings, network(), steps_per_epoch=4, epochs=3)
    steps = (0, 3, 4, 8, 12)
    found = [float(rate._learning_rate(step)) for step in steps]
    assert found == pytest.approx([0.2, 0.8, 0.8, 0.4, 0.0], abs=1e-6)


def test_a_warm_up_as_long_as_the_training_leaves_one_step():
    settings = OptimizerSettings(0.4, warmup_epochs=9, schedule="cosine")
    rate = build_optimizer(settings, network(), steps_per_epoch=4, epochs=1)
    assert rate._learning_rate.get_config() == {
        "peak": 0.4,
        "total_steps": 4,
        "warmup_steps": 3,
        "final_share": 0.0,
    }


def test_gradients_are_clipped_by_their_common_norm():
    first, second = tf.Variable(0.0), tf.Variable(0.0)
    optimizer = GroupedAdamW(0.1, weight_decay=0.0, global_clipnorm=1.0)
    optimizer.apply_gradients([(tf.constant(3.0), first), (tf.constant(4.0), second)])
    # 3 and 4 have the norm 5; a tenth of the clipped gradient is the first moment.
    moments = [float(one) for one in optimizer._momentums]
    assert moments == pytest.approx([0.06, 0.08])


def test_it_is_saved_and_loaded_with_its_rates(tmp_path):
    model = network()
    settings = OptimizerSettings(
        learning_rate=0.01, schedule="cosine", warmup_epochs=1, clip_norm=5.0
    )
    rates = {"small": 0.1}
    model.compile(_built(settings, model, rates=rates), "mse")
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert again.optimizer.rates == [0.1, 0.1, 1.0, 1.0]
    for one in (model, again):
        one.fit(x, y, verbose=0)
    for one, other in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_word_vectors_of_sparse_gradients_move_as_dense_ones():
    def vectors_after(dense):
        table = tf.Variable(np.ones((4, 2), np.float32))
        optimizer = GroupedAdamW(0.1, weight_decay=0.0)
        for rows in ([0, 2, 2], [1, 2, 3]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table, rows) ** 2)
            grad = tape.gradient(loss, table)
            assert isinstance(grad, tf.IndexedSlices)
            grad = tf.convert_to_tensor(grad) if dense else grad
            optimizer.apply_gradients([(grad, table)])
        return table.numpy()

    np.testing.assert_allclose(vectors_after(False), vectors_after(True), atol=1e-7)


@pytest.mark.slow
def test_compiled_by_xla_it_takes_the_same_steps():
    plain, compiled = network(), network()
    kw = {"rates": [0.1, 1, 1, 0.5], "weight_decay": 0.1}
    first = moved(GroupedAdamW(0.01, **kw), plain, steps=3)
    optimizer = GroupedAdamW(0.01, **kw)
    # Keras turns it on by itself where there is a GPU.
    optimizer.jit_compile = True
    second = moved(optimizer, compiled, steps=3)
    for one, other in zip(first, second):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_it_works_under_a_scaled_loss():
    plain, scaled = network(), network()
    kw = {"rates": [0.1, 1, 1, 0.5], "weight_decay": 0.1}
    first = moved(GroupedAdamW(0.01, **kw), plain)
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(GroupedAdamW(0.01, **kw))
    grads = [
        tf.ones_like(one) * optimizer.loss_scale for one in scaled.trainable_variables
    ]
    before = scaled.get_weights()
    unscaled = optimizer.get_unscaled_gradients(grads)
    optimizer.apply_gradients(zip(unscaled, scaled.trainable_variables))
    for new, old, expected in zip(scaled.get_weights(), before, first):
        np.testing.assert_allclose(new - old, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be above 0, got 0"),
        ({"weight_decay": -1}, "weight_decay must be at least 0, got -1"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0, got -1"),
        ({"schedule": "steps"}, "schedule must be constant or cosine, got 'steps'"),
        ({"final_share": 2}, r"final_share must be in \[0, 1\], got 2"),
        ({"clip_norm": 0}, "clip_norm must be above 0, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        OptimizerSettings(**wrong)


def test_a_warm_up_that_leaves_no_step_is_refused():
    with pytest.raises(ValueError, match="below the 5 steps of the training, got 5"):
        WarmupCosine(0.1, 5, warmup_steps=5)
