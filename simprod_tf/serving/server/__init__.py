"""The server: Predict, its limits, gRPC, and the whole."""
