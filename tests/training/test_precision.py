"""Mixed precision, and the way back to float32."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.features.batches import pair_batches
from simprod_tf.model.losses import contrastive_loss
from simprod_tf.model.siamese import build_siamese
from simprod_tf.training.layer_path import layer_paths
from simprod_tf.training.precision import as_float32, policy_of, precision


def nested():
    """A tower with batch normalisation inside a model."""
    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    x = tf.keras.Input((6,))
    y = layers.BatchNormalization(name="norm")(layers.Dense(5, "relu", name="fc")(x))
    tower = tf.keras.Model(x, y, name="small")
    inputs = tf.keras.Input((6,), name="pixels")
    return tf.keras.Model(
        {"pixels": inputs}, layers.Dense(3, name="projection")(tower(inputs))
    )


def kinds(model):
    return {one.compute_dtype for one in layer_paths(model).values()}


def test_the_policy_holds_in_the_block_alone():
    with precision("mixed_bfloat16"):
        inside = nested()
        with pytest.raises(KeyError), precision("float32"):
            raise KeyError
        assert kinds(nested()) == {"bfloat16"}
    assert kinds(inside) == {"bfloat16"}
    assert {one.dtype for one in inside.weights} == {tf.float32}
    assert kinds(nested()) == {"float32"}


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_back_in_float32_it_is_the_model_built_in_float32(name, tmp_path):
    plain = nested()
    with precision(name):
        mixed = nested()
    rng = np.random.default_rng(0)
    plain.set_weights([rng.uniform(0.5, 1, one.shape) for one in plain.get_weights()])
    mixed.set_weights(plain.get_weights())
    x = {"pixels": rng.normal(size=(7, 6)).astype(np.float32)}
    expected = plain(x).numpy()
    found = as_float32(mixed)
    assert kinds(found) == {"float32"}
    assert list(layer_paths(found)) == list(layer_paths(mixed))
    np.testing.assert_allclose(found(x), expected, rtol=1e-6)
    assert not np.allclose(tf.cast(mixed(x), tf.float32), expected, rtol=1e-5)
    found.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(x), expected, rtol=1e-6)
    assert mixed.output.dtype == policy_of(name).compute_dtype


def test_an_encoder_learns_in_bfloat16_and_goes_back(toy):
    with precision("mixed_bfloat16"):
        head = toy.toy_head()
        model = build_siamese(head)
    model.compile(tf.keras.optimizers.Adam(0.01), contrastive_loss(1.0))
    batches = pair_batches(toy.toy_arrays(), toy.toy_catalog(), toy.toy_pairs())
    history = model.fit(batches, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    plain = as_float32(head)
    mixed = tf.cast(head(toy.toy_arrays()), tf.float32)
    exact = plain(toy.toy_arrays()).numpy()
    np.testing.assert_allclose(exact, mixed, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1, atol=1e-5)


def test_without_a_gpu_it_warns(monkeypatch, caplog):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with caplog.at_level(logging.WARNING), precision("float32"):
        pass
    assert not caplog.records
    with precision("mixed_float16"):
        pass
    assert "mixed_float16 gains speed on GPUs, and there is none" in caplog.text


def test_another_precision_is_refused():
    with pytest.raises(
        ValueError, match="one of float32, mixed_float16, mixed_bfloat16, got 'half'"
    ):
        policy_of("half")
