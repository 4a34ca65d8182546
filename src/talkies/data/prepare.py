"""From videos to a set: planned in parts, made by workers, gathered into a report, checksums and a datasheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from talkies.data.datasheet import datasheet
from talkies.data.parts import ROWS, Helpers, PartJob, fingerprint, prepare_part
from talkies.data.report import PartRecord, Row, write_table
from talkies.data.settings import FootageSettings
from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.domain.manifest import FORMAT, VERSION
from talkies.media.shards import claim, write_checksums
from talkies.media.staging import staged
from talkies.media.video_source import SUFFIXES, VideoSource
from talkies.runtime.workers import worker_processes

#: What follows a set's name in the names of its parts: fingerprint and number.
_PARTS = f"-{'?' * 16}-????"
#: Makes parts, wherever; gives the rows of each as it is done.
Runner = Callable[[Sequence[PartJob], Helpers], Iterator[list[Row]]]


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Files as given, and the videos in folders (and their folders), in order of their names.

    Raises:
        InputError: Nothing there.
    """
    videos: list[Path] = []
    for path in paths:
        if path.is_dir():
            videos += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        elif path.exists():
            videos.append(path)
        else:
            raise InputError(f"There is no video {path}.")
    if not videos:
        raise InputError("There are no videos.", f"Looked for {', '.join(SUFFIXES)}.")
    return list(dict.fromkeys(videos))


def plan(videos: Sequence[Path], folder: Path, settings: FootageSettings) -> tuple[list[PartJob], list[Row]]:
    """The parts of all videos, and a row for every one that cannot be used at all."""
    jobs: list[PartJob] = []
    rows: list[Row] = []
    known: dict[str, Path] = {}
    for video in videos:
        try:
            seconds = VideoSource.open(video).seconds
            mark, voices = fingerprint(video)
        except InputError as error:
            rows.append(Row(video=video.name, result="broken video", detail=str(error)))
            continue
        if mark in known:
            rows.append(Row(video=video.name, result="duplicate", detail=f"of {known[mark].name}"))
            continue
        known[mark] = video
        length = settings.part_seconds
        for number in range(max(1, int(-(-seconds // length)))):
            left = min(length, seconds - number * length)
            if number == 0 or left * FPS >= settings.shortest:
                jobs.append(PartJob(video=video.resolve(), fingerprint=mark, voices=voices, number=number,
                                    start=number * length, seconds=left, folder=folder.resolve(),
                                    settings=settings))  # fmt: skip
    return jobs, rows


def prepare(
    videos: Sequence[Path], folder: Path, settings: FootageSettings, helpers: Helpers, run: Runner
) -> Iterator[tuple[int, int, list[Row]]]:
    """Makes a set of videos; parts that are done are kept. More videos may be added to a set later.

    Args:
        videos: Files and folders. folder: Of the set, made if missing.
        settings: What decides the clips. helpers: Exchangeable parts. run: Makes the parts: `Workers`, or on Ray.

    Yields:
        Parts done, parts in all, rows of the last one; first those of unusable videos.

    Raises:
        InputError: No videos, or the folder holds a set made with other settings.
    """
    found = find_videos(videos)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ROWS).mkdir(exist_ok=True)
    claim(folder, settings.name, {"format": FORMAT, "clips": VERSION, **settings.model_dump(mode="json")})
    jobs, unusable = plan(found, folder, settings)
    missing = [job for job in jobs if not _is_done(job)]
    done = len(jobs) - len(missing)
    yield done, len(jobs), unusable
    lost: list[Row] = []
    for rows in run(missing, helpers):
        done += 1
        lost += [row for row in rows if row.result == "process died"]
        yield done, len(jobs), rows
    _finish(folder, settings, [*unusable, *lost])


def _is_done(job: PartJob) -> bool:
    if not job.rows.exists():
        return False
    record = PartRecord.read(job.rows)
    return record.voices == job.voices and (job.shard.exists() or not any(row.key for row in record.rows))


def all_rows(folder: Path, name: str) -> list[Row]:
    """Rows of all parts of a set that are done."""
    return [row for path in sorted((folder / ROWS).glob(f"{name}{_PARTS}.json")) for row in PartRecord.read(path).rows]


def _finish(folder: Path, settings: FootageSettings, unusable: Sequence[Row]) -> None:
    """The report, checksums of the shards, the datasheet."""
    name = settings.name
    rows = [*all_rows(folder, name), *unusable]
    write_table(folder / f"{name}.report.csv", rows)
    write_checksums(folder / f"{name}.sha256", sorted(folder.glob(f"{name}{_PARTS}.tar")))
    with staged(folder / f"{name}.md") as scratch:
        scratch.write_text(datasheet(rows, settings), encoding="utf-8")


class Workers:
    """Runs parts on this machine.

    Args:
        count: Processes, one thread each; 1 works in this process.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = count

    def __call__(self, jobs: Sequence[PartJob], helpers: Helpers) -> Iterator[list[Row]]:
        """Rows of every part as it is done. A part that kills its process is tried again alone, then given up."""
        if self._count == 1:
            for job in jobs:
                yield prepare_part(job, helpers)
            return
        left: list[PartJob] = []
        with worker_processes(self._count) as submit:
            futures = {submit(prepare_part, job, helpers): job for job in jobs}
            for future in as_completed(futures):
                if isinstance(future.exception(), BrokenProcessPool):
                    left.append(futures[future])
                else:
                    yield future.result()
        for job in left:
            with worker_processes(1) as submit:
                yield _result(submit(prepare_part, job, helpers), job)


def _result(future: Future[list[Row]], job: PartJob) -> list[Row]:
    try:
        return future.result()
    except BrokenProcessPool:
        return [Row(video=job.video.name, part=job.number, start=job.start, result="process died")]
