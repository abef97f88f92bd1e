"""Asks a server for an embedding; needs grpcio and tensorflow-serving-api alone.

    python client_example.py localhost:8500 mug.jpg "blue mug 350 ml" [model]

A picture or title that is not known is "". TensorFlow comes with the latter package.
"""

import sys
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub


def main(address, picture, title, model="shop"):
    """Prints the beginning of the embedding; returns what is wrong, or None."""
    content = Path(picture).read_bytes() if picture else b""
    request = PredictRequest()
    request.model_spec.name = model
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([content]))
    request.inputs["title"].CopyFrom(tf.make_tensor_proto([title]))
    with grpc.insecure_channel(address) as channel:
        try:
            response = PredictionServiceStub(channel).Predict(request, timeout=10)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    found = {name: tf.make_ndarray(one)[0] for name, one in response.outputs.items()}
    if not found["valid"]:
        return f"{picture}: {found['fault'].decode()}"
    version, embedding = response.model_spec.version.value, found["embedding"]
    beginning = f"{len(embedding)} numbers, {embedding[:4]} ..."
    sys.stdout.write(f"{model}, version {version}: {beginning}\n")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
