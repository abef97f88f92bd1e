"""A client of TensorFlow Serving and of `simprod serve`."""
