"""A traced function as a new graph, which reads other tensors than it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

# By the `id` of a tensor that was captured: what gives the one to read in its place.
Handles = Mapping[int, Callable[[], tf.Tensor]]


def rewired(function: Any, handles: Handles) -> Any:
    """Returns a concrete function of the same arguments and outputs, by their names.

    Args:
        function: a concrete function of named tensors, each argument a tensor.
        handles: for some of what it captured; all else it goes on to read.
    """
    specs = function.structured_input_signature[1]

    def computed(**raw: tf.Tensor) -> Any:
        read = {
            inner.name: handles.get(id(outer), lambda outer=outer: outer)()
            for outer, inner in captures(function)
        }
        return imported(function, {**_by_tensor(raw), **read})

    return tf.function(computed, autograph=False).get_concrete_function(**specs)


def imported(function: Any, values: Mapping[str, tf.Tensor]) -> Any:
    """Returns a concrete function's outputs, its graph copied into the current one.

    Args:
        function: the concrete function.
        values: of its inputs, captured ones too, by the name of the graph's tensor.
    """
    content = function.graph.as_graph_def()
    inputs = [one.name for one in function.inputs]
    # What is fed is none of the graph's own any more.
    placeholders = {name.partition(":")[0] for name in inputs}
    kept = [node for node in content.node if node.name not in placeholders]
    del content.node[:]
    content.node.extend(kept)
    found = tf.graph_util.import_graph_def(
        content,
        # A tensor of no graph, as a table's is, is first made one of this graph.
        input_map={name: tf.identity(values[name]) for name in inputs},
        return_elements=[one.name for one in function.outputs],
        name="copy",
    )
    return tf.nest.pack_sequence_as(function.structured_outputs, found)


def captures(function: Any) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns what a concrete function captured, with the inputs that it became."""
    captured = function.captured_inputs
    first = len(function.inputs) - len(captured)
    return list(zip(captured, function.inputs[first:]))


def _by_tensor(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns arguments by the names of the tensors that stand for them."""
    return {f"{name}:0": value for name, value in raw.items()}
