"""Index -> the index of its blended embeddings, its views blended likewise."""

from __future__ import annotations

from simprod_tf.index.base import Index
from simprod_tf.matching.blending import Blending, blended_index
from simprod_tf.pipeline.progress import Progress, silent


def blend_index(
    index: Index, blending: Blending, *, progress: Progress = silent
) -> Index:
    """Returns an index over blended embeddings, with a fingerprint of its own.

    Ids, attributes and type stay; a decision does not, since blended distances are
    others. Each view is blended with its own neighbours, by the same settings.

    Args:
        index: The products, with its views; it stays as it is.
        blending: How.
        progress: Told how many of the index and its views are done.

    Raises:
        RecallError: ScaNN's recall is not reached.
    """
    total = 1 + len(index.views)
    progress("Blending", 0, total)
    made = blended_index(index, blending)
    views = {}
    for done, (name, view) in enumerate(index.views.items(), start=1):
        progress("Blending", done, total)
        views[name] = blended_index(view, blending)
    made.attach(views)
    progress("Blending", total, total)
    return made
