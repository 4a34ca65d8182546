"""`talkies evaluate`: numbers that mean something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talkies.cli.report import Report
from talkies.domain.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from talkies.evaluation.metric import Metric
    from talkies.evaluation.results import Results, Row

app = typer.Typer(help="Measure videos: who speaks with whose voice, how well, how true.", no_args_is_help=True)


@app.callback()
def _needs() -> None:
    """All of it needs OpenCV."""
    from importlib.util import find_spec

    if not find_spec("cv2"):
        raise MissingDependencyError("This needs OpenCV.", "pip install 'talkies[eval]'")


@app.command(name="metrics")
def list_metrics() -> None:
    """Every metric: what it says, what it needs, and whether it can be computed here."""
    from talkies.evaluation.metric import metrics

    for metric in metrics().values():
        missing = metric.missing()
        typer.echo(f"{metric.name}  ({'not here: ' + missing if missing else 'ready'})")
        for column in metric.columns:
            unit = f", {column.unit}" if column.unit else ""
            typer.echo(f"    {column.name}: {column.meaning} (better: {column.direction}{unit})")
        typer.echo(f"    needs {metric.needs}" + (f"; {metric.weights}" if metric.weights else ""))


@app.command()
def measure(
    videos: Annotated[list[Path] | None, typer.Argument(help="One video, or none with --set.")] = None,
    voice: Annotated[
        list[Path] | None, typer.Option(help="A person's own voice, left to right; `silence` for a silent person.")
    ] = None,
    truth: Annotated[
        list[Path] | None, typer.Option(help="Known lips, left to right: .npz of a clip or of tracks, or .csv curves.")
    ] = None,
    sets: Annotated[
        Path | None, typer.Option("--set", help="Folder of `stage render` shards, or of videos of single people.")
    ] = None,
    name: Annotated[str, typer.Option(help="Only shards whose names begin so, e.g. test-dual.")] = "",
    generated: Annotated[
        Path | None, typer.Option(help="Folder with the model's KEY.mp4; the set's own videos without it.")
    ] = None,
    model: Annotated[str, typer.Option(help="What the model is called in tables.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for JSON and CSV.")] = None,
    metrics: Annotated[str, typer.Option(help="Names separated by commas, or all.")] = "binding,lip-truth,drift",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many videos.")] = None,
    baselines: Annotated[bool, typer.Option(help="Also the ground truth and shuffled voices.")] = True,
) -> None:
    """Measure a video, or a set of videos."""
    from talkies.evaluation.metric import choose
    from talkies.evaluation.results import save

    chosen = choose(metrics)
    if (sets is None) == (not videos):
        raise InputError("What is to be measured?", "Give one video, or --set FOLDER.")
    if sets is None:
        if len(videos or []) != 1:
            raise InputError("Only one video is measured without --set.", "Put them in a folder and use --set.")
        results = [_one_video((videos or [])[0], voice or [], truth or [], chosen, model)]
    else:
        results = _a_set(sets, name, generated, model, chosen, limit, baselines)
    if out is not None:
        save(results, out)
    for result in results:
        _show(result)


def _one_video(video: Path, voices: list[Path], truths: list[Path], chosen: tuple[Metric, ...], model: str) -> Results:
    from talkies.evaluation.runner import as_results, measure_all
    from talkies.evaluation.sets import read_single

    rows, _ = measure_all([read_single(video, voices, truths)], chosen)
    return as_results(rows, chosen, model or "video", video.name)


def _a_set(
    folder: Path, name: str, generated: Path | None, model: str, chosen: tuple[Metric, ...], limit: int | None,
    baselines: bool,
) -> list[Results]:  # fmt: skip
    from talkies.evaluation.runner import as_results, measure_all
    from talkies.evaluation.sets import open_set

    label = name or folder.name
    report = Report()
    passes: list[tuple[str, Path | None]] = []
    if generated is not None:
        passes.append((model or generated.name, generated))
    if baselines or generated is None:
        passes.append(("ground truth", None))
    results = []
    for called, source in passes:
        shuffle = baselines and source is None

        def progress(row: Row, called: str = called) -> None:
            report.say(f"{called}  {row.key}  {row.failure or f'{row.seconds:.1f} s'}")

        rows, strange = measure_all(open_set(folder, name, source, limit), chosen, progress, shuffle)
        results.append(as_results(rows, chosen, called, label))
        if strange:
            results.append(as_results(strange, chosen, "shuffled audio", label))
    return results


def _show(result: Results) -> None:
    """A table on standard output: means with intervals, then people if there is one video only."""
    from talkies.evaluation.statistics import estimate

    failed = [row for row in result.rows if row.failure]
    typer.echo(f"{result.model} on {result.set}: {len(result.rows) - len(failed)} of {len(result.rows)} videos")
    for name in result.columns:
        value = estimate(list(result.column(name).values()))
        if value.count:
            spread = f"  [{value.low:.3f}, {value.high:.3f}]" if value.count > 1 else ""
            typer.echo(f"    {name:<22} {value.mean:8.3f}{spread}  n={value.count}")
    for key, whole in result.whole.items():
        typer.echo(f"    {key:<22} {'-' if whole is None else f'{whole:8.3f}'}")
    for row in failed[:20]:
        typer.echo(f"    {row.key}: {row.failure}")
    for note in result.notes:
        typer.echo(f"    note: {note}")
    if len(result.rows) == 1:
        for person in result.rows[0].people:
            typer.echo(f"    {person['name']} (against {person['against']})")
            for field, number in person.items():
                if isinstance(number, float):
                    typer.echo(f"        {field:<20} {number:8.3f}")
        for line in result.rows[0].matrix:
            typer.echo("    face x voice  " + " ".join("   -  " if v is None else f"{v:6.3f}" for v in line))
