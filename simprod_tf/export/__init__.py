"""Encoder and index as SavedModels that TF Serving loads, and the encoder back."""

from simprod_tf.export.encoder import KIND, export_encoder
from simprod_tf.export.encoder_model import ExportedEncoder
from simprod_tf.export.saved_encoder import SavedEncoder
from simprod_tf.export.versions import latest_version, model_versions

__all__ = [
    "KIND",
    "ExportedEncoder",
    "SavedEncoder",
    "export_encoder",
    "latest_version",
    "model_versions",
]
