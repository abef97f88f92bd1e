"""simprod.v1.SimilarProducts: encoder, index and thresholds together, and a log."""
