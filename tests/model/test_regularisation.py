"""What is left out in training: how much, when, and the same again after a restart."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.encoder import EncoderSettings, build_encoder, build_head
from simprod_tf.model.regularisation import (
    EpochDropout,
    ModalityDropout,
    reset_generators,
)
from simprod_tf.model.siamese import build_siamese
from simprod_tf.model.source import VectorSource


def small_head():
    sources = [VectorSource("tower", 6, "image"), VectorSource("clip", 5, "clip")]
    settings = EncoderSettings(4, dropout=0.5, modality_dropout=0.5)
    tf.keras.utils.set_random_seed(0)
    return build_head(sources, settings)


def products(size=40):
    rng = np.random.default_rng(0)
    return {
        "tower_features": rng.normal(size=(size, 6)).astype(np.float32),
        "has_image": np.ones((size, 1), np.float32),
        "clip_features": rng.normal(size=(size, 5)).astype(np.float32),
        "has_clip": np.ones((size, 1), np.float32),
    }


def test_modality_dropout_takes_at_most_one_of_several():
    layer = ModalityDropout(0.5)
    flags = np.tile([[1, 1, 1], [0, 1, 1], [0, 1, 0], [0, 0, 0]], (500, 1))
    flags = flags.astype(np.float32)
    assert np.array_equal(layer(flags, training=False).numpy(), flags)
    kept = layer(flags, training=True).numpy()
    lost = (flags - kept).reshape(500, 4, 3)
    assert set(np.unique(lost)) == {0, 1}
    assert lost.sum(axis=2).max() == 1
    assert (lost[:, 2:] == 0).all()
    # Half the products with several, each of their modalities as often.
    assert np.allclose(lost[:, 0].mean(axis=0), 1 / 6, atol=0.05)
    assert np.allclose(lost[:, 1].mean(axis=0), [0, 1 / 4, 1 / 4], atol=0.06)


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    x = np.full((100, 100), 3, np.float32)
    layer = EpochDropout(0.25)
    assert np.array_equal(layer(x, training=False).numpy(), x)
    found = layer(x, training=True).numpy()
    assert np.allclose(np.unique(found), [0, 4])
    assert (found == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert not np.array_equal(found, layer(x, training=True).numpy())
    assert np.array_equal(EpochDropout(0.0)(x, training=True).numpy(), x)


def test_dropout_keeps_the_type_of_what_comes():
    x = tf.ones([4, 4], tf.bfloat16)
    assert EpochDropout(0.5, dtype="bfloat16")(x, training=True).dtype == tf.bfloat16


def test_an_epochs_draws_depend_on_seed_and_epoch_alone():
    head, inputs = small_head(), products()

    def draws(seed, epoch, of=head):
        reset_generators(of, seed=seed, epoch=epoch)
        return [of(inputs, training=True).numpy() for _ in range(2)]

    first, second = draws(3, 5)
    assert not np.allclose(first, second)
    draws(3, 6)
    # Later epochs have been; the model is another of the same make.
    for again in (draws(3, 5), draws(3, 5, of=small_head())):
        assert np.array_equal(again, [first, second])
    assert not np.allclose(draws(4, 5)[0], first)
    assert not np.allclose(draws(3, 6)[0], first)


def test_layers_of_models_inside_a_model_are_reset_each_differently():
    siamese = build_siamese(build_encoder({}, small_head()))
    reset_generators(siamese, seed=0, epoch=0)
    head = siamese.get_layer("encoder").get_layer("head")
    layers = [head.get_layer(name) for name in ("drop_modality", "drop_fused")]
    states = [layer.generator.state.numpy().tolist() for layer in layers]
    assert states[0] != states[1]
    for layer in layers:
        layer.generator.uniform([3])
    reset_generators(siamese, seed=0, epoch=0)
    assert states == [layer.generator.state.numpy().tolist() for layer in layers]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_training_taken_up_again_ends_in_the_same_weights(jit_compile, tmp_path):
    class Reset(tf.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            reset_generators(self.model, seed=1, epoch=epoch)

    def fit(head, first, last):
        if not head.optimizer:
            head.compile("sgd", "mse", jit_compile=jit_compile)
        target = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
        fitting = {"batch_size": 20, "shuffle": False, "callbacks": [Reset()]}
        head.fit(
            products(), target, initial_epoch=first, epochs=last, verbose=0, **fitting
        )
        return head.get_weights()

    whole = fit(small_head(), 0, 4)
    half = small_head()
    fit(half, 0, 2)
    half.save(tmp_path / "half.keras")
    again = fit(tf.keras.models.load_model(tmp_path / "half.keras"), 2, 4)
    for one, other in zip(whole, again):
        assert np.array_equal(one, other)


def test_generators_are_in_checkpoints_but_not_among_the_weights(tmp_path):
    head = small_head()
    inside = [layer.name for layer in head.layers if hasattr(layer, "generator")]
    assert sorted(inside) == ["drop_fused", "drop_modality"]
    assert all(weight.dtype == tf.float32 for weight in head.weights)
    assert not any(head.get_layer(name).weights for name in inside)
    path = tf.train.Checkpoint(model=head).save(tmp_path / "checkpoint")
    kept = [name for name, _ in tf.train.list_variables(path) if "generator" in name]
    assert len(kept) == 2
    first = head(products(), training=True).numpy()
    tf.train.Checkpoint(model=head).restore(path)
    assert np.array_equal(head(products(), training=True).numpy(), first)


def test_a_saved_head_loads_and_draws_alike(tmp_path):
    head = small_head()
    head.save(tmp_path / "head.keras")
    again = tf.keras.models.load_model(tmp_path / "head.keras")
    assert np.array_equal(again(products()).numpy(), head(products()).numpy())
    found = []
    for model in (head, again):
        reset_generators(model, seed=2, epoch=7)
        found.append(model(products(), training=True).numpy())
    assert np.array_equal(*found)


def test_it_works_in_a_distribution_strategy():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        head = small_head()
        head.compile("sgd", "mse")

    def draw():
        reset_generators(head, seed=2, epoch=1)
        step = tf.function(lambda: head(products(), training=True))
        return strategy.run(step).numpy()

    first = draw()
    assert np.array_equal(draw(), first)
    target = np.zeros((40, 4), np.float32)
    loss = head.fit(products(), target, verbose=0).history["loss"][0]
    assert np.isfinite(loss)


def test_seeds_and_epochs_below_zero_are_refused():
    with pytest.raises(ValueError, match="at least 0, got -1 and 2"):
        reset_generators(small_head(), seed=-1, epoch=2)
