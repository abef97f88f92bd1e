"""The forms of an exported encoder side by side: size, time at batch 1, recall.

    python benchmarks/export_sizes.py RUN CATALOG [--split FILE]

Each query searches the catalogue, itself left out; right are products of its group.
Time is that of one product with a picture and a title, the median of interleaved
repeats: `embed` by a v1 Session, as a server runs it, pictures decoded and titles split
in the graph. TFLite takes them prepared, so it stands beside the same encoder's Keras
model of prepared inputs, in a Session too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog, Product, read_catalog
from simprod_tf.data.split import read_split
from simprod_tf.evaluation.retrieval import retrieval_metrics
from simprod_tf.export import SavedEncoder, export_encoder
from simprod_tf.export.shrink import export_batch_1, export_float16
from simprod_tf.export.tflite import TfliteEncoder, export_tflite
from simprod_tf.export.tflite_model import tflite_function
from simprod_tf.features.image import read_pictures
from simprod_tf.features.product_inputs import raw_columns
from simprod_tf.trained import TrainedEncoder

# Of Q queries, how many of batch 1 are compared number by number.
NUM_COMPARED = 100
Inputs = dict[str, np.ndarray]
Call = Callable[[], object]


def session_call(folder: Path) -> Callable[[Inputs], np.ndarray]:
    """Returns the default signature: its inputs, of one product -> [1, D]."""
    with tf.Graph().as_default() as graph:
        session = tf.compat.v1.Session(graph=graph)
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    signature = meta.signature_def["serving_default"]
    run = session.make_callable(
        signature.outputs["embedding"].name,
        [one.name for one in signature.inputs.values()],
    )
    return lambda inputs: run(*(inputs[name] for name in signature.inputs))


def raw_inputs(product: Product, trained: TrainedEncoder) -> Inputs:
    """Returns what the signature `embed` takes, of one product."""
    columns = raw_columns([product], trained.inputs)
    raw = {name: np.asarray(column[:]) for name, column in columns.items()}
    content = read_pictures([product.image])[0]
    return {**raw, "image_bytes": np.array([content, None], object)[:1]}


def medians(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Returns the median milliseconds of each call, after a tenth to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {
        name: float(np.median(one[repeats // 10 :])) * 1e3
        for name, one in times.items()
    }


def megabytes(folder: Path) -> float:
    """Returns the size of all files in a folder."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) / 1e6


def recall(
    embeddings: np.ndarray, products: Catalog, rows: np.ndarray, asked: np.ndarray
) -> tuple[float, float]:
    """Returns recall@10 and MAP@R of queries in those rows, by their own form."""
    found = retrieval_metrics(
        asked,
        embeddings,
        products.groups[rows],
        products.groups,
        query_ids=products.ids[rows],
        candidate_ids=products.ids,
    )
    return float(found.recall_at[10].mean()), float(found.map_at_r.mean())


def nearest(embeddings: np.ndarray, rows: np.ndarray) -> list[set[int]]:
    """Returns the rows of each query's ten nearest."""
    dots = embeddings[rows] @ embeddings.T
    dots[np.arange(len(rows)), rows] = -np.inf
    return [set(one) for one in np.argpartition(-dots, 10, axis=1)[:, :10]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Exports, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="what `simprod train` wrote")
    parser.add_argument("catalog")
    parser.add_argument("--split", help="its test side alone asks")
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args(arguments)
    trained = TrainedEncoder.load(options.run)
    products = read_catalog(options.catalog).catalog
    known = (products.titles != "") | (products.images != "")
    rows = np.flatnonzero(known & (products.groups != ""))
    if options.split:
        side = set(read_split(options.split).ids("test"))
        rows = np.array([row for row in rows if products.ids[row] in side])
    with tempfile.TemporaryDirectory() as place:
        measure(trained, products, rows, Path(place), options.repeats)


def measure(
    trained: TrainedEncoder,
    products: Catalog,
    rows: np.ndarray,
    place: Path,
    repeats: int,
) -> None:
    """Prints a row for each form."""
    folders = {
        "SavedModel": export_encoder(trained, place / "plain"),
        "float16": export_float16(trained, place / "float16"),
        "batch 1": export_batch_1(trained, place / "batch-1"),
        "TFLite": export_tflite(trained, place / "tflite"),
    }
    prepared = place / "prepared"
    module = tflite_function(trained)
    tf.saved_model.save(module, str(prepared), signatures=module.embed)
    shown = (products.titles != "") & (products.images != "")
    example = next(p for row, p in enumerate(products) if shown[row])
    lite = TfliteEncoder(folders["TFLite"])
    inputs = next(iter(lite.prepared([example])))
    raw = raw_inputs(example, trained)
    whole = session_call(folders["SavedModel"])
    half = session_call(folders["float16"])
    single = session_call(folders["batch 1"])
    of_prepared = session_call(prepared)
    times = medians(
        {
            "SavedModel": lambda: whole(raw),
            "float16": lambda: half(raw),
            "batch 1": lambda: single(raw),
            "prepared": lambda: of_prepared(inputs),
            "TFLite": lambda: lite.embed(inputs),
        },
        repeats,
    )
    all_products = list(products)
    embeddings = {
        "SavedModel": SavedEncoder(folders["SavedModel"]).encode(all_products),
        "float16": SavedEncoder(folders["float16"]).encode(all_products),
        "TFLite": lite.encode(all_products),
    }
    plain = embeddings["SavedModel"]
    few = rows[np.linspace(0, len(rows) - 1, NUM_COMPARED).astype(int)]
    of_one = [single(raw_inputs(all_products[row], trained)) for row in few]
    print(f"{len(rows)} queries, {len(products)} products, medians of {repeats}")
    apart = np.abs(np.concatenate(of_one) - plain[few]).max()
    print(f"batch 1 of {len(few)} queries: embeddings within {apart:.1e} of the plain")
    own = nearest(plain, rows)
    for name, folder in folders.items():
        beside = "prepared" if name == "TFLite" else "SavedModel"
        ratio = times[name] / times[beside]
        line = f"{name:10} {megabytes(folder):7.2f} MB {times[name]:7.3f} ms "
        line += f"({ratio:.2f} of {beside}'s {times[beside]:.3f})"
        if name in embeddings:
            found = embeddings[name]
            at_10, map_at_r = recall(found, products, rows, found[rows])
            shared = zip(own, nearest(found, rows))
            same = np.mean([len(a & b) / 10 for a, b in shared])
            moved = np.linalg.norm(found - plain, axis=1)
            line += f"  recall@10 {at_10:.4f} MAP@R {map_at_r:.4f}"
            line += f"  same 10 nearest {same:.4f}"
            line += f"  moved by {moved.mean():.4f}, at most {moved.max():.4f}"
        print(line)


if __name__ == "__main__":
    main()
