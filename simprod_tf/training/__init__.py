"""Fits encoders with Keras' own `fit`.

settings     what a training is told, and what an epoch came to
fit          fit_encoder: labelled pairs, or classes -> a fitted encoder
objective    name of a loss -> its Keras model and its batches
pair_decider  fits the cross-attention model; with pair_decider_settings, pair_batches
             and title_changes
negative_pool  negatives drawn while training, anew every few epochs
optimizer    AdamW, a rate for each part of the model, warm-up, cosine, clipping
freezing     which layers are trained; layer_path: names of layers in nested models
callbacks    measures at each epoch's end, the clock's hand
embedder     embeds a catalogue's rows by the present weights
stopping     early stopping that survives being killed
projector    embeddings for TensorBoard's Embedding Projector
strategy     several devices and machines
precision    mixed precision, and back to float32
"""
