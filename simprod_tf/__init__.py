"""Finds the products of a catalogue that are the same or similar.

The stages, in the order in which data flows; each is a package of its own:

    data         catalogues, event logs and pairs: tables in, tables out
    features     pictures and titles -> arrays, in TensorFlow ops
    model        arrays -> unit-length embeddings -> distance
    training     fits the encoder on pairs
    export       the encoder as a SavedModel, and back
    index        embeddings -> nearest products
    matching     neighbours -> decisions
    evaluation   metrics with intervals, and the report
    engine       where the work runs
    cli          one sub-command a stage

Nothing is imported here, so that no stage loads TensorFlow by accident.
"""

__version__ = "0.1.0"
