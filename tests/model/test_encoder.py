"""The encoder: unit length, missing modalities, shared weights, finite gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.encoder import (
    EncoderSettings,
    MissingVector,
    UnitLength,
    build_encoder,
    build_head,
)
from simprod_tf.model.source import (
    CategorySource,
    NumberSource,
    TextSource,
    VectorSource,
)

VECTORS = np.array([[3, 0, 0], [0, 4, 0], [0, 0, 1]], np.float32)
IMAGE = VectorSource("tower", 48, "image")
TEXT = TextSource(VECTORS)


def tower():
    image = tf.keras.Input([4, 4, 3])
    return tf.keras.Model(image, tf.keras.layers.Flatten()(image))


def products(seed=0, size=4):
    rng = np.random.default_rng(seed)
    return {
        "tower_pixels": (rng.random((size, 4, 4, 3)) * 255).astype(np.float32),
        "has_image": np.array([[1], [0], [1], [0]], np.float32)[:size],
        "word_ids": np.array([[1, 2], [3, 0], [0, 0], [0, 0]], np.int32)[:size],
    }


@pytest.fixture
def encoder():
    tf.keras.utils.set_random_seed(0)
    settings = EncoderSettings(embedding_dim=8, hidden_units=16, modality_dropout=0.5)
    return build_encoder({"tower": tower()}, build_head([IMAGE, TEXT], settings))


def test_unit_length_keeps_zero_and_its_gradient_finite():
    x = tf.Variable([[3.0, 4.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        unit = UnitLength()(x)
        loss = tf.reduce_sum(unit)
    assert np.allclose(unit.numpy(), [[0.6, 0.8], [0, 0]])
    assert np.isfinite(tape.gradient(loss, x).numpy()).all()


def test_a_missing_modality_has_its_own_vector():
    layer = MissingVector()
    layer([tf.zeros([1, 2]), tf.zeros([1, 1])])
    layer.set_weights([np.array([7.0, 8.0], np.float32)])
    found = layer([tf.constant([[1.0, 2], [3, 4]]), tf.constant([[1.0], [0]])])
    assert found.numpy().tolist() == [[1, 2], [7, 8]]


def test_embeddings_are_unit_or_zero_where_nothing_is_known(encoder):
    lengths = np.linalg.norm(encoder(products()).numpy(), axis=1)
    assert np.allclose(lengths, [1, 1, 1, 0], atol=1e-5)


def test_raw_features_are_the_normalised_parts_side_by_side():
    sources = [VectorSource("tower", 2, "image"), TEXT]
    head = build_head(sources, EncoderSettings(embedding_dim=0))
    found = head(
        {
            "tower_features": np.array([[3, 4], [9, 9], [5, 12]], np.float32),
            "has_image": np.array([[1], [0], [1]], np.float32),
            "word_ids": np.array([[1], [2], [0]], np.int32),
        }
    ).numpy()
    half = 1 / np.sqrt(2)
    assert np.allclose(found[0], [0.6 * half, 0.8 * half, half, 0, 0])
    assert np.allclose(found[1], [0, 0, 0, 1, 0])
    assert np.allclose(found[2], [5 / 13, 12 / 13, 0, 0, 0])


@pytest.mark.parametrize("source", [IMAGE, TEXT])
def test_one_modality_is_enough(source):
    head = build_head([source], EncoderSettings(embedding_dim=4, modality_dropout=0.9))
    model = build_encoder({"tower": tower()} if source is IMAGE else {}, head)
    wanted = {"tower_pixels", "has_image"} if source is IMAGE else {"word_ids"}
    assert set(model.input) == wanted
    inputs = {name: x for name, x in products().items() if name in wanted}
    found = model(inputs, training=True).numpy()
    assert np.allclose(np.linalg.norm(found[:1], axis=1), 1)


def test_every_kind_of_source_can_be_joined():
    sources = [
        VectorSource("alex", 2, "image"),
        VectorSource("squeeze", 3, "image"),
        TEXT,
        VectorSource("clip", 2, "clip"),
        CategorySource("brand", 3, dim=4),
        NumberSource("price", [1.0, 2.0, 4.0]),
    ]
    raw = build_head(sources, EncoderSettings(embedding_dim=0))
    assert raw.output_shape == (None, 2 + 3 + 3 + 2 + 4 + 3)
    assert set(raw.input) == {
        "alex_features", "squeeze_features", "has_image", "word_ids", "clip_features",
        "has_clip", "brand_id", "price_number", "has_price",
    }  # fmt: skip
    nothing = {
        name: np.zeros([1, *x.shape[1:].as_list()] if x.shape[1] else [1, 2], np.int32)
        for name, x in raw.input.items()
    }
    assert (raw(nothing).numpy() == 0).all()
    price = {**nothing, "price_number": np.array([[3.0]]), "has_price": np.ones((1, 1))}
    half = np.sqrt(0.5)
    assert np.allclose(raw(price).numpy()[0, -3:], [0, half, half])
    learned = build_head(sources, EncoderSettings(embedding_dim=4))
    lengths = [np.linalg.norm(learned(one).numpy()) for one in (nothing, price)]
    assert np.allclose(lengths, [0, 1], atol=1e-6)


def test_sources_need_names_and_there_must_be_some():
    with pytest.raises(ValueError, match="pictures, titles or attributes; got none"):
        build_head([], EncoderSettings())
    with pytest.raises(ValueError, match="names of their own"):
        build_head([IMAGE, IMAGE], EncoderSettings())


def test_modality_dropout_is_in_training_alone(encoder):
    inputs = {name: np.repeat(x[:1], 200, axis=0) for name, x in products().items()}
    assert len(np.unique(encoder(inputs).numpy().round(5), axis=0)) == 1
    found = encoder(inputs, training=True).numpy()
    assert np.isfinite(found).all()
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_text_weights_reach_the_layer():
    text = TextSource(
        VECTORS, np.array([1, 2, 0, 5], np.float32), np.array([0, 1, 0]), buckets=1
    )
    layer = build_head([text], EncoderSettings(embedding_dim=0)).get_layer(
        "word_vector_mean"
    )
    mean, has = layer(np.array([[1, 2], [3, 0]], np.int32))
    # (1 (3, 0, 0) + 2 (0, 4, 0)) / 3, without what lies along (0, 1, 0).
    assert np.allclose(mean.numpy(), [[1, 0, 0], [0, 0, 0]])
    assert has.numpy().tolist() == [[1], [0]]


def test_unknown_words_begin_as_long_as_known_ones():
    head = build_head([TextSource(VECTORS, buckets=400)], EncoderSettings())
    buckets = head.get_layer("word_vector_mean").bucket_vectors.numpy()
    assert buckets.std() == pytest.approx(VECTORS.std(), rel=1e-5)


def test_frozen_words_are_not_trained():
    for trained in (True, False):
        head = build_head([TextSource(VECTORS, train_words=trained)], EncoderSettings())
        sizes = [tuple(weight.shape) for weight in head.trainable_weights]
        assert (VECTORS.shape in sizes) == trained


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="must be at least 0, got -1"):
        EncoderSettings(embedding_dim=-1)
    for name in ("dropout", "modality_dropout"):
        with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\), got 1"):
            EncoderSettings(**{name: 1})


def test_a_fusion_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="one of normalise, concatenate, got 'sum'"):
        EncoderSettings(fusion="sum")


def test_concatenated_features_keep_their_lengths_beside_each_other():
    sources = [VectorSource("tower", 2, "image"), TEXT]
    head = build_head(sources, EncoderSettings(embedding_dim=0, fusion="concatenate"))
    found = head(
        {
            "tower_features": np.array([[3, 4], [9, 9]], np.float32),
            "has_image": np.array([[1], [0]], np.float32),
            "word_ids": np.array([[2], [1]], np.int32),
        }
    ).numpy()
    # (3, 4) beside (0, 4, 0): the length is sqrt(41).
    assert np.allclose(found[0], np.array([3, 4, 0, 4, 0]) / np.sqrt(41))
    assert np.allclose(found[1], [0, 0, 1, 0, 0])


def test_the_projection_sees_concatenated_features_at_unit_length():
    settings = EncoderSettings(embedding_dim=4, dropout=0.0, fusion="concatenate")
    head = build_head([VectorSource("tower", 2, "image"), TEXT], settings)
    fused = tf.keras.Model(head.input, head.get_layer("fused").output)
    found = fused(
        {
            "tower_features": np.array([[3, 4]], np.float32),
            "has_image": np.ones((1, 1), np.float32),
            "word_ids": np.array([[2]], np.int32),
        }
    ).numpy()
    assert np.allclose(found[0, :5], np.array([3, 4, 0, 4, 0]) / np.sqrt(41))
    assert found[0, 5:].tolist() == [1, 1]


def test_batch_norm_learns_the_projections_mean_and_serves_by_it(tmp_path):
    tf.keras.utils.set_random_seed(0)
    settings = EncoderSettings(embedding_dim=3, dropout=0.0, batch_norm=True)
    head = build_head([VectorSource("tower", 4, "image")], settings)
    rng = np.random.default_rng(0)
    inputs = {
        "tower_features": (rng.random((50, 4)) + 1).astype(np.float32),
        "has_image": np.ones((50, 1), np.float32),
    }
    before = head(inputs).numpy()
    for _ in range(200):
        trained = head(inputs, training=True).numpy()
    after = head(inputs).numpy()
    assert np.abs(after - before).max() > 0.1
    # The moving mean and variance have become the batch's.
    assert np.allclose(after, trained, atol=1e-3)
    assert np.allclose(np.linalg.norm(after, axis=1), 1, atol=1e-5)
    # A product's answer does not hang on the others asked for with it.
    one = {name: x[:1] for name, x in inputs.items()}
    assert np.allclose(head(one).numpy(), after[:1], atol=1e-6)
    nothing = {name: np.zeros_like(x) for name, x in one.items()}
    assert (head(nothing).numpy() == 0).all()
    head.save(tmp_path / "head.keras")
    again = tf.keras.models.load_model(tmp_path / "head.keras")
    assert (again(inputs).numpy() == after).all()


@pytest.fixture
def bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("fusion", ["normalise", "concatenate"])
def test_mixed_precision_gives_float32_embeddings_of_unit_length(
    bfloat16, batch_norm, fusion
):
    sources = [VectorSource("tower", 48, "image"), VectorSource("clip", 6, "clip")]
    settings = EncoderSettings(
        8, hidden_units=16, modality_dropout=0.5, batch_norm=batch_norm, fusion=fusion
    )
    head = build_head(sources, settings)
    assert head.get_layer("projection").compute_dtype == "bfloat16"
    rng = np.random.default_rng(0)
    inputs = {
        "tower_features": rng.normal(size=(30, 48)).astype(np.float32),
        "clip_features": rng.normal(size=(30, 6)).astype(np.float32),
        "has_image": np.ones((30, 1), np.float32),
        "has_clip": np.ones((30, 1), np.float32),
    }
    for training in (False, True):
        found = head(inputs, training=training)
        assert found.dtype == tf.float32
        assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_saved_encoder_answers_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    again = tf.keras.models.load_model(tmp_path / "encoder.keras")
    assert (again(products()).numpy() == encoder(products()).numpy()).all()
