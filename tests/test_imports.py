"""Who may import whom, and what must not load TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "simprod_tf"

BASE = {"errors", "atomic", "manifest", "shards", "__init__"}
ALLOWED = {
    "errors": set(),
    "atomic": set(),
    "manifest": {"errors", "atomic"},
    "download": {"errors", "atomic", "manifest"},
    "shards": {"errors", "atomic"},
    "engine": BASE,
    "data": BASE | {"engine"},
    "features": BASE | {"data", "engine"},
    "model": BASE,
    "trained": BASE | {"features", "model", "data"},
    "training": BASE
    | {"data", "evaluation", "features", "index", "model", "negatives"},
    "export": BASE | {"data", "features", "index", "matching", "model", "trained"},
    "index": BASE | {"engine"},
    "matching": BASE | {"data", "engine", "index"},
    "serving": BASE
    | {"data", "engine", "export", "features", "index", "matching", "trained"},
    "decider": BASE | {"data", "matching"},
    "negatives": BASE | {"data", "index"},
    "evaluation": BASE | {"data", "index", "matching"},
    "pipeline": BASE
    | {"data", "engine", "evaluation", "export", "features", "index", "matching"}
    | {"decider", "model", "trained", "training"},
    "cli": None,
    "__main__": None,
    "__init__": set(),
}
# What a room may load besides the standard library, numpy and the package itself.
HEAVY = {
    "tensorflow": {"features", "model", "trained", "training", "export", "pipeline"}
    # For the error that its ops raise where they do not fit; for its seed.
    | {"index", "cli", "serving"},
    "tensorflow_serving": {"cli", "export", "serving"},
    "grpc": {"serving"},
    "anyio": {"serving"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "prometheus_client": {"serving"},
    "tensorflow_addons": {"model"},
    "scann": {"export", "index"},
    "sklearn": {"decider", "matching"},
    "lightgbm": {"decider"},
    "rapidfuzz": {"decider"},
    "gensim": {"features"},
    "torch": {"model"},
    "h5py": {"model"},
    "requests": {"download"},
    "duckdb": {"engine", "data"},
    "pyspark": {"engine"},
    "py4j": {"engine"},
    "typer": {"cli"},
}


def rooms_and_imports():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                if node.module == "simprod_tf":
                    names = [f"simprod_tf.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                yield path, room, name


def test_imports_run_one_way():
    wrong = []
    for path, room, name in rooms_and_imports():
        allowed = ALLOWED[room]
        if allowed is None or not name.startswith("simprod_tf."):
            continue
        target = name.split(".")[1]
        if target == "__version__":
            continue
        if target != room and target not in allowed:
            wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_heavy_libraries_stay_in_their_rooms():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path, room, name in rooms_and_imports()
        if room not in HEAVY.get(name.split(".")[0], {room})
    ]
    assert wrong == []


def test_nobody_imports_the_command_line():
    users = {
        room
        for _, room, name in rooms_and_imports()
        if name.startswith("simprod_tf.cli")
    }
    assert users <= {"cli", "__main__"}


@pytest.mark.parametrize(
    "module",
    [
        "simprod_tf",
        "simprod_tf.data.catalog",
        "simprod_tf.data.embedding_shards",
        "simprod_tf.data.mining",
        "simprod_tf.data.synthetic",
        "simprod_tf.decider.decider",
        "simprod_tf.index",
        "simprod_tf.index.exact_tf",
        "simprod_tf.matching.conflicts",
        "simprod_tf.matching.explain",
        "simprod_tf.matching.grouping",
        "simprod_tf.matching.matcher",
        "simprod_tf.matching.threshold",
        "simprod_tf.engine",
        "simprod_tf.pipeline.encode",
        "simprod_tf.pipeline.group_job",
        "simprod_tf.evaluation",
        "simprod_tf.serving",
        "simprod_tf.serving.status",
        "simprod_tf.cli",
    ],
)
def test_loads_no_tensorflow(module):
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
