"""Pictures and titles -> arrays, in stock TensorFlow ops.

image         decode_pictures: bytes -> pixels, in training and in the export
text          the only tokeniser, and titles -> word ids
word_vectors  Word2Vec by gensim: train, load, prune
inputs        a catalogue as the arrays that the encoder takes
batches       tf.data: pairs of products
"""
