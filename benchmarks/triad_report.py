"""Tables and the figure of what `triad.py` measured.

    python benchmarks/triad_report.py triad.csv --ablation ablation.csv \
        --figure benchmarks/triad.svg

Means over the seeds, with 95 % intervals by Student's t: one shop a seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from scipy import stats
from triad import Row, rows_of

mpl.use("Agg")
from matplotlib import pyplot as plt

Measure = Callable[[Row], float]
MEASURES: dict[str, Measure] = {
    "MAP@R": lambda row: row.map_at_r,
    "PR-AUC": lambda row: row.pr_auc,
}
DEFAULT = "default (npairs)"
COLOURS = {"untrained": "0.55", "mined": "C1", "hand": "C0", "both": "C2"}


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean, and half the width of its 95 % interval."""
    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(np.mean(values)), float(half)


def text_of(values: Sequence[float]) -> str:
    """Returns mean and interval as text."""
    mean, half = mean_and_half(values)
    return f"{mean:.3f} ± {half:.3f}"


def triad_table(rows: list[Row], measure: Measure) -> str:
    """Returns the triad as Markdown: a row a noise and number of hand labels."""
    lines = ["| noise | hand labels | untrained | mined | hand | both | both - hand |"]
    lines.append("| --- " * 7 + "|")
    for noise in sorted({row.noise for row in rows}):
        for hand in sorted({row.hand for row in rows} - {0}):
            cells = [text_of(_values(rows, measure, noise, 0, "untrained"))]
            cells.append(text_of(_values(rows, measure, noise, 0, "mined")))
            by_hand = _values(rows, measure, noise, hand, "hand")
            by_both = _values(rows, measure, noise, hand, "both")
            cells += [text_of(by_hand), text_of(by_both)]
            cells.append(text_of(np.subtract(by_both, by_hand)))
            lines.append(f"| {noise:g} | {hand} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ablation_table(rows: list[Row]) -> str:
    """Returns each variant beside the default, seed by seed."""
    lines = [
        "| variant | seeds | MAP@R | less the default's | PR-AUC | less the default's |"
    ]
    lines.append("| --- " * 6 + "|")
    for variant in dict.fromkeys(row.variant for row in rows):
        cells = [str(sum(row.variant == variant for row in rows))]
        for measure in MEASURES.values():
            own = {r.seed: measure(r) for r in rows if r.variant == variant}
            default = {r.seed: measure(r) for r in rows if r.variant == DEFAULT}
            cells.append(text_of(list(own.values())))
            cells.append(text_of([own[s] - default[s] for s in own if s in default]))
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(rows: list[Row], path: Path) -> None:
    """Draws MAP@R over the number of hand labels, a panel a noise."""
    noises = sorted({row.noise for row in rows})
    figure, axes = plt.subplots(
        1, len(noises), figsize=(3.1 * len(noises), 3.0), sharey=True
    )
    for axis, noise in zip(np.atleast_1d(axes), noises):
        _panel(axis, rows, noise)
    np.atleast_1d(axes)[0].set_ylabel("MAP@R, test products")
    np.atleast_1d(axes)[0].legend(frameon=False, fontsize=8)
    figure.suptitle("Trained on what? Synthetic shops, mean of seeds, 95 % intervals")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _panel(axis: plt.Axes, rows: list[Row], noise: float) -> None:
    numbers = sorted({row.hand for row in rows} - {0})
    for model, colour in COLOURS.items():
        # What needs no hand labels is the same for any number of them.
        fixed = model in ("untrained", "mined")
        found = [
            mean_and_half(
                _values(rows, MEASURES["MAP@R"], noise, 0 if fixed else one, model)
            )
            for one in numbers
        ]
        means, halves = np.transpose(found)
        style = "--" if fixed else "o-"
        axis.plot(numbers, means, style, color=colour, label=model, markersize=4)
        axis.fill_between(
            numbers, means - halves, means + halves, color=colour, alpha=0.15, lw=0
        )
    axis.set_xscale("log")
    axis.set_xticks(numbers, [str(one) for one in numbers])
    axis.minorticks_off()
    axis.set_xlabel("hand-labelled pairs")
    axis.set_title(f"{noise:.0%} of last views astray", fontsize=9)
    axis.grid(alpha=0.3)


def _values(
    rows: list[Row], measure: Measure, noise: float, hand: int, model: str
) -> list[float]:
    """Returns a value a seed, in the order of the seeds."""
    chosen = [r for r in rows if (r.noise, r.hand, r.model) == (noise, hand, model)]
    return [measure(row) for row in sorted(chosen, key=lambda row: row.seed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--ablation", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    rows = rows_of(options.results)
    for name, measure in MEASURES.items():
        print(f"{name}\n\n{triad_table(rows, measure)}\n")
    if options.ablation:
        print(ablation_table(rows_of(options.ablation)))
    if options.figure:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
