"""Dissimilar pairs to train on that nobody labelled; loads no TensorFlow.

guards       what may not be taken for dissimilar, by reason
hard         the nearest products that are not known to be similar
random       pairs drawn at random, within a category or not
"""
