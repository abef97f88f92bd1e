"""The requests of `serving.py`: gRPC's bytes, REST's JSON, and what echo gets."""

from __future__ import annotations

import argparse
import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = "blue red mug shirt lamp 350 ml large set of two steel cotton".split()


@dataclass(frozen=True)
class Case:
    """One request: the files that hold it, and what it is known by."""

    model: str
    what: str
    batch: int
    grpc: Path
    rest: Path
    echo: Path


def pictures(count: int, *, size: int) -> list[bytes]:
    """Returns JPEGs of soft shapes with some noise, `size` pixels square."""
    from PIL import Image

    draw = np.random.default_rng(size)
    found = []
    for _ in range(count):
        coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((size, size), Image.BICUBIC)
        noise = draw.normal(0, 6, (size, size, 3))
        pixels = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "JPEG", quality=85)
        found.append(written.getvalue())
    return found


def trivial_columns(batch: int) -> dict[str, list]:
    """Returns `x` [batch, 64]."""
    draw = np.random.default_rng(batch)
    return {"x": np.round(draw.normal(size=(batch, 64)), 4).tolist()}


def product_columns(batch: int, *, size: int) -> dict[str, list]:
    """Returns pictures and titles."""
    draw = np.random.default_rng(batch)
    titles = [" ".join(draw.choice(WORDS, 6)) for _ in range(batch)]
    return {"image_bytes": pictures(batch, size=size), "title": titles}


def write_case(
    folder: Path, model: str, what: str, columns: dict[str, list], reply_bytes: int
) -> Case:
    """Writes the request for each entry and returns where they lie."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = "serving_default"
    for name, values in columns.items():
        kind = tf.string if isinstance(values[0], (bytes, str)) else tf.float32
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, kind))
    batch = len(next(iter(columns.values())))
    stem = folder / f"{model}-{what.replace(' ', '')}-{batch}"
    case = Case(
        model, what, batch, *(stem.with_suffix(f".{e}") for e in ("pb", "json", "echo"))
    )
    written = request.SerializeToString()
    case.grpc.write_bytes(written)
    case.echo.write_bytes(reply_bytes.to_bytes(4, "big") + written[4:])
    rows = [
        {name: _json_value(values[row]) for name, values in columns.items()}
        for row in range(batch)
    ]
    instances = [row["x"] for row in rows] if "x" in columns else rows
    case.rest.write_text(json.dumps({"instances": instances}), encoding="utf-8")
    return case


def _json_value(value: object) -> object:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def make_cases(folder: Path, options: argparse.Namespace) -> list[Case]:
    """Returns the requests of both models."""
    cases = []
    for batch in options.batches:
        columns = trivial_columns(batch)
        cases.append(write_case(folder, "trivial", "64x64", columns, batch * 320))
    if options.model is not None:
        for size in options.sizes:
            for batch in options.batches:
                columns = product_columns(batch, size=size)
                # About what an answer of 128 numbers a product takes.
                what, reply = f"{size} px", batch * 520 + 80
                cases.append(write_case(folder, "encoder", what, columns, reply))
    return cases
