"""What the tests of `benchmarks/` share; its scripts import each other as files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture
def write_picture() -> Callable[[Path, int], None]:
    """Writes a picture of noise, another one for each seed."""

    def write(path: Path, seed: int) -> None:
        noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize((20, 20)).save(path)

    return write


@pytest.fixture
def write_shopee(write_picture) -> Callable[[Path, int], None]:
    """Writes a set in the layout of Shopee's, three postings of a group."""

    def write(folder: Path, postings: int) -> None:
        lines = ["posting_id,image,image_phash,title,label_group"]
        for number in range(postings):
            write_picture(folder / "train_images" / f"{number}.jpg", number)
            title = f"mug of kind {number // 3} no {number}"
            lines.append(f"p{number},{number}.jpg,{number:016x},{title},{number // 3}")
        (folder / "train.csv").write_text("\n".join(lines) + "\n")

    return write
