"""An empty plot, and its SVG that takes its colours from the page around it.

Matplotlib draws in marker colours; these are then replaced by `currentColor` and CSS
variables (`--line-1`, `--similar`, ...), so that one drawing serves a light page, a
dark one and paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

LINES = 6
"""How many lines the page has colours and dashes for; further ones begin again."""

INK, SIMILAR, OTHER = "#010101", "#020202", "#030303"
LINE_MARKERS = tuple(f"#04040{number}" for number in range(1, LINES + 1))
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (7, 2, 1.5, 2)),
    (0, (4, 4)),
    (0, (1, 3)),
)
_COLOURS = {
    INK: "currentColor",
    SIMILAR: "var(--similar)",
    OTHER: "var(--other)",
    **{marker: f"var(--line-{i})" for i, marker in enumerate(LINE_MARKERS, start=1)},
}
# SVG's own text follows the page's font; a fixed salt makes equal plots equal bytes.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "simprod", "font.size": 9.5}
# Inches of 72 points: on a phone of 360 pixels the text is still 10 pixels high.
WIDTH, HEIGHT = 3.7, 2.6


@contextmanager
def plot_style() -> Iterator[None]:
    """Sets what all plots of the report share; figures are made and written in it."""
    with matplotlib.rc_context(_STYLE):
        yield


def blank(
    *, width: float = WIDTH, height: float = HEIGHT, rows: int = 1
) -> tuple[Figure, list[Axes]]:
    """Returns a see-through figure and its axes, one above the other.

    Args:
        width, height: in inches.
        rows: how many axes; they share the horizontal one.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0.0)
    found = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for axes in found:
        axes.patch.set_alpha(0.0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(colors=INK, which="both")
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        axes.grid(color=INK, alpha=0.12, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, list(found)


def as_svg(figure: Figure, *, prefix: str) -> str:
    """Returns the drawing as an <svg> element to stand inside a page.

    Args:
        figure: of `blank`.
        prefix: of the ids inside, so that drawings on one page share none.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = text.replace("xlink:href", "href")
    for marker, colour in _COLOURS.items():
        text = text.replace(marker, colour)
    return text.strip()
