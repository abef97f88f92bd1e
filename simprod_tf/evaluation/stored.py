"""An evaluation row by row, on disk: what a later comparison resamples.

A folder of `manifest.json`, which names the models and the test set's fingerprints, and
a Parquet file a kind of row: `pairs`, `queries`, `products`, each with a column
`model`. Whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from simprod_tf.atomic import whole_folder
from simprod_tf.errors import InputError
from simprod_tf.evaluation.evaluate import Evaluation, evaluate_model
from simprod_tf.evaluation.group_metrics import GroupRows
from simprod_tf.evaluation.retrieval import Retrieval
from simprod_tf.manifest import fingerprint, read_manifest, write_manifest

KIND = "evaluation rows"
ROWS_NAME = "rows"
# Raised when the files change; earlier ones are refused.
FORMAT = 1
_QUERY_COLUMNS = ("query_id", "group", "first_rank")


@dataclass(frozen=True, eq=False)
class StoredEvaluation:
    """One model's evaluation, as a folder keeps it, and what it was judged on.

    Attributes:
        evaluation: with its metrics, resampled anew; without slices.
        test: the fingerprint of the rows, by kind: "pairs", "queries", "products".
    """

    evaluation: Evaluation
    test: Mapping[str, str]


def write_rows(
    folder: str | os.PathLike[str],
    evaluations: Sequence[Evaluation],
    *,
    candidates: Iterable[str],
    seed: int,
) -> None:
    """Writes evaluations of one test set into a folder of their own.

    Args:
        folder: replaced if it is there.
        evaluations: each with a name of its own; pairs with their ids, queries too.
        candidates: the products searched among, each as one text with its group: a
            search among others is another test.
        seed: of the intervals; kept, so that a comparison draws the same resamples.
    """
    names = [one.name for one in evaluations]
    if len(set(names)) < len(names):
        raise ValueError(f"each model needs a name of its own, got {names}.")
    listed = fingerprint((text, b"") for text in candidates)
    models = []
    with whole_folder(folder) as temporary:
        for kind, table_of in _TABLES.items():
            tables = [
                table.append_column("model", pa.array([one.name] * len(table)))
                for one in evaluations
                if (table := table_of(one)) is not None
            ]
            if tables:
                joined = pa.concat_tables(tables, promote_options="default")
                pq.write_table(joined, temporary / f"{kind}.parquet")
        for one in evaluations:
            models.append(
                {
                    "name": one.name,
                    "max_distance": one.max_distance,
                    "test": _test(one, listed),
                }
            )
        write_manifest(
            temporary, {"kind": KIND, "format": FORMAT, "seed": seed, "models": models}
        )


def read_run(
    folder: str | os.PathLike[str], name: str | None = None
) -> StoredEvaluation:
    """Returns one model's evaluation from the folder that `simprod evaluate` wrote.

    Raises:
        InputError: it holds no rows, because an earlier version wrote it, say.
    """
    rows = Path(folder) / ROWS_NAME
    if rows.is_dir():
        return read_rows(rows, name)
    summary = Path(folder) / "evaluation.json"
    if summary.is_file():
        raise InputError(
            "an earlier version wrote this evaluation, without the rows that a "
            "comparison needs; judge the model again with `simprod evaluate`.",
            path=summary,
        )
    raise InputError("holds no evaluation; `simprod evaluate` makes one.", path=folder)


def read_rows(
    folder: str | os.PathLike[str], name: str | None = None
) -> StoredEvaluation:
    """Returns one model's evaluation from what `write_rows` wrote.

    Args:
        folder: that of `write_rows`.
        name: the model; by default the last one.

    Raises:
        ModelError: there is nothing of the kind in the folder.
        InputError: another format wrote it, it is damaged, or it lacks the model.
    """
    content = read_manifest(folder, kind=KIND)
    if content.get("format") != FORMAT:
        raise InputError(
            f"rows of format {FORMAT} are expected, got {content.get('format')!r}; "
            "judge the model again with `simprod evaluate`.",
            path=folder,
        )
    try:
        return _read(Path(folder), content, name)
    except (KeyError, IndexError, TypeError, OSError, pa.ArrowException) as error:
        raise InputError(
            f"the rows are damaged ({error}); judge the model again with `simprod "
            "evaluate`.",
            path=folder,
        ) from error


def _read(
    folder: Path, content: Mapping[str, Any], name: str | None
) -> StoredEvaluation:
    models = {one["name"]: one for one in content["models"]}
    wanted = list(models)[-1] if name is None else name
    if wanted not in models:
        raise InputError(
            f"no model {wanted!r} was judged; there are: {', '.join(models)}.",
            path=folder,
        )
    model = models[wanted]
    columns = {
        kind: _columns(folder / f"{kind}.parquet", wanted)
        for kind in _TABLES
        if kind in model["test"]
    }
    pairs = columns.get("pairs", {})
    evaluation = evaluate_model(
        wanted,
        pair_distances=pairs.get("distance", []),
        pair_labels=pairs.get("label", []),
        pair_groups=pairs.get("group", []),
        pair_ids=np.stack([pairs["anchor_id"], pairs["other_id"]], 1)
        if pairs
        else None,
        pair_probabilities=pairs.get("probability"),
        max_distance=model["max_distance"],
        retrieval=_retrieval(columns["queries"]) if "queries" in columns else None,
        groups=_group_rows(columns["products"]) if "products" in columns else None,
        seed=content["seed"],
    )
    return StoredEvaluation(evaluation, model["test"])


def _columns(path: Path, model: str) -> dict[str, np.ndarray]:
    """Returns one model's columns; those that are null for it are left out."""
    table = pq.read_table(path, filters=[("model", "==", model)]).drop(["model"])
    return {
        name: table.column(name).to_numpy()
        for name in table.column_names
        if not len(table) or pc.all(table.column(name).is_valid()).as_py()
    }


def _pairs_table(one: Evaluation) -> pa.Table | None:
    if not len(one.pair_labels):
        return None
    if len(one.pair_ids) != len(one.pair_labels):
        raise ValueError(f"{one.name} has pairs without their ids: give pair_ids.")
    columns = {
        "anchor_id": pa.array(one.pair_ids[:, 0].astype(str)),
        "other_id": pa.array(one.pair_ids[:, 1].astype(str)),
        "label": one.pair_labels,
        "group": pa.array(one.pair_groups.astype(str)),
        "distance": one.pair_distances,
    }
    if one.pair_probabilities is not None:
        columns["probability"] = one.pair_probabilities
    return pa.table(columns)


def _queries_table(one: Evaluation) -> pa.Table | None:
    found = one.retrieval
    if found is None:
        return None
    if found.query_ids is None:
        raise ValueError(f"{one.name} was searched without ids: give query_ids.")
    return pa.table(
        {
            "query_id": pa.array(found.query_ids.astype(str)),
            "group": pa.array(found.query_groups.astype(str)),
            "first_rank": found.first_ranks,
            **found.measures,
        }
    )


def _products_table(one: Evaluation) -> pa.Table | None:
    rows = one.groups
    if rows is None:
        return None
    return pa.table(
        {
            "id": pa.array(rows.ids.astype(str)),
            "group": rows.groups,
            "shared": rows.shared,
            "found_size": rows.found_sizes,
            "true_size": rows.true_sizes,
        }
    )


_TABLES: dict[str, Callable[[Evaluation], pa.Table | None]] = {
    "pairs": _pairs_table,
    "queries": _queries_table,
    "products": _products_table,
}
# What makes two rows the same question; the rest is a model's answer.
_ASKED = {
    "pairs": ("anchor_id", "other_id", "label", "group"),
    "queries": ("query_id", "group"),
    "products": ("id", "group", "true_size"),
}


def _test(one: Evaluation, candidates: str) -> dict[str, str]:
    """Returns the fingerprint of what was asked, by kind."""
    found = {}
    for kind, table_of in _TABLES.items():
        table = table_of(one)
        if table is not None:
            columns = [table.column(name).to_pylist() for name in _ASKED[kind]]
            texts = [("candidates", candidates)] if kind == "queries" else []
            texts += [(repr(row), "") for row in zip(*columns)]
            found[kind] = fingerprint((name, text.encode()) for name, text in texts)
    return found


def _retrieval(columns: Mapping[str, np.ndarray]) -> Retrieval:
    return Retrieval(
        kept=np.ones(len(columns["query_id"]), bool),
        query_groups=columns["group"],
        measures={k: v for k, v in columns.items() if k not in _QUERY_COLUMNS},
        first_ranks=columns["first_rank"],
        query_ids=columns["query_id"],
    )


def _group_rows(columns: Mapping[str, np.ndarray]) -> GroupRows:
    return GroupRows(
        columns["id"],
        columns["group"],
        columns["shared"],
        columns["found_size"],
        columns["true_size"],
    )
