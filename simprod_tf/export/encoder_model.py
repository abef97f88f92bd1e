"""What an exported encoder computes: raw tensors of products -> embeddings."""

from __future__ import annotations

import tensorflow as tf

from simprod_tf.features.image import PictureSettings, decode_pictures
from simprod_tf.features.product_inputs import InputOps
from simprod_tf.trained import TrainedEncoder, pictures_of


class ExportedEncoder(tf.Module):
    """What the SavedModel holds: raw tensors of products -> embeddings."""

    def __init__(self, trained: TrainedEncoder) -> None:
        """Takes the model and builds its look-up tables."""
        super().__init__(name="encoder")
        self.model = trained.model
        self.input_ops = InputOps(trained.inputs)
        self._pictures = {one.name: pictures_of(one) for one in trained.towers}
        specs = {
            "image_bytes": tf.TensorSpec([None], tf.string, "image_bytes"),
            "title": tf.TensorSpec([None], tf.string, "title"),
            **trained.inputs.signature(),
        }
        self.embed = tf.function(self._embed).get_concrete_function(**specs)

    def _embed(self, **raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `embedding`, [B, D] float32, unit length."""
        inputs = self.input_ops(raw)
        decoded: dict[PictureSettings, tuple[tf.Tensor, tf.Tensor]] = {}
        for name, settings in self._pictures.items():
            if settings not in decoded:
                decoded[settings] = decode_pictures(raw["image_bytes"], settings)
            pixels, has_image = decoded[settings]
            inputs[f"{name}_pixels"] = tf.cast(pixels, tf.float32)
            inputs["has_image"] = tf.cast(has_image, tf.float32)[:, tf.newaxis]
        return {"embedding": self.model(inputs, training=False)}
