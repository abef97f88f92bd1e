"""Small data sets in each layout."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "small_sets", Path(__file__).with_name("small_sets.py")
)
small_sets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_sets)


@pytest.fixture(scope="session")
def sets():
    """The module `small_sets`."""
    return small_sets


@pytest.fixture
def make_set(tmp_path):
    """Writes the small set of a layout into a folder `set`, and returns the folder."""
    return lambda layout: small_sets.make_set(layout, tmp_path / "set")
