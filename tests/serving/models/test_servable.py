"""One loaded version: what it answers, how it fails, and that it frees its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from simprod_tf.errors import MissingLibraryError, ModelError
from simprod_tf.manifest import write_manifest
from simprod_tf.serving.models import servable as servable_module
from simprod_tf.serving.models.servable import Servable, SessionOptions

NAN = float("nan")


def floats(*values):
    return np.array(values, np.float32)


def words(*values):
    return np.array(values, object)


@pytest.fixture(scope="module")
def tiny(tiny_model, tmp_path_factory):
    """A loaded tiny model."""
    folder = tiny_model(tmp_path_factory.mktemp("tiny"), 7)
    servable = Servable.load("tiny", 7, folder)
    yield servable
    servable.close()


@pytest.fixture
def put_records(tiny_model, tmp_path):
    """`put_records(*records)` returns a version with these warm-up records."""

    def put(*records: bytes):
        folder = tiny_model(tmp_path / "warm", 1)
        (folder / "assets.extra").mkdir()
        path = folder / "assets.extra" / "tf_serving_warmup_requests"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        return folder

    return put


def record(signature="", **inputs) -> bytes:
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return log.SerializeToString()


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_it_answers_in_the_order_that_is_asked_for(tiny, timeout):
    inputs = {"a": floats(1, NAN), "b": floats(3, 1)}
    for names in (["total", "difference"], ["difference", "total"], ["difference"]):
        answers = tiny.run("sum", inputs, names, timeout=timeout)
        wanted = {"total": [4, NAN], "difference": [-2, NAN]}
        for name, answer in zip(names, answers):
            assert answer.dtype == np.float32
            np.testing.assert_array_equal(answer, wanted[name])


def test_strings_keep_every_byte(tiny):
    text = words(b"a\0b\0", b"", b"\xff")
    answers = tiny.run("echo", {"text": text}, ["text", "text_bytes"])
    assert [list(answer) for answer in answers] == [list(text), list(text)]
    assert answers[0].dtype == object


def test_an_answer_without_dimensions_is_an_array(tiny):
    (done,) = tiny.run("slow", {"steps": np.array(3, np.int32)}, ["done"])
    assert isinstance(done, np.ndarray)
    assert (done.shape, done.dtype, done) == ((), np.int32, 3)


def test_inputs_may_be_read_only_strided_and_empty(tiny):
    for x in (np.frombuffer(floats(2, 4).tobytes(), np.float32), floats(2, 9, 4)[::2]):
        (y,) = tiny.run("serving_default", {"x": x}, ["y"])
        np.testing.assert_array_equal(y, [3, 4])
    (y,) = tiny.run("serving_default", {"x": floats()}, ["y"])
    assert y.shape == (0,)


@pytest.mark.parametrize(
    ("signature", "inputs", "output", "text"),
    [
        (
            "serving_default",
            {"x": np.array([1], np.int32)},
            "y",
            "Expects arg[0] to be float but int32 is provided",
        ),
        (
            "matmul",
            {"m": np.ones((2, 2), np.float32)},
            "out",
            "Matrix size-incompatible: In[0]: [2,2], In[1]: [3,2]",
        ),
    ],
)
def test_wrong_types_and_shapes_are_refused_by_the_runtime(
    tiny, signature, inputs, output, text
):
    """The texts are those of the C API, which TensorFlow Serving's are too."""
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        tiny.run(signature, inputs, [output])
    assert caught.value.message.startswith(text)


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs", "missing"),
    [
        ("mean", {}, [], "mean"),
        ("sum", {"c": floats(1)}, [], "c"),
        ("sum", {}, ["mean"], "mean"),
        ("__saved_model_init_op", {}, ["__saved_model_init_op"], "__saved_model_init"),
    ],
)
def test_names_that_are_not_in_the_signature_are_a_mistake(
    tiny, signature, inputs, outputs, missing
):
    with pytest.raises(ValueError, match=f"version 7, signature .* has no '{missing}"):
        tiny.run(signature, inputs, outputs)


def test_a_run_is_stopped_at_its_deadline(tiny):
    steps = {"steps": np.array(2**31 - 1, np.int32)}
    with pytest.raises(tf.errors.DeadlineExceededError, match="Timed out waiting"):
        tiny.run("slow", steps, ["done"], timeout=0.05)
    with pytest.raises(tf.errors.DeadlineExceededError, match="passed before the run"):
        tiny.run("slow", steps, ["done"], timeout=0)


def plain(x):
    return {"y": x / 2}


def through_a_data_set(x):
    rows = tf.data.Dataset.from_tensors(x).map(lambda row: row / 2)
    return {"y": rows.get_single_element()}


@pytest.mark.parametrize(
    ("function", "loops"), [(plain, False), (through_a_data_set, True)]
)
def test_it_knows_whether_it_may_loop(tiny, tmp_path, function, loops):
    # The tiny model has a while loop in one of its functions.
    assert tiny.has_loops
    module = tf.Module()
    module.run = tf.function(
        function, input_signature=[tf.TensorSpec([None], tf.float32)]
    )
    tf.saved_model.save(module, str(tmp_path), signatures=module.run)
    servable = Servable.load("shop", 1, tmp_path)
    assert servable.has_loops is loops
    servable.close()


def test_a_timeout_may_be_longer_than_the_age_of_the_world(tiny):
    # Long enough that TensorFlow waits for it: an overflow would be no time at all.
    steps = {"steps": np.array(200, np.int32)}
    (done,) = tiny.run("slow", steps, ["done"], timeout=1e300)
    assert done == 200


def test_many_threads_get_their_own_answers(tiny):
    wrong = []

    def ask(value):
        for _ in range(50):
            (y,) = tiny.run("serving_default", {"x": floats(value)}, ["y"])
            if y != value / 2 + 2:
                wrong.append((value, y))

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_all_signatures_are_told_and_the_manifest_where_there_is_one(
    tiny, tiny_model, tmp_path
):
    assert set(tiny.signatures) == {
        "serving_default",
        "sum",
        "echo",
        "matmul",
        "slow",
        "__saved_model_init_op",
    }
    assert tiny.signatures["sum"].inputs["a"].dtype == tf.float32
    assert tiny.manifest == {}
    folder = tiny_model(tmp_path, 1)
    write_manifest(folder, {"kind": "exported encoder"})
    servable = Servable.load("tiny", 1, folder, options=SessionOptions(1, 1))
    assert servable.manifest == {"kind": "exported encoder"}
    servable.close()
    servable.close()
    (folder / "manifest.json").write_text("{")
    servable = Servable.load("tiny", 1, folder)
    assert servable.manifest == {}
    servable.close()


def test_files_that_are_missing_or_cut_are_a_model_error(tiny_model, tmp_path):
    folder = tiny_model(tmp_path, 1)
    (folder / "variables" / "variables.index").write_bytes(b"cut")
    with pytest.raises(ModelError, match="1 cannot be loaded: .*") as caught:
        Servable.load("tiny", 1, folder)
    assert isinstance(caught.value.__cause__, tf.errors.OpError)
    model = folder / "saved_model.pb"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(ModelError, match="1 cannot be loaded: "):
        Servable.load("tiny", 1, folder)
    model.unlink()
    with pytest.raises(ModelError, match="SavedModel file does not exist"):
        Servable.load("tiny", 1, folder)


def test_every_warm_up_record_is_run(put_records, monkeypatch):
    run, seen = Servable.run, []
    monkeypatch.setattr(
        Servable,
        "run",
        lambda self, *arguments: (seen.append(arguments), run(self, *arguments))[1],
    )
    folder = put_records(record(x=[1.0]), record("echo", text=[b"a", b"b"]))
    Servable.load("tiny", 1, folder).close()
    assert [signature for signature, *_ in seen] == ["serving_default", "echo"]
    assert list(seen[1][1]["text"]) == [b"a", b"b"]
    assert [sorted(outputs) for *_, outputs in seen] == [["y"], ["text", "text_bytes"]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (record("mean", x=[1.0]), "warm-up request 2 fails: there is no signature 'm"),
        (record(z=[1.0]), "warm-up request 2 fails: .* has no 'z'"),
        (record(x=[1]), "warm-up request 2 fails: Expects arg.0. to be float"),
        (b"\xff\xff", "record 2 is no PredictionLog"),
        (PredictionLog().SerializeToString(), "record 2 holds nothing"),
    ],
    ids=["signature", "input", "dtype", "no message", "no request"],
)
def test_a_warm_up_record_that_fails_fails_the_load(put_records, content, text):
    folder = put_records(record(x=[1.0]), content)
    with pytest.raises(ModelError, match=text):
        Servable.load("tiny", 1, folder)


def test_1000_warm_up_records_are_run_and_1001_refused(put_records):
    folder = put_records(*[record(x=[1.0])] * 1001)
    with pytest.raises(ModelError, match="holds more than 1000"):
        Servable.load("tiny", 1, folder)


def test_a_warm_up_file_that_is_no_tfrecord_fails_the_load(put_records):
    folder = put_records()
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.write_text("hello, this is no record at all")
    with pytest.raises(ModelError, match="no TFRecord file"):
        Servable.load("tiny", 1, folder)


def test_scanns_ops_are_asked_for_only_where_a_graph_needs_them(monkeypatch):
    graph = tf.compat.v1.MetaGraphDef()
    graph.graph_def.node.add(op="MatMul")
    assert not servable_module._needs_scann(graph)
    body = graph.graph_def.library.function.add()
    body.node_def.add(op="Scann>ScannSearchBatched")
    assert servable_module._needs_scann(graph)


def test_without_scann_the_way_out_is_told(monkeypatch, tmp_path):
    def missing():
        raise MissingLibraryError("no") from ImportError("No module named 'scann'")

    monkeypatch.setattr(servable_module, "require_scann", missing)
    text = r"needs ScaNN's ops. ScaNN cannot be imported \(No module named 'scann'\)"
    with pytest.raises(MissingLibraryError, match=text):
        servable_module._register_scann(tmp_path)


SCANN = """
import json, sys
from pathlib import Path
import numpy as np
from simprod_tf.serving.models.servable import Servable

assert "scann" not in sys.modules
found = []
loaded = [Servable.load("near", 1, Path(folder)) for folder in sys.argv[1:]]
for servable in loaded:
    queries = {"query": np.eye(8, dtype=np.float32)[:2]}
    (rows,) = servable.run("serving_default", queries, ["rows"])
    found.append(rows[:, 0].tolist())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_models_of_scann_answer_each_for_itself(tmp_path):
    scann_model = pytest.importorskip("simprod_tf.export.scann_model")
    eye = np.eye(8, dtype=np.float32)
    for name, embeddings in (("a", eye), ("b", eye[::-1].copy())):
        module = scann_model.ScannCandidates(embeddings, k=1, recall=0.9, label="same")
        spec = tf.TensorSpec([None, 8], name="query")
        asked = tf.function(lambda query, of=module: {"rows": of(query)})
        signatures = asked.get_concrete_function(spec)
        tf.saved_model.save(module, str(tmp_path / name), signatures=signatures)
    folders = [str(tmp_path / name) for name in ("a", "b")]
    run = [sys.executable, "-c", SCANN, *folders]
    found = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    assert json.loads(found) == [[0, 1], [7, 6]]


RELOADS = """
import resource, sys
from pathlib import Path
import numpy as np
from simprod_tf.serving.models.servable import Servable

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20

for number in range(21):
    servable = Servable.load("big", number, Path(sys.argv[1]))
    servable.run("serving_default", {"x": np.ones(1, np.float32)}, ["y"])
    servable.close()
    if number == 3:
        early = resident()
print(resident() - early)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_reloads(tmp_path):
    """A model of 16 MB, loaded 17 times: kept, it would be 272 MB."""
    module = tf.Module()
    module.weights = tf.Variable(tf.ones([2000, 2000]))

    @tf.function(input_signature=[tf.TensorSpec([None], name="x")])
    def scaled(x):
        return {"y": x * tf.reduce_mean(module.weights)}

    tf.saved_model.save(module, str(tmp_path), signatures=scaled)
    grown = subprocess.run(
        [sys.executable, "-c", RELOADS, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert float(grown) < 24
