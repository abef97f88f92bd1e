"""Small real files for the tests: pictures, catalogues, the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# Before any test imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The same examples in each run: a change fails by itself, not by the day's luck.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says how to get it."""
    folder = os.environ.get("SIMPROD_DATA")
    if not folder:
        pytest.skip("SIMPROD_DATA does not name the folder of real data")
    return Path(folder).absolute()


def noise_picture(seed: int = 0, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """Returns an RGB picture of smooth noise, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 4, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small JPEG file."""
    path = tmp_path / "picture.jpg"
    noise_picture().save(path, quality=90)
    return path


@pytest.fixture
def make_picture():
    """`noise_picture`, for tests that need several."""
    return noise_picture
