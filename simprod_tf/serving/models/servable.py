"""One loaded version of a model: a SavedModel in a v1 Session.

Requests go straight to the call that `Session.run` ends in: for a signature that costs
next to nothing, `Session.run`'s own Python is twenty times as dear as TensorFlow's run.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.framework.ops import dismantle_graph
from tensorflow.python.saved_model.loader_impl import SavedModelLoader

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.export.warmup import read_warmup
from simprod_tf.index.scann_files import require_scann
from simprod_tf.manifest import MANIFEST_NAME

_SCANN_OPS = "Scann>"
_DEFAULT_SIGNATURE = "serving_default"
# Loops of functions and of version 1's frames, and what runs through a data set.
_LOOP_OPS = {
    *("While", "StatelessWhile", "Enter", "RefEnter"),
    *("ReduceDataset", "DatasetToSingleElement", "IteratorGetNext"),
}
# Three years. TensorFlow counts them in nanoseconds: what overflows is no time at all.
_LONGEST_MS = 10**11
# What TensorFlow's loader raises for files that are missing, cut or of another kind.
_DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError)

_log = logging.getLogger(__name__)


def _options_buffer(**options: int) -> Any:
    """Returns RunOptions as the C API takes them; TF_DeleteBuffer frees it."""
    content = tf.compat.v1.RunOptions(**options).SerializeToString()
    return pywrap_tf_session.TF_NewBufferFromString(content)


# -1: no hand-over to TensorFlow's threads, which costs more than a small graph itself.
_IN_CALLING_THREAD = _options_buffer(inter_op_thread_pool=-1)


@dataclass(frozen=True)
class SessionOptions:
    """Sizes of TensorFlow's thread pools, 0 = as many as there are cores.

    The pools belong to the process: what the first session asks for holds.
    """

    inter_op_threads: int = 0
    intra_op_threads: int = 0


@dataclass(frozen=True)
class _Tensors:
    """The tensors of a signature by their names in it, as the C API takes them."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


class Servable:
    """A loaded version. `run` may be called by many threads, and not after `close`.

    `has_loops` says that a run may take longer than the sizes of its inputs tell.
    """

    def __init__(
        self,
        name: str,
        version: int,
        *,
        folder: Path,
        session: tf.compat.v1.Session,
        meta_graph: MetaGraphDef,
    ) -> None:
        """Takes over a session with a loaded model; use `load`."""
        self.name, self.version, self.folder = name, version, folder
        # Copies: a part of a message keeps the whole in memory, weights in it too.
        self.signatures: Mapping[str, SignatureDef] = {
            key: copy.deepcopy(signature)
            for key, signature in meta_graph.signature_def.items()
        }
        self.has_loops = not _LOOP_OPS.isdisjoint(_ops(meta_graph))
        self.manifest = _manifest(folder)
        self._session = session
        self._closing = threading.Lock()
        # Once, when the graph is whole; Session.run does it in every call.
        session._extend_graph()
        self._tensors = {
            key: _tensors_of(signature, session.graph)
            for key, signature in self.signatures.items()
        }

    @classmethod
    def load(
        cls,
        name: str,
        version: int,
        folder: Path,
        *,
        options: SessionOptions = SessionOptions(),
        only: str | None = None,
    ) -> Servable:
        """Returns a version, loaded and warmed by the requests that come with it.

        Args:
            name: of the model.
            version: its number.
            folder: of the version: a SavedModel.
            options: sizes of thread pools.
            only: the one signature that will be run; by default all are warmed.

        Raises:
            ModelError: it cannot be loaded, or a warm-up request fails.
            MissingLibraryError: it needs ScaNN's ops, and ScaNN cannot be imported.
        """
        session = tf.compat.v1.Session(graph=tf.Graph(), config=_config(options))
        try:
            meta_graph = _load_into(session, folder)
            servable = cls(
                name, version, folder=folder, session=session, meta_graph=meta_graph
            )
            _warm_up(servable, only)
        except BaseException:
            _free(session)
            raise
        return servable

    def run(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        *,
        timeout: float | None = None,
    ) -> list[np.ndarray]:
        """Returns the named outputs of a signature, in their order.

        Without a timeout it runs in the calling thread: that is cheapest, and only what
        a single op divides runs in parallel. With one it runs in TensorFlow's threads,
        which can be told to stop.

        Args:
            signature: its key.
            inputs: arrays by their names in the signature, strings as dtype object.
            outputs: names in the signature.
            timeout: seconds after which it is stopped.

        Raises:
            tf.errors.OpError: of TensorFlow's runtime, DEADLINE_EXCEEDED after timeout.
            ValueError: the signature, an input or an output is not there.
        """
        try:
            tensors = self._tensors[signature]
            feeds = {tensors.inputs[key]: value for key, value in inputs.items()}
            fetches = [tensors.outputs[key] for key in outputs]
        except KeyError as error:
            raise ValueError(
                f"Model {self.name}, version {self.version}, signature {signature!r} "
                f"has no {error}."
            ) from error
        if timeout is None:
            return self._run(feeds, fetches, _IN_CALLING_THREAD)
        if timeout <= 0:
            raise tf.errors.DeadlineExceededError(
                None, None, "The deadline passed before the run began."
            )
        # 0 would mean no timeout.
        milliseconds = max(1, int(min(timeout * 1000, _LONGEST_MS)))
        options = _options_buffer(timeout_in_ms=milliseconds)
        try:
            return self._run(feeds, fetches, options)
        finally:
            pywrap_tf_session.TF_DeleteBuffer(options)

    def close(self) -> None:
        """Frees the model's memory; the second time it does nothing."""
        with self._closing:
            if self._session is None:
                return
            session, self._session = self._session, None
            self._tensors = {}
        _free(session)

    def _run(
        self, feeds: dict[Any, np.ndarray], fetches: list[Any], options: Any
    ) -> list[np.ndarray]:
        values = pywrap_tf_session.TF_SessionRun_wrapper(
            self._session._session, options, feeds, fetches, [], None
        )
        return [
            value if isinstance(value, np.ndarray) else _scalar(value)
            for value in values
        ]


def _config(options: SessionOptions) -> tf.compat.v1.ConfigProto:
    config = tf.compat.v1.ConfigProto(
        inter_op_parallelism_threads=options.inter_op_threads,
        intra_op_parallelism_threads=options.intra_op_threads,
        allow_soft_placement=True,
    )
    # Several versions share a GPU while one takes over from another.
    config.gpu_options.allow_growth = True
    return config


def _load_into(session: tf.compat.v1.Session, folder: Path) -> MetaGraphDef:
    """Loads a SavedModel into a session and returns its graph with its signatures."""
    try:
        loader = SavedModelLoader(str(folder))
        meta_graph = loader.get_meta_graph_def_from_tags(["serve"])
        if _needs_scann(meta_graph):
            _register_scann(folder)
        with session.graph.as_default():
            loader.load(session, ["serve"])
    except (*_DAMAGE, tf.errors.OpError) as error:
        raise ModelError(f"{folder} cannot be loaded: {error}") from error
    return meta_graph


def _needs_scann(meta_graph: MetaGraphDef) -> bool:
    """Whether a graph has an op of ScaNN's, which TensorFlow itself does not know."""
    return any(op.startswith(_SCANN_OPS) for op in _ops(meta_graph))


def _ops(meta_graph: MetaGraphDef) -> set[str]:
    """Returns the types of all ops of a graph and its functions."""
    graph = meta_graph.graph_def
    bodies = [graph.node, *(body.node_def for body in graph.library.function)]
    return {node.op for body in bodies for node in body}


def _register_scann(folder: Path) -> None:
    try:
        # Its import registers the ops, too.
        require_scann()
    except MissingLibraryError as error:
        raise MissingLibraryError(
            f"{folder} needs ScaNN's ops. ScaNN cannot be imported "
            f"({error.__cause__}); it exists for Linux on x86-64 with TensorFlow 2.15: "
            "pip install 'scann~=1.3.0'. Or export exact search, which every server "
            "can load."
        ) from error


def _warm_up(servable: Servable, only: str | None) -> None:
    """Runs the requests that come with a version, of one signature or of all.

    TensorFlow optimises a signature's graph when it first runs; that run can take a
    thousand times as long as those that follow.
    """
    count = 0
    for count, request in enumerate(read_warmup(servable.folder), start=1):
        key = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        if only not in (None, key):
            continue
        try:
            inputs = {
                name: tf.make_ndarray(proto) for name, proto in request.inputs.items()
            }
            outputs = request.output_filter or servable.signatures[key].outputs
            servable.run(key, inputs, list(outputs))
        except KeyError as error:
            fault = f"there is no signature {error}"
        except (ValueError, TypeError) as error:
            fault = str(error)
        except tf.errors.OpError as error:
            fault = str(error.message)
        else:
            continue
        raise ModelError(f"{servable.folder}: warm-up request {count} fails: {fault}")
    _log.debug("%s: %d warm-up requests", servable.folder, count)


def _tensors_of(signature: SignatureDef, graph: tf.Graph) -> _Tensors:
    """Returns the tensors of a signature; those that are no tensors are left out."""
    return _Tensors(_found(signature.inputs, graph), _found(signature.outputs, graph))


def _found(infos: Mapping[str, Any], graph: tf.Graph) -> dict[str, Any]:
    """Returns tensors by name, less operations and composites of several tensors."""
    found = {}
    for key, info in infos.items():
        with contextlib.suppress(KeyError, ValueError):
            found[key] = graph.get_tensor_by_name(info.name)._as_tf_output()
    return found


def _scalar(value: Any) -> np.ndarray:
    """Returns an array of no dimensions for a scalar of Python's or NumPy's."""
    return np.array(value, dtype=object if isinstance(value, bytes) else None)


def _manifest(folder: Path) -> dict[str, Any]:
    """Returns our manifest, {} where there is none: other models have none."""
    try:
        content = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if not isinstance(error, FileNotFoundError):
            _log.warning("%s cannot be read: %s", folder / MANIFEST_NAME, error)
        return {}
    return content if isinstance(content, dict) else {}


def _free(session: tf.compat.v1.Session) -> None:
    """Closes a session and gives the memory of its graph and variables back."""
    graph = session.graph
    session.close()
    # Graphs are made of cycles. Python's collector would find them, late, and it
    # stops all requests while it looks.
    dismantle_graph(graph)
    del session, graph
    # The C library keeps what was freed for its own later use.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
