"""Figures of what `matching.py` measured, and their tables.

    python benchmarks/matching_report.py matching.json

Intervals are of the difference to the default, 95 %, by a bootstrap of what hangs
together, paired: both on the same draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matching_judged import Judged
from sklearn.metrics import average_precision_score

from simprod_tf.evaluation.interval import paired_difference
from simprod_tf.evaluation.reliability import expected_calibration_error

Measure = Callable[[Judged, np.ndarray], float]
"""A figure of the drawn rows."""


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    total = whole.sum()
    return float(part.sum() / total) if total else float("nan")


def _precision(kept: str) -> Measure:
    return lambda j, rows: _share(
        (getattr(j, kept) & j.label)[rows], getattr(j, kept)[rows]
    )


def _recall(kept: str) -> Measure:
    return lambda j, rows: _share((getattr(j, kept) & j.label)[rows], j.label[rows])


def _f1_pairs(kept: str) -> Measure:
    def f1(j: Judged, rows: np.ndarray) -> float:
        hits = (getattr(j, kept) & j.label)[rows].sum()
        both = getattr(j, kept)[rows].sum() + j.label[rows].sum()
        return float(2 * hits / both) if both else float("nan")

    return f1


def _ratio(part: str, *whole: str) -> Measure:
    return lambda j, rows: (
        len(whole)
        * _share(
            getattr(j, part)[rows],
            np.concatenate([getattr(j, name)[rows] for name in whole]),
        )
    )


def _mean(name: str) -> Measure:
    return lambda j, rows: float(getattr(j, name)[rows].mean())


def _b_cubed_f1(when: str) -> Measure:
    def f1(j: Judged, rows: np.ndarray) -> float:
        precision = getattr(j, f"precision_{when}")[rows].mean()
        recall = getattr(j, f"recall_{when}")[rows].mean()
        return float(2 * precision * recall / (precision + recall))

    return f1


def _pr_auc(label: np.ndarray, distance: np.ndarray, positives: float) -> float:
    """Returns the average precision; similar pairs that are not there are never met."""
    met = np.isfinite(distance)
    if not positives or not label[met].any():
        return float("nan")
    among = average_precision_score(label[met], -distance[met])
    return float(among * label[met].sum() / positives)


def _pr_auc_labelled(j: Judged, rows: np.ndarray) -> float:
    return _pr_auc(j.label[rows], j.distance[rows], float(j.label[rows].sum()))


BY_PAIR: dict[str, Measure] = {
    "PR-AUC, labelled": _pr_auc_labelled,
    "candidate recall, labelled": _recall("candidate"),
    "precision, labelled": _precision("accepted"),
    "recall, labelled": _recall("accepted"),
    "F1, labelled": _f1_pairs("accepted"),
    "precision after grouping, labelled": _precision("together"),
    "recall after grouping, labelled": _recall("together"),
    "F1 after grouping, labelled": _f1_pairs("together"),
}
BY_PRODUCT: dict[str, Measure] = {
    "candidate recall": _ratio("proposed", "partners"),
    "precision": _ratio("hits", "found"),
    "recall": _ratio("hits", "partners"),
    "F1": _ratio("hits", "found", "partners"),
    "precision after grouping": _ratio("after_hits", "after"),
    "recall after grouping": _ratio("after_hits", "partners"),
    "B3 precision before": _mean("precision_before"),
    "B3 recall before": _mean("recall_before"),
    "B3 F1 before": _b_cubed_f1("before"),
    "B3 precision": _mean("precision_after"),
    "B3 recall": _mean("recall_after"),
    "B3 F1": _b_cubed_f1("after"),
}
COMPARED = (
    "PR-AUC, labelled",
    "candidate recall, labelled",
    "precision, labelled",
    "recall, labelled",
    "F1, labelled",
    "F1 after grouping, labelled",
    "candidate recall",
    "precision",
    "recall",
    "F1",
    "B3 precision",
    "B3 recall",
    "B3 F1",
)


def summary(files: Mapping[str, Path], *, repeats: int) -> dict[str, Any]:
    """Returns the figures of each option, and of some the difference to "default"."""
    default = _read(files["default"])[1]
    return {name: _figures(path, default, repeats) for name, path in files.items()}


def _read(path: Path) -> tuple[dict[str, Any], Judged | None]:
    with np.load(path) as stored:
        note = json.loads(str(stored["note"]))
        if note["why_not"]:
            return note, None
        return note, Judged(*(stored[one.name] for one in fields(Judged)))


def _figures(path: Path, default: Judged | None, repeats: int) -> dict[str, Any]:
    note, judged = _read(path)
    if judged is None or default is None:
        return note
    values: dict[str, float] = {}
    differences: dict[str, list[float]] = {}
    kinds = [(BY_PAIR, "cluster")]
    if len(judged.group):
        kinds.append((BY_PRODUCT, "group"))
    for measures, clusters in kinds:
        groups = getattr(default, clusters)
        for name, measure in measures.items():
            values[name] = measure(judged, np.arange(len(groups)))
            if name in COMPARED:
                found = paired_difference(
                    partial(measure, judged),
                    partial(measure, default),
                    groups=groups,
                    seed=0,
                    repeats=repeats,
                )
                differences[name] = [found.value, found.low, found.high]
    values["calibration error, labelled"] = expected_calibration_error(
        judged.probability, judged.label
    )
    if len(judged.same):
        positives = float(judged.partners.sum() / 2)
        values["PR-AUC"] = _pr_auc(judged.same, judged.apart, positives)
    values["labelled prior"] = float(judged.label.mean())
    if len(judged.same):
        values["calibration error"] = expected_calibration_error(
            judged.estimate, judged.same
        )
        values["prior"] = float(judged.same.mean())
    values["labelled pairs"] = len(judged.label)
    values["products"] = len(judged.group)
    return {**note, "values": values, "differences": differences}


LABELLED = (
    ("cand. recall", "candidate recall, labelled"),
    ("PR-AUC", "PR-AUC, labelled"),
    ("precision", "precision, labelled"),
    ("recall", "recall, labelled"),
    ("grouped precision", "precision after grouping, labelled"),
    ("grouped recall", "recall after grouping, labelled"),
    ("ECE", "calibration error, labelled"),
)
KNOWN = (
    ("cand. recall", "candidate recall"),
    ("PR-AUC", "PR-AUC"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("F1", "F1"),
    ("grouped precision", "precision after grouping"),
    ("grouped recall", "recall after grouping"),
    ("B³ before P / R / F1", "B3 {} before"),
    ("B³ after P / R / F1", "B3 {}"),
    ("ECE", "calibration error"),
)


def table(
    results: Mapping[str, Any],
    columns: Sequence[tuple[str, str]],
    compared: Sequence[tuple[str, str]],
) -> str:
    """Returns one data set as Markdown, and below the differences to the default."""
    heads = ["option", *(head for head, _ in columns), *(f"Δ {h}" for h, _ in compared)]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    refused = []
    for name, one in results.items():
        if "values" not in one:
            refused.append(f"{name} ({_first_clause(one['why_not'])})")
            continue
        shown = name
        if one["promised"] != results["default"]["promised"]:
            shown = f"{name}: {one['promised']:g} promised"
        cells = [_cell(one["values"], key) for _, key in columns]
        for _, key in compared:
            cells.append("" if name == "default" else _delta(one["differences"][key]))
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    if refused:
        lines += ["", f"Not here: {'; '.join(refused)}."]
    return "\n".join(lines)


def overview(results: Mapping[str, Any]) -> str:
    """Returns the difference in F1 to the default, a column a data set.

    Of all candidates where all true groups are known, else of the labelled pairs; in
    bold where the interval leaves out 0.
    """
    heads = ["option", *results]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name in next(iter(results.values())):
        cells = [_f1_delta(found[name]) for found in results.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _f1_delta(one: Mapping[str, Any]) -> str:
    if "values" not in one:
        return "-"
    differences = one["differences"]
    found = differences.get("F1", differences["F1, labelled"])
    value, low, high = found
    if value == low == high == 0:
        return "0"
    return f"**{_delta(found)}**" if low > 0 or high < 0 else _delta(found)


def _first_clause(text: str) -> str:
    return text.split(":")[0].split(". ")[0]


def _cell(values: Mapping[str, float], key: str) -> str:
    keys = [key.format(one) for one in ("precision", "recall", "F1")]
    return " / ".join(_short(values[one]) for one in dict.fromkeys(keys))


def _short(value: float) -> str:
    return "-" if value != value else f"{value:.3f}".lstrip("0") or "0"


def _delta(found: Sequence[float]) -> str:
    value, low, high = found
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    results = json.loads(parser.parse_args().results.read_text())
    print(overview(results))
    for name, found in results.items():
        first = found["default"]
        values = first["values"]
        print(
            f"\n### {name}: precision {first['promised']:g} promised; by "
            f"{values['labelled pairs']} labelled pairs, "
            f"{values['labelled prior']:.3f} of them similar\n"
        )
        keys = ("PR-AUC, labelled", "F1, labelled", "F1 after grouping, labelled")
        print(table(found, LABELLED, [(key.split(",")[0], key) for key in keys]))
        if "F1" in values:
            print(
                f"\nBy all candidates of {values['products']} products of known groups,"
                f" {values['prior']:.3f} of them similar:\n"
            )
            print(table(found, KNOWN, [("F1", "F1"), ("B³ F1", "B3 F1")]))


if __name__ == "__main__":
    main()
