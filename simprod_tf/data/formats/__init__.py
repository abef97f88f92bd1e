"""Adapters for public data sets' own layouts, one module for each."""
