"""Tensors -> embeddings -> distance: Keras functional models that know shapes alone.

alexnet     AlexNet by preset, and its weights' importer
text_tower  weighted mean of word vectors
encoder     both towers -> unit-length embedding
siamese     one encoder called twice -> L2 distance
losses      the contrastive loss of TensorFlow Addons
"""
