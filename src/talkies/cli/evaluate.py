"""`talkies evaluate`: numbers that mean something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talkies.cli.evaluate_align import EXAMPLES as ALIGN_EXAMPLES
from talkies.cli.evaluate_align import align
from talkies.cli.evaluate_fit import fit_arms, fit_gestures, fit_speech, fit_sync, fit_units
from talkies.cli.evaluate_prepare import EXAMPLES, prepare
from talkies.cli.report import Report
from talkies.domain.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from talkies.evaluation.metric import Metric
    from talkies.evaluation.results import Results
    from talkies.evaluation.set_metric import SetMetric

app = typer.Typer(help="Measure videos: who speaks with whose voice, how well, how true.", no_args_is_help=True)

SetFolder = Annotated[Path | None, typer.Option("--set", help="Folder of `stage render` shards, or of videos.")]
SetName = Annotated[str, typer.Option(help="Only shards whose names begin so, e.g. test-dual.")]
MetricNames = Annotated[str, typer.Option(help="Names separated by commas, `ready` or `all`.")]
Protocol = Annotated[str, typer.Option(help="`tracks`, or `halves`: left and right half apart, for two people.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many videos.")]
Baselines = Annotated[bool, typer.Option(help="Also the ground truth and shuffled voices.")]


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
    from talkies.evaluation.set_metric import set_metrics

    known: list[Metric | SetMetric] = [*metrics().values(), *set_metrics().values()]
    for metric in known:
        missing = metric.missing()
        typer.echo(f"{metric.name}: {'not here: ' + missing if missing else 'ready'}")
        for column in metric.columns:
            unit = f", {column.unit}" if column.unit else ""
            typer.echo(f"    {column.name}: {column.meaning} (better: {column.direction}{unit})")
        facts = (f"needs {metric.needs}", metric.weights, metric.source)
        typer.echo("    " + "; ".join(fact for fact in facts if fact))


@app.command()
def measure(
    video: Annotated[Path | None, typer.Argument(help="A video; or none, with --set.")] = None,
    voice: Annotated[
        list[Path] | None, typer.Option(help="A person's own voice, left to right; `silence` for a silent person.")
    ] = None,
    truth: Annotated[
        list[Path] | None,
        typer.Option(help="Known lips, left to right: .npz of a clip or of tracks, .lab phones, .csv curves."),
    ] = None,
    sets: SetFolder = None,
    name: SetName = "",
    generated: Annotated[
        Path | None, typer.Option(help="Folder with the model's KEY.mp4; the set's own videos without it.")
    ] = None,
    model: Annotated[str, typer.Option(help="What the model is called in tables.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for JSON and CSV.")] = None,
    metrics: MetricNames = "ready",
    protocol: Protocol = "tracks",
    limit: Limit = None,
    baselines: Baselines = True,
) -> None:
    """Measure a video with its people's voices, or a set of videos."""
    from talkies.evaluation.metric import choose
    from talkies.evaluation.results import save
    from talkies.evaluation.runner import as_results, measure_all
    from talkies.evaluation.sets import read_single

    if (sets is None) == (video is None):
        raise InputError("What is to be measured?", "Give a video, or --set FOLDER.")
    if video is not None:
        chosen, _ = choose(metrics)
        found = measure_all([read_single(video, voice or [], truth or [])], chosen)
        results = [as_results(found.rows, chosen, model or "video", video.name, stopped=found.stopped)]
    else:
        assert sets is not None  # noqa: S101
        results = _measure_set(sets, name, generated, model, metrics, protocol, limit, baselines)
    if out is not None:
        save(results, out)
    for result in results:
        _show(result)
    _leave_if_stopped(results)


def _measure_set(
    folder: Path, name: str, generated: Path | None, model: str, metrics: str, protocol: str, limit: int | None,
    baselines: bool,
) -> list[Results]:  # fmt: skip
    """Results of the model (if any), the ground truth and shuffled voices; after Ctrl-C, of what was measured."""
    from talkies.evaluation.metric import choose
    from talkies.evaluation.protocols import protocol as find_protocol
    from talkies.evaluation.runner import Findings, as_results, measure_all
    from talkies.evaluation.set_metric import among, distances
    from talkies.evaluation.sets import open_set, read_making

    chosen, of_sets = choose(metrics)
    cut, label, report = find_protocol(protocol), name or folder.name, Report()

    def one_pass(called: str, videos: Path | None, shuffle: bool) -> Findings:
        return measure_all(
            open_set(folder, name, videos, limit), chosen, of_sets, protocol=cut, shuffle=shuffle,
            progress=lambda row: report.say(f"{called}  {row.key}  {row.failure or f'{row.seconds:.1f} s'}"),
        )  # fmt: skip

    results = []
    called = model or (generated.name if generated is not None else "")
    made = one_pass(called, generated, False) if generated is not None else None
    stopped = made is not None and made.stopped
    real = one_pass("ground truth", None, baselines) if not stopped and (baselines or made is None) else None
    stopped = stopped or (real is not None and real.stopped)
    if made is not None:
        whole = distances(of_sets, made.features, real.features) if real and not stopped else None
        results.append(
            as_results(
                made.rows, chosen, called, label, of_sets=of_sets, whole=whole, protocol=protocol,
                making=read_making(generated), stopped=stopped,
            )
        )  # fmt: skip
    if real is not None:
        whole = None if stopped else among(of_sets, real.features)
        results.append(
            as_results(
                real.rows, chosen, "ground truth", label, of_sets=of_sets, whole=whole, protocol=protocol,
                stopped=stopped,
            )
        )  # fmt: skip
        if real.shuffled:
            results.append(
                as_results(real.shuffled, chosen, "shuffled audio", label, protocol=protocol, stopped=stopped)
            )
    return results


def _leave_if_stopped(results: Sequence[Results]) -> None:
    """Goes on with Ctrl-C, once what was measured is kept."""
    if any(result.stopped for result in results):
        raise KeyboardInterrupt


def _show(result: Results) -> None:
    """A table on standard output: means with intervals; of a single video also each person."""
    from talkies.evaluation.statistics import of_column

    failed = [row for row in result.rows if row.failure]
    typer.echo(f"{result.model} on {result.set}: {len(result.rows) - len(failed)} of {len(result.rows)} videos")
    for name in result.columns:
        value = of_column(result, name)
        if value.count:
            spread = f"  [{value.low:.3f}, {value.high:.3f}]" if value.count > 1 else ""
            typer.echo(f"    {name:<28} {value.mean:8.3f}{spread}  n={value.count}")
    for name, whole in result.whole.items():
        low, high = result.whole_intervals.get(name, (None, None))
        spread = "" if low is None else f"  [{low:.3f}, {high:.3f}]"
        typer.echo(f"    {name:<28} {'       -' if whole is None else f'{whole:8.3f}'}{spread}")
    for row in failed[:20]:
        typer.echo(f"    {row.key}: {row.failure}")
    for note in result.notes:
        typer.echo(f"    note: {note}")
    if len(result.rows) == 1:
        for person in result.rows[0].people:
            numbers = [f"{name} {value:.3f}" for name, value in person.items() if isinstance(value, float)]
            typer.echo(f"    {person['name']}, against {person['against']}: {', '.join(numbers)}")
        for number, line in enumerate(result.rows[0].matrix, 1):
            shown = " ".join("   -  " if value is None else f"{value:6.3f}" for value in line)
            typer.echo(f"    face {number} with each voice: {shown}")


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="The page to write, .html.")],
    results: Annotated[list[Path], typer.Argument(help="JSON files, or folders of them.")],
) -> None:
    """Write one self-contained HTML page that compares any number of models."""
    from talkies.evaluation.report import html
    from talkies.evaluation.results import load
    from talkies.media.staging import staged

    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{out} is no page.", "Name it .html.")
    page = html([result for path in results for result in load(path)])
    with staged(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    typer.echo(str(out))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Results of one model, JSON.")],
    second: Annotated[Path, typer.Argument(help="Results of another on the same videos, JSON.")],
) -> None:
    """Compare two models video by video: differences, intervals, paired tests; |x| says how far off its target x is."""
    from talkies.evaluation.results import load
    from talkies.evaluation.statistics import compare_all

    (one, *more_one), (two, *more_two) = load(first), load(second)
    if more_one or more_two:
        raise InputError("A folder holds several results.", "Give two JSON files.")
    found = compare_all(one, two)
    if not found:
        raise InputError("The two have no column and video in common.")
    typer.echo(
        f"{two.model} minus {one.model}, {one.set}, protocol {one.protocol}; Wilcoxon's signed-rank test, "
        "Holm's correction"
    )
    for name, result in found.items():
        difference = result.difference
        chance = "p -" if result.p != result.p else f"p {result.p_corrected:.3g}"
        typer.echo(
            f"    {name:<28} {result.first:8.3f} -> {result.second:8.3f}  {difference.mean:+.3f} "
            f"[{difference.low:+.3f}, {difference.high:+.3f}]  {chance}  larger in {100 * result.effect:.0f} % "
            f"of {result.count}"
        )


@app.command()
def run(
    model: Annotated[str, typer.Option(help="A model as `generate` takes it.")],
    sets: Annotated[Path, typer.Option("--set", help="Folder of `stage render` shards.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for videos, results and report; a run goes on where it stopped.")
    ],
    name: SetName = "",
    limit: Limit = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; else the model's.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first film's noise; every other film has the next.")] = 0,
    metrics: MetricNames = "ready",
    protocol: Protocol = "tracks",
    baselines: Baselines = True,
    exchanged: Annotated[
        bool, typer.Option(help="Swap test: make clips of two speakers once more with their voices exchanged.")
    ] = False,
) -> None:
    """Generate a set's videos with a model, measure them, and write the report."""
    from talkies.cli.evaluate_run import generate_set
    from talkies.evaluation.report import html
    from talkies.evaluation.results import ending, save
    from talkies.evaluation.sets import EXCHANGED
    from talkies.media.staging import staged

    videos = generate_set(model, sets, out / "videos", name, limit, steps, seed)
    if exchanged:
        generate_set(model, sets, videos / EXCHANGED, name, limit, steps, seed, exchanged=True)
    results = _measure_set(sets, name, videos, Path(model).name, metrics, protocol, limit, baselines)
    save(results, out / "results")
    _leave_if_stopped(results)
    page = out / f"report{ending(protocol)}.html"
    with staged(page) as scratch:
        scratch.write_text(html(results), encoding="utf-8")
    for result in results:
        _show(result)
    typer.echo(str(page))


app.command(epilog=ALIGN_EXAMPLES)(align)
app.command(epilog=EXAMPLES)(prepare)
_FITS: dict[str, Callable[..., None]] = {
    "speech": fit_speech,
    "sync": fit_sync,
    "units": fit_units,
    "gestures": fit_gestures,
    "arms": fit_arms,
}
for verb, action in _FITS.items():
    app.command(name=f"fit-{verb}", hidden=True)(action)
