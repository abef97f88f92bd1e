"""Tiny SavedModels for the tests of the server: saved once, copied for each test."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "write_models", Path(__file__).parent / "contract" / "write_models.py"
)
write_models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write_models)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """`tiny_model(folder, version, add=2.0)` puts a tiny model at folder/version.

    The copy appears whole (it is renamed into place), as a server that polls the folder
    needs it; the function returns the path of the version.
    """
    kept: dict[float, Path] = {}

    def put(folder: Path, version: int, *, add: float = 2.0) -> Path:
        if add not in kept:
            saved = tmp_path_factory.mktemp("tiny") / "model"
            write_models.save_models({saved: add})
            kept[add] = saved
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{version}-being-copied"
        shutil.copytree(kept[add], aside)
        return aside.rename(folder / str(version))

    return put
