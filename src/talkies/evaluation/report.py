"""A report: one HTML page with everything in it, for any number of models on one set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import islice

from talkies.domain.errors import InputError
from talkies.evaluation import plots
from talkies.evaluation.results import ColumnEntry, Results, Row, same_task
from talkies.evaluation.statistics import Estimate, estimate, of_column

#: Cases are ranked by the first of these that a model has values of.
_RANKED_BY = ("lip r", "sync score (curve)", "Sync-C", "sharpness")
_PLOTTED = 12

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #2a6fdb33; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) } .quiet { opacity: .7 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--soft) } th { vertical-align: bottom }
th:first-child, td:first-child { text-align: left } td small, th small { opacity: .6; display: block }
td:first-child small { max-width: 26rem } td:not(:first-child) { white-space: nowrap } .best { font-weight: 700 }
.wide { overflow-x: auto } .plots { display: flex; flex-wrap: wrap; gap: .5rem } .case { margin: 1rem 0 2rem }
svg { max-width: 100%; height: auto; background: #fff; border-radius: .4rem }
img { max-width: 100%; border-radius: .4rem }
.case > div { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center } td.cell { text-align: center }
"""


def html(results: Sequence[Results]) -> str:
    """The page.

    Args:
        results: One per model, the ground truth and shuffled audio among them; all on one set.

    Raises:
        InputError: None, or of different sets or protocols.
    """
    if not results:
        raise InputError("There is nothing to report.", "Give results of `talkies evaluate measure`.")
    same_task(results)
    columns = {name: entry for result in results for name, entry in result.columns.items()}
    title = f"{results[0].set}: {', '.join(result.model for result in results)}"
    body = [
        f"<h1>{escape(results[0].set)}</h1>",
        f"<p class=quiet>{escape(_made(results))}</p>",
        "<h2>Means</h2>",
        _table(results, columns),
        "<p class=quiet>Mean over videos, below it the 95 % bootstrap interval (2000 resamples, seed 0; Wilson's for "
        "shares that are 0 or 1 in every video; a jackknife for distances of whole sets) and the number of videos. "
        "Bold: best of the models, in columns with a target by the mean distance from it; ground truth and shuffled "
        "audio are there to compare with.</p>",
        *_plots(results, columns),
        *(part for result in results if result.model != "shuffled audio" for part in _cases(result)),
        *_failures(results),
        *_notes(results),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><meta name="viewport" content="width=device-width">'
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"


def _made(results: Sequence[Results]) -> str:
    """The measuring once, the generation of each model's videos as far as noted."""
    facts = [f"protocol {results[0].protocol}"]
    facts += [f"{name} {value}" for name, value in results[0].made.items() if not name.startswith("generation ")]
    for result in results:
        known = [f"{name} {value}" for name, value in result.made.items() if name.startswith("generation ")]
        facts += [f"{result.model}: {'; '.join(known)}"] if known else []
    return ", ".join(facts)


def _table(results: Sequence[Results], columns: dict[str, ColumnEntry]) -> str:
    found = {name: [_value(result, name) for result in results] for name in columns}
    shown = {name: values for name, values in found.items() if any(value.count for value in values)}
    contest = [k for k, result in enumerate(results) if result.model not in ("ground truth", "shuffled audio")]
    models = [results[k] for k in contest]
    best = {name: _best(models, name, columns[name]) for name in shown}
    arrows = {"higher": " ↑", "lower": " ↓", "zero": " → 0", "one": " → 1", "none": ""}
    head = "".join(f"<th>{escape(result.model)}{_failed(result)}</th>" for result in results)
    lines = []
    for name, values in shown.items():
        entry = columns[name]
        meaning = f"<small>{escape(entry.meaning + _unit(entry))}</small>"
        cells = "".join(_cell(value, results[k] is best[name]) for k, value in enumerate(values))
        lines.append(f"<tr><td>{escape(name)}{arrows[entry.direction]}{meaning}</td>{cells}</tr>")
    return f"<div class=wide><table><tr><th></th>{head}</tr>{''.join(lines)}</table></div>"


def _failed(result: Results) -> str:
    count = sum(bool(row.failure) for row in result.rows)
    return f"<small>{count} failed</small>" if count else ""


def _value(result: Results, name: str) -> Estimate:
    whole = result.whole.get(name)
    if whole is not None:
        low, high = result.whole_intervals.get(name, (math.nan, math.nan))
        return Estimate(whole, low, high, sum(not row.failure for row in result.rows))
    return of_column(result, name) if name in result.columns else estimate([])


def _unit(entry: ColumnEntry) -> str:
    return f" ({entry.unit})" if entry.unit else ""


def _best(models: Sequence[Results], name: str, entry: ColumnEntry) -> Results | None:
    """Which model is best; None with fewer than two, or where nothing is better."""
    worth = {id(model): _worth(model, name, entry) for model in models}
    known = [model for model in models if math.isfinite(worth[id(model)])]
    if len(known) < 2 or entry.direction == "none":
        return None
    return max(known, key=lambda model: worth[id(model)])


def _worth(model: Results, name: str, entry: ColumnEntry) -> float:
    """The higher the better. Where there is a target, errors to either side of it must not cancel out."""
    value = _value(model, name)
    if entry.target is None:
        return value.mean if entry.direction == "higher" else -value.mean
    values = model.column(name).values()
    return -sum(abs(one - entry.target) for one in values) / len(values) if values else math.nan


def _cell(value: Estimate, best: bool) -> str:
    if not value.count:
        return "<td>–</td>"
    mark = " class=best" if best else ""
    spread = f"{value.low:.3g} … {value.high:.3g}, " if math.isfinite(value.low) else ""
    return f"<td{mark}>{value.mean:.3f}<small>{spread}n={value.count}</small></td>"


def _plots(results: Sequence[Results], columns: dict[str, ColumnEntry]) -> list[str]:
    drawn = list(islice((svg for name in columns if (svg := plots.intervals(results, name))), _PLOTTED))
    parts = ["<h2>Intervals</h2>", f"<div class=plots>{''.join(drawn)}</div>"] if drawn else []
    if svg := plots.drift(results):
        parts += ["<h2>Drift</h2>", svg]
    return parts


def _cases(result: Results) -> list[str]:
    """Best, median and worst video of a model."""
    column = next((name for name in _RANKED_BY if result.column(name)), None)
    if column is None:
        return []
    order = sorted(result.column(column).items(), key=lambda item: -item[1])
    picks = {order[0][0]: "best", order[len(order) // 2][0]: "median", order[-1][0]: "worst"}
    rows = {row.key: row for row in result.rows}
    parts = [f"<h2>{escape(result.model)}: by {escape(column)}</h2>"]
    for key, rank in picks.items():
        parts.append(_case(rows[key], f"{rank}: {escape(key)}, {dict(order)[key]:.3f}"))
    return parts


def _case(row: Row, title: str) -> str:
    strip = f'<img alt="frames" src="{escape(row.strip, quote=True)}">' if row.strip.startswith("data:image/") else ""
    return f"<div class=case><h3>{title}</h3>{strip}<div>{plots.lips(row)}{_matrix(row)}</div></div>"


def _matrix(row: Row) -> str:
    if not row.matrix:
        return ""
    head = "".join(f"<th>voice {k + 1}</th>" for k in range(len(row.matrix)))
    lines = []
    for k, line in enumerate(row.matrix):
        cells = "".join(
            "<td class=cell>–</td>" if value is None
            else f'<td class=cell style="background: rgb(42 111 219 / {max(0.0, value) * 0.6:.2f})">{value:.2f}</td>'
            for value in line
        )  # fmt: skip
        lines.append(f"<tr><td>face {k + 1}</td>{cells}</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"


def _failures(results: Sequence[Results]) -> list[str]:
    lines = [
        f"<tr><td>{escape(result.model)}</td><td>{escape(row.key)}</td><td>{escape(row.failure)}</td></tr>"
        for result in results
        for row in result.rows
        if row.failure
    ]
    return ["<h2>Not measured</h2><div class=wide><table>", *lines, "</table></div>"] if lines else []


def _notes(results: Sequence[Results]) -> list[str]:
    notes = dict.fromkeys(note for result in results for note in result.notes)
    return ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in notes), "</ul>"] if notes else []
