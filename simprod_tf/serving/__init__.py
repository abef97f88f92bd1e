"""An embedded server that answers as TensorFlow Serving does, and a client."""
