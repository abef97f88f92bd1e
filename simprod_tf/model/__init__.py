"""Tensors -> embeddings -> distance: Keras functional models that know shapes alone.

alexnet, squeezenet  the networks; architecture their sizes, picture_layers their layers
weights              weights with their preprocessing as one .npz; with torch_weights,
                     caffe_weights and keras_weights, which read other formats
image_tower          a tower by name: ours, keras_applications, or a user_model
text_tower           weighted mean of word vectors
attributes           categories and numbers as vectors
source               what an encoder joins: each gives features and presence
encoder              sources -> unit-length embedding
siamese              one encoder -> L2 distance, of twin pairs or of all in a batch
losses               on distances: contrastive, double margin, N-pairs
triplet              triplet losses, mined in the batch
arcface              training by classes
cross_attention      the words of two titles -> log-odds that they are one product;
                     word_table how alike two words are
regularisation       dropout whose draws a restarted training repeats
"""
