"""TensorFlow Serving's REST API: paths, JSON, and the application."""
