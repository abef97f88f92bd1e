"""What an exported pair decider computes: two batches of texts -> probabilities."""

from __future__ import annotations

import tensorflow as tf

from simprod_tf.features.text import tokenize


class ExportedPairDecider(tf.Module):
    """What the SavedModel holds: the signature `decide`, and the model that it reads.

    Attributes:
        decide: the concrete function, traced.
        variables_read: the model's weights.
    """

    def __init__(self, model: tf.keras.Model, *, max_words: int) -> None:
        """Traces the function.

        Args:
            model: `simprod_tf.model.cross_attention.build_cross_attention`'s.
            max_words: of a text; what is behind is not read.
        """
        super().__init__(name="pair_decider")
        # Behind a function the module does not track it: TensorFlow would trace and
        # save each Keras layer again.
        self._untracked = lambda: model
        self._max_words = max_words
        self.variables_read = list(model.variables)
        texts = {
            name: tf.TensorSpec([None], tf.string, name)
            for name in ("title", "other_title")
        }
        self.decide = tf.function(self._decide, autograph=False)
        self.function = self.decide.get_concrete_function(**texts)

    def _decide(self, title: tf.Tensor, other_title: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `probability` [B] float32 of [B] UTF-8 texts."""
        count = tf.shape(title)[0]
        same = tf.debugging.assert_equal(
            count, tf.shape(other_title)[0], "title and other_title differ in length"
        )
        with tf.control_dependencies([] if same is None else [same]):
            texts = tf.concat([title, other_title], axis=0)
        # As one batch: tokenising costs a call of each rule, not of each text.
        words = tokenize(texts)
        sides = [self._padded(words[:count]), self._padded(words[count:])]
        logit = self._untracked()(sides, training=False)
        return {"probability": tf.sigmoid(logit)[:, 0]}

    def _padded(self, words: tf.RaggedTensor) -> tf.Tensor:
        """Returns [B, W] string, "" behind the last word, W at least 1."""
        longest = tf.reduce_max(tf.concat([words.row_lengths(), [1]], axis=0))
        width = tf.minimum(longest, self._max_words)
        return words.to_tensor("", shape=tf.stack([-1, width]))
