"""Finds the products of a catalogue that are the same or similar.

The stages, in the order in which data flows; each is a package of its own:

    data         catalogues, event logs and pairs: tables in, tables out
    features     pictures and titles -> arrays, in TensorFlow ops
    model        arrays -> unit-length embeddings -> distance
    negatives    dissimilar pairs that nobody labelled
    training     fits the encoder, by Keras' own fit
    export       the encoder as a SavedModel, and back
    index        embeddings -> nearest products
    matching     neighbours -> decisions
    evaluation   metrics with intervals, and the report
    pipeline     the stages on files
    engine       where the work runs
    cli          one sub-command a stage

Nothing is imported here, so that no stage loads TensorFlow by accident.
"""

__version__ = "0.1.0"
