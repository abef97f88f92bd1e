"""Tensors -> embeddings -> distance: Keras functional models that know shapes alone.

alexnet, squeezenet  the networks; architecture their sizes, picture_layers their layers
weights              weights with their preprocessing as one .npz; with torch_weights,
                     caffe_weights and keras_weights, which read other formats
image_tower          a tower by name: ours, keras_applications, or a user_model
text_tower           weighted mean of word vectors
attributes           categories and numbers as vectors
source               what an encoder joins: each gives features and presence
encoder              sources -> unit-length embedding
siamese              one encoder called twice -> L2 distance
losses               the contrastive loss of TensorFlow Addons
"""
