"""Plots of a report, as SVG text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from talkies.domain.errors import MissingDependencyError
from talkies.evaluation.results import Results, Row
from talkies.evaluation.statistics import estimate, of_column

COLOURS = ("#2a6fdb", "#e0662f", "#2fa36b", "#9b4fd0", "#b8962e", "#d1478c", "#4f5d6b", "#0b9aa8")
#: Curves over seconds that metrics give (`metrics.drift`, `metrics.identity`).
DRIFT = ("identity distance", "colour drift", "contrast", "sharpness", "motion energy")


def intervals(results: Sequence[Results], column: str) -> str:
    """Means with confidence intervals, one line per model; "" where nobody has a value."""
    estimates = [(result.model, of_column(result, column)) for result in results if column in result.columns]
    shown = [(model, value) for model, value in estimates if value.count]
    if not shown:
        return ""
    figure = _figure(4.2, 0.5 + 0.28 * len(shown))
    axes = figure.subplots()
    for line, (model, value) in enumerate(shown):
        colour = COLOURS[[name for name, _ in estimates].index(model) % len(COLOURS)]
        axes.plot([value.low, value.high], [line, line], color=colour, linewidth=3, alpha=0.4, solid_capstyle="round")
        axes.plot(value.mean, line, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(shown)), [model for model, _ in shown])
    axes.set(ylim=(len(shown) - 0.5, -0.5), title=column)
    axes.grid(axis="x", alpha=0.25)
    return _svg(figure)


def drift(results: Sequence[Results]) -> str:
    """Drift over seconds with bands (95 % interval of the mean); "" where no video is longer than a second."""
    curves = [row.curves for result in results for row in result.rows]
    shown = [name for name in DRIFT if any(len(found.get(name, ())) > 1 for found in curves)]
    if not shown:
        return ""
    figure = _figure(2.75 * len(shown), 2.5)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        for number, result in enumerate(results):
            if result.model == "shuffled audio":  # the same pictures
                continue
            _band(axes, [row.curves[name] for row in result.rows if name in row.curves], number, result.model)
        axes.set(title=name, xlabel="seconds")
        axes.grid(alpha=0.25)
    panels[0].legend(fontsize=7, frameon=False)
    return _svg(figure)


def _band(axes: Any, curves: Sequence[Sequence[float]], number: int, label: str) -> None:
    longest = max(map(len, curves), default=0)
    columns = [estimate([c[k] for c in curves if len(c) > k]) for k in range(longest)]
    x = np.arange(longest) + 0.5
    colour = COLOURS[number % len(COLOURS)]
    axes.plot(x, [c.mean for c in columns], color=colour, marker=".", label=label)
    axes.fill_between(x, [c.low for c in columns], [c.high for c in columns], color=colour, alpha=0.15, linewidth=0)


def lips(row: Row) -> str:
    """What lips do and what they should, one line per person; "" where that is not known."""
    names = [name.removesuffix(" seen") for name in row.curves if name.endswith(" seen")]
    if not names:
        return ""
    figure = _figure(5.6, 0.4 + 1.0 * len(names))
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        for kind, colour in (("wanted", "#9aa3ad"), ("seen", COLOURS[0])):
            values = np.array(row.curves.get(f"{name} {kind}", ()))
            axes.plot(np.arange(len(values)) / 25, values - values.min(initial=np.inf), color=colour, label=kind)
        axes.set_ylabel(name, fontsize=7)
        axes.grid(alpha=0.25)
    figure.axes[0].legend(fontsize=7, frameon=False, ncols=2)
    figure.axes[-1].set_xlabel("seconds", fontsize=7)
    return _svg(figure)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("A report needs matplotlib.", "pip install 'talkies[eval]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _svg(figure: Any) -> str:
    """The picture as one `<svg>` element without a date, so that equal results give equal reports."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "talkies", "font.size": 8}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
