"""From lists and videos to a folder of clips: drawn, cut, recorded, gone on with."""

from __future__ import annotations

import csv
import hashlib
import io
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from talkies.domain.errors import InputError
from talkies.evaluation.datasets.celebv_hq import read_celebv_hq
from talkies.evaluation.datasets.cutting import cut
from talkies.evaluation.datasets.emtd import read_emtd
from talkies.evaluation.datasets.hdtf import read_hdtf
from talkies.evaluation.datasets.listed import ListedClip, Listing, RefusedError, Result
from talkies.media.shards import claim
from talkies.media.staging import staged
from talkies.media.video_source import SUFFIXES
from talkies.provenance.record import sha256_of

INDEX, CHECKSUMS = "index.csv", "SHA256SUMS"
#: Folder of what is known of clips that are made; a clip is done when its record is there.
_RECORDS = "records"
#: What decides a folder, `test-set.json`.
_CLAIM = "test-set"
_VERSION = 1


@dataclass(frozen=True)
class PublicSet:
    """How a set is read and made: its lists' reader, and the longer side of its clips in pixels."""

    read: Callable[[Path], Listing]
    side: int


SETS: Mapping[str, PublicSet] = {
    "hdtf": PublicSet(read_hdtf, 512),
    "celebv-hq": PublicSet(read_celebv_hq, 512),
    "emtd": PublicSet(read_emtd, 768),
}


class Row(BaseModel):
    """What became of a clip, or of a line that is none.

    Attributes:
        clip: Its name, as far as known. source: Name of the video's file. source_sha256: Of it.
        start, end: Seconds of the video; as listed where nothing was made.
        crop: Left, top, width, height in pixels of the video. frames: Of the clip, at 25 per second.
        result: `made`, or why not. detail: What is to be known. sha256: Of the clip.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip: str
    source: str = ""
    source_sha256: str = ""
    start: float | None = None
    end: float | None = None
    crop: str = ""
    frames: int = 0
    result: Result = "made"
    detail: str = ""
    sha256: str = ""


class _Record(BaseModel):
    """A clip that is made: the list's words, the video's size and time of change, the row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listed: str
    video: tuple[int, int]
    row: Row


@dataclass(frozen=True)
class Step:
    """Progress.

    Attributes:
        done, total: Clips. row: Of the last one, or of a line of the lists that is no clip (`done` is 0 then).
        kept: Whether it was there before.
    """

    done: int
    total: int
    row: Row
    kept: bool = False


class _StoppedError(Exception):
    """Another clip's worker failed, or Ctrl-C was pressed."""


def prepare(
    name: str, lists: Path, videos: Path, out: Path, *, side: int | None = None, seconds: float | None = None,
    limit: int | None = None, seed: int = 0, workers: int = 1,
) -> Generator[Step, None, None]:  # fmt: skip
    """Makes a public set; clips that are done and whole are kept. In the end come `index.csv` and `SHA256SUMS`.

    Args:
        name: Of `SETS`. lists: The authors' file or folder. videos: Searched with all below it.
        out: Folder of the clips, made if missing.
        side: Longer side of clips in pixels, even; else the set's. seconds: At most so many of each clip.
        limit: So many clips, drawn by `seed`; a larger draw holds the smaller one. workers: Clips at once.

    Yields:
        A step for every line that is no clip, then for every clip, in the order in which they are done.

    Raises:
        InputError: Lists or videos are missing, or the folder holds something else.
        TalkiesError: The disk is full.
    """
    chosen_set = SETS[name]
    listing = chosen_set.read(lists)
    chosen = draw(listing.clips, limit, seed)
    if not chosen:
        why = f"{listing.refused[0].result}: {listing.refused[0].detail}" if listing.refused else "They are empty."
        raise InputError(f"The lists in {lists} hold no clip that can be made.", why)
    found = find_videos(videos, out)
    side = side or chosen_set.side
    _claim(out, chosen, {"set": name, "side": side, "seconds": seconds, "version": _VERSION})
    rows = [Row(clip=line.name, result=line.result, detail=line.detail) for line in listing.refused]
    for row in rows:
        yield Step(0, len(chosen), row)
    maker = _Maker(found, out, side, seconds)
    for done, (row, kept) in enumerate(_run(maker, chosen, workers), 1):
        rows.append(row)
        yield Step(done, len(chosen), row, kept)
    _finish(out, rows)


def draw(clips: Sequence[ListedClip], limit: int | None, seed: int) -> list[ListedClip]:
    """All clips in order of their names, or `limit` of them.

    The draw goes by hashes of seed and name: it is the same everywhere, and of a changed list most of it stays.
    """

    def lot(clip: ListedClip) -> str:
        return hashlib.sha256(f"{seed} {clip.name}".encode()).hexdigest()

    drawn = clips if limit is None else sorted(clips, key=lot)[:limit]
    return sorted(drawn, key=lambda clip: clip.name)


def find_videos(folder: Path, out: Path) -> dict[str, list[Path]]:
    """Videos in a folder and all below it by their names without suffix, but for those in `out`.

    Raises:
        InputError: The folder or every video is missing, or the folder lies in `out`.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.", "Give the folder with the set's source videos.")
    made = out.resolve()
    if folder.resolve().is_relative_to(made):
        raise InputError(f"The clips cannot be put around their sources: {out}.", "Give --out another folder.")
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.resolve().is_relative_to(made):
            found[path.stem].append(path)
    if not found:
        raise InputError(f"There are no videos in {folder}.", f"Looked for {', '.join(SUFFIXES)}.")
    return dict(found)


def _claim(out: Path, chosen: Sequence[ListedClip], settings: Mapping[str, object]) -> None:
    """The folder becomes this set's; whatever reads it takes all its videos, so there must be no others."""
    expected = {f"{clip.name}.mp4" for clip in chosen} if (out / f"{_CLAIM}.json").exists() else set()
    for path in sorted(out.rglob("*")) if out.is_dir() else ():
        shown = path.relative_to(out).as_posix()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and shown not in expected:
            raise InputError(
                f"{out} holds {shown}, which is not of this draw of the set.",
                "Choose another folder, or the same lists, --limit and --seed.",
            )
    try:
        (out / _RECORDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {out} cannot be made: {error.strerror or error}.") from None
    claim(out, _CLAIM, settings)


def _run(maker: _Maker, clips: Sequence[ListedClip], workers: int) -> Iterator[tuple[Row, bool]]:
    """Rows as they are done; when this is left early, no worker goes on."""
    if workers == 1:
        yield from map(maker, clips)
        return
    pool = ThreadPoolExecutor(workers)
    try:
        for future in as_completed([pool.submit(maker, clip) for clip in clips]):
            yield future.result()
    finally:
        maker.stopped.set()
        pool.shutdown(cancel_futures=True)


class _Maker:
    """Makes one clip after another, or several at once in threads: decoding, scaling and encoding run beside Python.

    Args:
        found: Videos by name. out: Folder. side: Of clips. seconds: At most, of each.
    """

    def __init__(self, found: Mapping[str, Sequence[Path]], out: Path, side: int, seconds: float | None) -> None:
        self._found, self._out, self._side, self._seconds = found, out, side, seconds
        self.stopped = threading.Event()
        self._digests: dict[Path, str] = {}
        self._lock = threading.Lock()

    def __call__(self, clip: ListedClip) -> tuple[Row, bool]:
        """What became of a clip, and whether it was there before."""
        target, note = self._out / f"{clip.name}.mp4", self._out / _RECORDS / f"{clip.name}.json"
        candidates = [path for stem in dict.fromkeys(clip.stems) for path in self._found.get(stem, ())]
        candidates = list({path.resolve(): path for path in candidates}.values())
        record = _read(note)
        # Whoever threw the source away after the cut keeps the clip.
        same = record is not None and (not candidates or record.video in map(_state, candidates))
        if record and same and record.listed == repr(clip) and _whole(target, record.row.sha256):
            return record.row, True
        try:
            video = _only(candidates, clip.stems)
            digest = self._digest(video)
            made = cut(clip, video, target, self._side, self._seconds, self._proceed)
        except RefusedError as error:
            target.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            source = candidates[0].name if len(candidates) == 1 else ""
            row = Row(
                clip=clip.name, source=source, start=clip.start, end=clip.end, result=error.result, detail=error.detail
            )  # fmt: skip
            return row, False
        row = Row(
            clip=clip.name, source=video.name, source_sha256=digest, start=round(made.start, 3),
            end=round(made.end, 3), crop=str(made.window), frames=made.frames, detail=made.note,
            sha256=sha256_of(target),
        )  # fmt: skip
        with staged(note) as scratch:
            record = _Record(listed=repr(clip), video=_state(video), row=row)
            scratch.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return row, False

    def _proceed(self) -> None:
        if self.stopped.is_set():
            raise _StoppedError

    def _digest(self, video: Path) -> str:
        with self._lock:
            if video not in self._digests:
                try:
                    self._digests[video] = sha256_of(video)
                except OSError as error:
                    raise RefusedError("broken video", f"{video.name} cannot be read: {error.strerror}") from None
            return self._digests[video]


def _only(candidates: Sequence[Path], stems: Sequence[str]) -> Path:
    if len(candidates) > 1:
        raise RefusedError("two videos", " and ".join(path.name for path in candidates))
    if not candidates:
        raise RefusedError("missing video", f"none is named {' or '.join(stems)}")
    return candidates[0]


def _read(note: Path) -> _Record | None:
    try:
        return _Record.model_validate_json(note.read_bytes())
    except (OSError, ValidationError):
        return None


def _whole(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path) == digest


def _state(video: Path) -> tuple[int, int]:
    """Bytes, and time of the last change in nanoseconds; of what is gone, nothing's."""
    try:
        status = video.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _finish(out: Path, rows: Sequence[Row]) -> None:
    """The index and the checksums."""
    rows = sorted(rows, key=lambda row: (row.clip, row.result, row.detail))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(Row.model_fields)
    table.writerows(row.model_dump().values() for row in rows)
    with staged(out / INDEX) as scratch:
        scratch.write_text(text.getvalue(), encoding="utf-8")
    with staged(out / CHECKSUMS) as scratch:
        lines = [f"{row.sha256}  {row.clip}.mp4\n" for row in rows if row.result == "made"]
        scratch.write_text("".join(lines), encoding="utf-8")
