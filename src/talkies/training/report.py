"""What a run tells: a log file of JSON lines, TensorBoard events, a live table, and curves drawn from the log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

LOG = "log.jsonl"
CURVES = "curves.png"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Records of a log; a line cut short by a kill is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


class RunLog:
    """Writes records as they come; each has a `kind` (`train`, `validation`, `note`) and a `step`.

    Args:
        folder: The run's folder.
        step: Step the run goes on from; later records of a killed run are dropped.
        console: Where to show progress; a live table on a terminal, plain lines otherwise.
    """

    def __init__(self, folder: Path, step: int, console: Console) -> None:
        self._path = folder / LOG
        kept = [record for record in read_log(self._path) if record.get("step", 0) <= step]
        self._path.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._console = console
        self._latest: dict[str, str] = {}
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._events = _event_writer(folder, step)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        self._file.close()
        if self._events:
            self._events.close()

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Records numbers."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, step)
        shown = {name: f"{value:.4g}" for name, value in values.items()}
        if self._live:
            self._latest.update({f"{kind} {name}": value for name, value in shown.items()})
            self._live.update(_table(step, self._latest), refresh=True)
        else:
            text = " ".join(f"{name} {value}" for name, value in shown.items())
            self._console.print(f"step {step} {kind}: {text}", highlight=False, soft_wrap=True)

    def note(self, step: int, text: str) -> None:
        """Records and shows a sentence."""
        self._file.write(json.dumps({"kind": "note", "step": step, "text": text}) + "\n")
        self._file.flush()
        self._console.print(text, highlight=False, soft_wrap=True)


def _event_writer(folder: Path, step: int) -> Any:
    """TensorBoard's writer, or None where it is not installed: the log file has everything."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def _table(step: int, values: Mapping[str, str]) -> Table:
    table = Table(title=f"step {step}", show_header=False)
    for name, value in values.items():
        table.add_row(name, value)
    return table


def plan_table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Two columns, for the memory plan."""
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def draw_curves(folder: Path) -> Path | None:
    """Draws loss, probe and rate over steps from the log into `curves.png`; None without matplotlib or records."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    records = read_log(folder / LOG)
    train = [record for record in records if record["kind"] == "train"]
    probes = [record for record in records if record["kind"] == "validation"]
    if not train:
        return None
    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss, probe, rate = figure.subplots(1, 3)
    steps = [record["step"] for record in train]
    loss.plot(steps, [record["loss"] for record in train], linewidth=0.8)
    loss.set(title="training loss", xlabel="step", yscale="log")
    names = sorted({name for record in probes for name in record if "@" in name})
    colours = {"right": "tab:green", "shuffled": "tab:orange", "exchanged": "tab:red"}
    for name in names:
        points = [(record["step"], record[name]) for record in probes if name in record]
        kind, _, sigma = name.partition("@")
        style = "-" if sigma == "0.999" else "--"
        probe.plot(*zip(*points, strict=True), style, color=colours.get(kind), marker=".", label=name)
    probe.set(title="left of the lips' motion (0 perfect, 1 still)", xlabel="step")
    if names:
        probe.legend(fontsize=8)
    rate.plot(steps, [record["lr"] for record in train])
    rate.set(title="learning rate", xlabel="step")
    for axes in (loss, probe, rate):
        axes.grid(alpha=0.3)
    path = folder / CURVES
    figure.savefig(path, dpi=110)
    return path
