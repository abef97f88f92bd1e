"""The encoder as a TFLite model with dynamic-range quantisation, for phones.

`<folder>/<version>/` holds `model.tflite`, `vocabulary.txt` and `manifest.json`. The
larger weights are int8 numbers with scales; what is computed from them is float32.

TFLite's own ops decode no pictures and split no titles, so its one signature, `embed`,
takes one product as the encoder's Keras model does, prepared by the caller:

<tower>_pixels   [1, S, S, 3] uint8 RGB: the picture, resized to `resize_to` and cut to
                 `image_size` (see `simprod_tf.features.image`), zeros where none is
has_image        [1, 1] float32, 1 where there is a picture, else 0
word_ids         [1, W] int32, any W of at least 1, 0 = padding: word i of
                 vocabulary.txt, counted from 1, see `simprod_tf.features.text.WordIds`
<name>_id, <name>_number, has_<name>, <name>_features
                 attributes and vectors, where the encoder takes any, as
                 `simprod_tf.features.product_inputs.InputOps` gives them

and gives `embedding` [1, D] float32, unit length. `TfliteEncoder` prepares products in
Python, and is what a port to a phone is checked against.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from simprod_tf import __version__
from simprod_tf.atomic import whole_folder
from simprod_tf.data.catalog import Product
from simprod_tf.errors import ModelError
from simprod_tf.export.tflite_model import tflite_function
from simprod_tf.export.versions import latest_version, next_version
from simprod_tf.features.image import PictureSettings
from simprod_tf.features.inputs import picture_batches
from simprod_tf.features.product_inputs import ProductInputs, Tables, product_arrays
from simprod_tf.manifest import fingerprint, read_manifest, write_manifest
from simprod_tf.trained import TrainedEncoder, tower_details

KIND = "exported TFLite encoder"
MODEL_FILE, VOCABULARY_FILE, SIGNATURE = "model.tflite", "vocabulary.txt", "embed"


def export_tflite(trained: TrainedEncoder, folder: str | Path) -> Path:
    """Writes the next version of the model and returns its folder, `<folder>/<n>`.

    Its embeddings are not the encoder's, and so is its fingerprint: an index that it
    asks must be made with it, by `TfliteEncoder`.

    Raises:
        ModelError: TFLite has no op for a part of the encoder, or the folder holds
            models of another kind.
    """
    final = next_version(folder, KIND)
    content = _converted(trained)
    parts = [("encoder", trained.fingerprint.encode()), (MODEL_FILE, content)]
    manifest = {
        "kind": KIND,
        "fingerprint": fingerprint(parts),
        "made_of": trained.fingerprint,
        "quantisation": "dynamic range",
        "dim": trained.dim,
        "towers": tower_details(trained.towers),
        "inputs": trained.inputs.to_json(),
        "signature": SIGNATURE,
        "simprod_tf": __version__,
        "tensorflow": tf.__version__,
    }
    with whole_folder(final) as temporary:
        (temporary / MODEL_FILE).write_bytes(content)
        words = "".join(f"{word}\n" for word in trained.vocabulary)
        (temporary / VOCABULARY_FILE).write_text(words, encoding="utf-8")
        write_manifest(temporary, manifest)
    return final


class TfliteEncoder:
    """Product -> embedding, by a TFLite model, one product at a time."""

    def __init__(self, folder: str | Path) -> None:
        """Loads the newest version in `folder`, or the version that it is.

        Raises:
            ModelError: there is none, or it cannot be loaded.
        """
        path = Path(folder)
        self.folder = path if (path / MODEL_FILE).is_file() else latest_version(path)
        self.manifest: dict[str, Any] = read_manifest(self.folder, kind=KIND)
        try:
            text = (self.folder / VOCABULARY_FILE).read_text(encoding="utf-8")
            content = (self.folder / MODEL_FILE).read_bytes()
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
            self._embed = interpreter.get_signature_runner(SIGNATURE)
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.folder} cannot be loaded: {error}.") from error
        words = text.split("\n")[:-1]
        self.inputs = ProductInputs.from_json(self.manifest["inputs"], words)
        self._pictures = {
            one["name"]: PictureSettings(one["image_size"], one["resize_to"])
            for one in self.manifest["towers"]
        }

    @property
    def fingerprint(self) -> str:
        """Of this model; not that of the encoder that it was made of."""
        return str(self.manifest["fingerprint"])

    @property
    def dim(self) -> int:
        """The length of its embeddings."""
        return int(self.manifest["dim"])

    def encode(
        self,
        products: Sequence[Product],
        *,
        tables: Tables | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Returns [B, D] float32 unit-length embeddings.

        Args:
            products: The products.
            tables: Precomputed vectors by name, where the encoder takes any.
            progress: Called with (products done, products in all).
        """
        found = np.zeros((len(products), self.dim), np.float32)
        for row, inputs in enumerate(self.prepared(products, tables=tables)):
            found[row] = self.embed(inputs)
            if progress:
                progress(row + 1, len(products))
        return found

    def prepared(
        self, products: Sequence[Product], *, tables: Tables | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the signature's inputs for each product."""
        arrays = {
            name: np.asarray(column[:])
            for name, column in product_arrays(products, self.inputs, tables).items()
        }
        if self._pictures:
            has = np.array([bool(one.image) for one in products], np.float32)
            arrays["has_image"] = has[:, np.newaxis]
        paths = [one.image for one in products]
        pixels = {
            f"{name}_pixels": picture_batches(paths, settings, batch_size=1)
            for name, settings in self._pictures.items()
        }
        each: Iterable[tuple[tf.Tensor, ...]]
        each = zip(*pixels.values()) if pixels else [()] * len(products)
        for row, pictures in enumerate(each):
            rest = {name: array[row : row + 1] for name, array in arrays.items()}
            yield {**rest, **{k: one.numpy() for k, one in zip(pixels, pictures)}}

    def embed(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the [D] embedding of one product, by the signature's inputs."""
        return np.array(self._embed(**inputs)["embedding"][0])


def _converted(trained: TrainedEncoder) -> bytes:
    """Returns the content of `model.tflite`."""
    module = tflite_function(trained)
    with tempfile.TemporaryDirectory(prefix="simprod-") as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: module.embed})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[SIGNATURE]
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        try:
            return bytes(converter.convert())
        except ConverterError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ModelError(
                "TFLite has no op for a part of this encoder: "
                f"{lines[0] if lines else error}"
            ) from error
