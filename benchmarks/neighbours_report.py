"""Tables and the figure of what `neighbours.py` measured.

    python benchmarks/neighbours_report.py FOLDER/neighbours-*.json \
        --figure benchmarks/neighbours.svg

Rates are queries per CPU second, single / in batches; in brackets: it / raw ScaNN.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

MODES = ("single", "batched")
PEER = "raw ScaNN"
OURS = "simprod_tf"
# Recall 1 lies at infinity on the figure's axis.
_LEAST_MISSED = 2e-4
_TICKS = (0.80, 0.90, 0.95, 0.99, 0.999)


def rates_table(found: dict) -> str:
    """Returns each contender's rates at each recall as Markdown."""
    targets = sorted({entry["target"] for entry in found["final"]})
    lines = [_row(f"{found['n']:,}", *(f"recall@10 ≥ {t:.2f}" for t in targets))]
    lines.append(_rule(1 + len(targets)))
    for contender in _contenders(found):
        cells = [_rates(found, contender, target) for target in targets]
        lines.append(_row(contender, *cells))
    return "\n".join(lines)


def _rates(found: dict, contender: str, target: float) -> str:
    own = [_best(found, contender, target, mode) for mode in MODES]
    peer = [_best(found, PEER, target, mode) for mode in MODES]
    if None in own:
        return "not reached"
    text = " / ".join(_thousands(entry["per_cpu_s"]) for entry in own)
    if contender == PEER or None in peer:
        return text
    ratios = [one["per_cpu_s"] / two["per_cpu_s"] for one, two in zip(own, peer)]
    return f"{text} ({' / '.join(f'{ratio:.2f}' for ratio in ratios)})"


def settings_table(found: dict) -> str:
    """Returns which setting each of those rates has, its recall and its spread."""
    lines = [
        _row("", "mode", "≥", "build", "setting", "recall", "per CPU s", "per s"),
        _rule(8),
    ]
    for contender in _contenders(found):
        for entry in found["final"]:
            if entry["contender"] == contender:
                lines.append(_setting_row(entry))
    return "\n".join(lines)


def _setting_row(entry: dict) -> str:
    setting = ", ".join(f"{name} {n}" for name, n in entry["setting"].items())
    low, high = entry["per_cpu_s_low"], entry["per_cpu_s_high"]
    rate = f"{entry['per_cpu_s']:,.0f} [{low:,.0f}, {high:,.0f}]"
    return _row(
        entry["contender"],
        entry["mode"],
        f"{entry['target']:.2f}",
        entry["build"],
        setting or "its own",
        f"{entry['recall']:.4f}",
        rate,
        f"{entry['per_s']:,.0f}",
    )


def own_recalls(found: dict) -> str:
    """Returns the recall of ours for each that it was built for."""
    swept = [entry for entry in found["sweep"] if entry["contender"] == OURS]
    return ", ".join(f"{entry['build']} finds {entry['recall']:.4f}" for entry in swept)


def builds_table(found: dict) -> str:
    """Returns what building, keeping and loading each index costs."""
    columns = {
        "build CPU s": ("build_cpu_s", ",.1f"),
        "build wall s": ("build_wall_s", ",.1f"),
        "build's peak MB": ("build_peak_mb", ",.0f"),
        "disk MB": ("disk_mb", ",.0f"),
        "load wall s": ("load_wall_s", ".2f"),
        "loaded MB": ("memory_mb", ",.0f"),
    }
    lines = [_row(f"{found['n']:,}", *columns), _rule(1 + len(columns))]
    for build in found["builds"]:
        cells = [format(build[key], form) for key, form in columns.values()]
        lines.append(_row(build["build"], *cells))
    return "\n".join(lines)


def frontier(found: dict, contender: str, mode: str) -> np.ndarray:
    """Returns [points, 2] float64 recall and rate, of settings that nothing beats."""
    swept = [
        (entry["recall"], statistics.median(entry["cpu"][mode]))
        for entry in found["sweep"]
        if entry["contender"] == contender
    ]
    best, kept = 0.0, []
    for recall, rate in sorted(swept, reverse=True):
        if rate > best:
            best = rate
            kept.append((recall, rate))
    return np.array(kept).reshape(-1, 2)


def draw(results: list[dict], path: Path) -> None:
    """Draws the frontiers, a row a catalogue, a column a mode."""
    # Else the ids within the file differ from run to run.
    mpl.rcParams["svg.hashsalt"] = "neighbours"
    size = (9.0, 3.6 * len(results))
    figure, axes = plt.subplots(
        len(results), 2, figsize=size, squeeze=False, layout="constrained"
    )
    for line, found in zip(axes, results):
        for axis, mode in zip(line, MODES):
            _panel(axis, found, mode)
    lines, names = axes[0, 0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": 4, "frameon": False}
    figure.legend(lines, names, fontsize=8, **place)
    figure.suptitle(
        "Nearest neighbours, made-up products, one thread; upper right wins"
    )
    figure.savefig(path, metadata={"Date": None})


def _panel(axis: plt.Axes, found: dict, mode: str) -> None:
    for number, contender in enumerate(_contenders(found)):
        points = frontier(found, contender, mode)
        axis.plot(
            np.maximum(1 - points[:, 0], _LEAST_MISSED),
            points[:, 1],
            "o-",
            color="black" if contender == OURS else f"C{number}",
            label=contender,
            markersize=5 if contender == OURS else 3,
            linewidth=2 if contender == OURS else 1,
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(0.2, _LEAST_MISSED * 0.8)
    axis.set_xticks([1 - tick for tick in _TICKS], [f"{tick:g}" for tick in _TICKS])
    axis.minorticks_off()
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(lambda rate, _: _thousands(rate))
    axis.set_xlabel("recall@10")
    axis.set_ylabel("queries per CPU second")
    kind = "one by one" if mode == "single" else f"in batches of {found['batch']:,}"
    axis.set_title(f"{found['n']:,} products, {kind}", fontsize=9)
    axis.grid(alpha=0.3)


def _best(found: dict, contender: str, target: float, mode: str) -> dict | None:
    wanted = (contender, target, mode)
    for entry in found["final"]:
        if (entry["contender"], entry["target"], entry["mode"]) == wanted:
            return entry
    return None


def _contenders(found: dict) -> list[str]:
    return list(dict.fromkeys(build["contender"] for build in found["builds"]))


def _thousands(rate: float) -> str:
    return f"{rate:.0f}" if rate < 1000 else f"{rate / 1000:.3g}k"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "| --- " * columns + "|"


def main() -> None:
    """Reads the command line, prints the tables, draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--settings", action="store_true", help="which setting won")
    options = parser.parse_args()
    results = [json.loads(path.read_text(encoding="utf-8")) for path in options.results]
    results.sort(key=lambda found: found["n"])
    print(f"{results[0]['machine']}\n")
    for found in results:
        print(f"{rates_table(found)}\n\n{own_recalls(found)}\n")
        if options.settings:
            print(f"{settings_table(found)}\n")
        print(f"{builds_table(found)}\n")
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
