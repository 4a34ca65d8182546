"""Public test sets: lists are read, spans and windows are cut exactly, everything else becomes a row with a reason."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_cases import (
    ID,
    Command,
    celebv,
    check_frames,
    check_sound,
    face,
    hdtf,
    paint,
    results,
    rows,
    run,
)
from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.evaluation.datasets.celebv_hq import FaceBox
from talkies.evaluation.datasets.emtd import LIST as EMTD_LIST
from talkies.evaluation.datasets.emtd import WholePicture
from talkies.evaluation.datasets.hdtf import FixedWindow
from talkies.evaluation.datasets.listed import (
    ListedClip,
    RefusedError,
    Window,
)
from talkies.evaluation.datasets.prepare import draw, prepare
from talkies.evaluation.sets import open_set


def test_hdtf_has_the_right_span_and_window(tmp_path: Path) -> None:
    video = paint(tmp_path / "films" / "deep" / "Radio11.mkv")
    lists = hdtf(tmp_path / "lists", "Radio11.mp4 00:00-00:02  00:01-0:00:03 \n",
                 "Radio11_0.mp4 41 71 3 71\nRadio11_1.mp4 60 48 40 48\n")  # fmt: skip
    out = tmp_path / "out"
    steps = run("hdtf", lists, tmp_path / "films", out)
    assert [(s.done, s.total, s.row.clip, s.kept) for s in steps] == [(1, 2, "Radio11_0", False),
                                                                      (2, 2, "Radio11_1", False)]  # fmt: skip
    check_frames(out / "Radio11_0.mp4", Window(41, 3, 71, 71), 0, 50)
    check_frames(out / "Radio11_1.mp4", Window(60, 40, 48, 48), 1, 50)
    check_sound(out / "Radio11_0.mp4", 0, 50)
    check_sound(out / "Radio11_1.mp4", 1, 50)
    first, second = rows(out)
    digest = hashlib.sha256(video.read_bytes()).hexdigest()
    clip = hashlib.sha256((out / "Radio11_0.mp4").read_bytes()).hexdigest()
    assert first == {
        "clip": "Radio11_0", "source": "Radio11.mkv", "source_sha256": digest, "start": "0.0", "end": "2.0",
        "crop": "41 3 71 71", "frames": "50", "result": "made", "detail": "", "sha256": clip,
    }  # fmt: skip
    assert (second["start"], second["end"], second["crop"]) == ("1.0", "3.0", "60 40 48 48")
    samples = list(open_set(out))
    assert [sample.key for sample in samples] == ["Radio11_0", "Radio11_1"]
    assert all(sample.people[0].voice is not None for sample in samples)


@pytest.mark.parametrize("stem", ["Radio11", "RD_Radio11", ID])
def test_videos_are_found_by_every_name_and_other_heights_scale_the_window(tmp_path: Path, stem: str) -> None:
    paint(tmp_path / "films" / f"{stem}.mp4")
    lists = hdtf(tmp_path / "lists", "Radio11.mp4 00:00-00:01\n", "Radio11_0.mp4 40 128 20 128\n", "Radio11.mp4 192\n")
    out = tmp_path / "out"
    (step,) = run("hdtf", lists, tmp_path / "films", out)
    assert step.row.crop == "20 10 64 64"
    assert step.row.detail == "height 96, listed 192: window scaled by 0.5"
    check_frames(out / "Radio11_0.mp4", Window(20, 10, 64, 64), 0, 25)


def test_celebv_hq_has_the_authors_square(tmp_path: Path) -> None:
    paint(tmp_path / "films" / f"{ID}.mp4")
    out = tmp_path / "out"
    # Rows round(0.08 * 96) = 8 to round(0.72 * 96) = 69, columns round(0.28 * 160) = 45 to round(0.62 * 160) = 99:
    # half a side min(61, 54) // 2 = 27 around (38.5, 72).
    lists = celebv(tmp_path, key_1=face(), **{"-x_0": face(start=0.52, end=1.0, box=(0, 1, 0.0, 1))})
    edge, middle = run("celebv-hq", lists, tmp_path / "films", out)
    assert middle.row.crop == "45 11 54 54"
    check_frames(out / "key_1.mp4", Window(45, 11, 54, 54), 0.4, 30)
    assert edge.row.crop == "32 0 96 96"
    check_frames(out / "-x_0.mp4", Window(32, 0, 96, 96), 0.52, 12)


@settings(max_examples=300, deadline=None)
@given(st.tuples(*[st.floats(-0.2, 1.2)] * 4), st.integers(64, 2000), st.integers(64, 2000))
def test_squares_of_celebv_hq_lie_in_the_picture(box: tuple[float, ...], width: int, height: int) -> None:
    try:
        window, _ = FaceBox(*box)(FrameSize(width, height))
    except RefusedError as error:
        assert error.result == "window outside the picture"
        return
    assert window.width == window.height > 0
    assert 0 <= window.left <= window.left + window.width <= width
    assert 0 <= window.top <= window.top + window.height <= height


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 900), st.integers(0, 500), st.integers(4, 720), st.sampled_from([360, 540, 720, 1080, 2160]))
def test_windows_that_fit_still_fit_when_scaled(left: int, top: int, side: int, height: int) -> None:
    listed = Window(left, min(top, 720 - side), side, side)
    listed = Window(min(left, 1280 - side), listed.top, side, side)
    window, note = FixedWindow(listed, 720)(FrameSize(height * 16 // 9, height))
    assert window.width == window.height
    assert window.left + window.width <= height * 16 // 9 and window.top + window.height <= height
    assert abs(window.left - listed.left * height / 720) <= 1.5
    assert bool(note) == (height != 720)


def test_emtd_keeps_the_picture_and_leaves_three_frames_out(tmp_path: Path) -> None:
    paint(tmp_path / "films" / "-Hmn5Gmn2dw.mp4", fps=30)
    path = tmp_path / EMTD_LIST
    path.write_text(
        "URL,Start Timecode,End Timecode\r\n"
        "https://www.youtube.com/watch?v=NBMTc71yrpk,00:00:54.596,00:01:01.561\r\n"
        "https://www.youtube.com/watch?v=-Hmn5Gmn2dw,00:00:00.510,00:00:02.510\r\n"
    )
    out = tmp_path / "out"
    lost, made = run("emtd", tmp_path, tmp_path / "films", out, side=128)
    assert (lost.row.clip, lost.row.result) == ("000_NBMTc71yrpk", "missing video")
    assert (made.row.clip, made.row.start, made.row.end) == ("001_-Hmn5Gmn2dw", 0.61, 2.41)
    assert (made.row.crop, made.row.frames) == ("0 0 160 96", 45)
    check_frames(out / "001_-Hmn5Gmn2dw.mp4", Window(0, 0, 160, 96), 0.61, 45, (128, 76), 30)
    check_sound(out / "001_-Hmn5Gmn2dw.mp4", 0.61, 45)


def test_clips_are_enlarged_and_shortened_on_request(tmp_path: Path) -> None:
    paint(tmp_path / "films" / f"{ID}.mp4")
    path = tmp_path / EMTD_LIST
    path.write_text(f"URL,Start Timecode,End Timecode\nhttps://youtu.be/{ID},00:00:00.880,00:00:02.000\n")
    out = tmp_path / "out"
    (step,) = run("emtd", path, tmp_path / "films", out, side=240, seconds=0.5)
    assert (step.row.start, step.row.end, step.row.frames) == (1.0, 1.48, 12)
    check_frames(out / f"000_{ID}.mp4", Window(0, 0, 160, 96), 1, 12, (240, 144))


def test_what_a_video_does_not_give_is_a_row(tmp_path: Path) -> None:
    films = tmp_path / "films"
    paint(films / "good.mp4")
    paint(films / "twice.mp4")
    paint(films / "sub" / "twice.mkv")
    paint(films / "mute.mp4", sound=False)
    paint(films / "quiet.mp4", loud=0)
    (films / "torn.mp4").write_bytes((films / "good.mp4").read_bytes()[:9000])
    (films / "list.ts").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    names = ("good", "twice", "mute", "quiet", "torn", "list", "lost")
    lists = celebv(
        tmp_path, **{f"{name}_0": face(name) for name in names}, late=face("good", start=1, end=4.5),
        later=face("good", start=9, end=10), tiny=face("good", box=(1.5, 1.6, 0.5, 0.6)), short=face("good", end=0.41),
    )  # fmt: skip
    out = tmp_path / "out"
    steps = run("celebv-hq", lists, films, out)
    assert results(steps) == {
        "good_0": "made", "twice_0": "two videos", "mute_0": "no sound", "quiet_0": "no sound",
        "torn_0": "broken video", "list_0": "broken video", "lost_0": "missing video", "late": "beyond the end",
        "later": "beyond the end", "tiny": "window outside the picture", "short": "empty span",
    }  # fmt: skip
    details = {step.row.clip: step.row.detail for step in steps}
    assert details["twice_0"] == "twice.mkv and twice.mp4"
    assert details["late"] == "the span ends at 4.50 s, the video at 3.00 s"
    assert details["lost_0"] == "none is named lost"
    assert sorted(path.name for path in out.glob("*.mp4")) == ["good_0.mp4"]
    assert (out / "SHA256SUMS").read_text().count("\n") == 1
    assert len(rows(out)) == len(steps)


def test_a_window_outside_is_refused_and_a_rounded_end_is_not(tmp_path: Path) -> None:
    paint(tmp_path / "films" / "Radio11.mp4", seconds=2.6)
    lists = hdtf(tmp_path / "lists", "Radio11.mp4 00:00-00:01 00:00-00:02 00:01-00:03\n",
                 "Radio11_0.mp4 111 50 0 50\nRadio11_1.mp4 130 50 0 50\nRadio11_2.mp4 0 50 0 50\n")  # fmt: skip
    out = tmp_path / "out"
    one, outside, late = run("hdtf", lists, tmp_path / "films", out)
    assert one.row.crop == "110 0 50 50"  # one pixel
    assert (outside.row.result, outside.row.detail) == (
        "window outside the picture", "left top width height 130 0 50 50 in 160x96",
    )  # fmt: skip
    assert late.row.detail == "10 frames shorter than listed: the video ends"
    check_frames(out / "Radio11_2.mp4", Window(0, 0, 50, 50), 1, 40)


def test_pictures_that_end_before_the_sound(tmp_path: Path) -> None:
    films = tmp_path / "films"
    paint(films / "whole.mp4")
    with av.open(str(films / "whole.mp4")) as file, av.open(str(films / "Radio11.mp4"), "w") as torn:
        streams = {s.index: torn.add_stream_from_template(s) for s in (file.streams.video[0], file.streams.audio[0])}
        for packet in file.demux(list(file.streams)):
            if packet.dts is not None and (packet.stream.type == "audio" or packet.pts * packet.time_base < 2.3):
                packet.stream = streams[packet.stream.index]
                torn.mux(packet)
    lists = hdtf(tmp_path / "lists", "Radio11.mp4 00:00-00:01 00:01-00:03 02:00-02:30\n",
                 "Radio11_0.mp4 0 50 0 50\nRadio11_1.mp4 0 50 0 50\nRadio11_2.mp4 0 50 0 50\n")  # fmt: skip
    out = tmp_path / "out"
    _, short, beyond = run("hdtf", lists, films, out)
    assert (short.row.result, short.row.frames, beyond.row.result) == ("made", short.row.frames, "beyond the end")
    assert 31 <= short.row.frames <= 34
    check_frames(out / "Radio11_1.mp4", Window(0, 0, 50, 50), 1, short.row.frames)
    check_sound(out / "Radio11_1.mp4", 1, short.row.frames)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Lists, videos and a folder: two clips of two videos."""
    for name in ("one", "other"):
        paint(tmp_path / "films" / f"{name}.mp4", seconds=1)
    lists = celebv(tmp_path, a=face("one", 0, 0.4), b=face("other", 0, 0.4))
    yield lists, tmp_path / "films", tmp_path / "out"


def test_what_is_made_is_kept(two: tuple[Path, Path, Path]) -> None:
    lists, films, out = two
    first = run("celebv-hq", lists, films, out)
    index, written = (out / "index.csv").read_bytes(), (out / "a.mp4").stat().st_mtime_ns
    again = run("celebv-hq", lists, films, out, workers=2)
    assert all(step.kept for step in again) and not any(step.kept for step in first)
    assert (out / "index.csv").read_bytes() == index and (out / "a.mp4").stat().st_mtime_ns == written

    whole = (out / "a.mp4").read_bytes()
    (out / "a.mp4").write_bytes(whole[:-10])  # broken: made again, and the same
    assert {step.row.clip: step.kept for step in run("celebv-hq", lists, films, out)} == {"a": False, "b": True}
    assert (out / "a.mp4").read_bytes() == whole

    (films / "other.mp4").unlink()  # thrown away after the cut
    paint(films / "one.mp4", seconds=1.5)  # exchanged
    assert {step.row.clip: step.kept for step in run("celebv-hq", lists, films, out)} == {"a": False, "b": True}
    (films / "one.mp4").write_bytes(b"broken")
    celebv(lists.parent, a=face("one", 0, 0.4), b=face("other", 0, 0.3))  # another span, no video
    assert results(run("celebv-hq", lists, films, out)) == {"a": "broken video", "b": "missing video"}
    assert not list(out.glob("*.mp4")) and not list((out / "records").iterdir())


def test_a_folder_holds_one_draw_of_one_set(two: tuple[Path, Path, Path]) -> None:
    lists, films, out = two
    run("celebv-hq", lists, films, out)
    with pytest.raises(InputError, match="another side"):
        run("celebv-hq", lists, films, out, side=66)
    with pytest.raises(InputError, match="another seconds"):
        run("celebv-hq", lists, films, out, seconds=0.2)
    with pytest.raises(InputError, match="not of this draw"):
        run("celebv-hq", lists, films, out, limit=1)
    with pytest.raises(InputError, match="around their sources"):
        run("celebv-hq", lists, films, films)
    paint(out.parent / "full" / "mine.mp4", seconds=0.2)
    with pytest.raises(InputError, match=r"mine\.mp4, which is not"):
        run("celebv-hq", lists, films, out.parent / "full")
    # Clips made into the folder of the videos' folder are no sources.
    assert all(step.row.result == "made" for step in run("celebv-hq", lists, films, films / "out"))
    assert all(step.kept for step in run("celebv-hq", lists, films, films / "out"))


def test_draws_are_repeatable_and_larger_ones_hold_smaller_ones(two: tuple[Path, Path, Path]) -> None:
    clips = [ListedClip(f"clip{n}", ("x",), 0, 1, WholePicture()) for n in range(50)]
    names = [clip.name for clip in draw(clips, 10, 3)]
    assert names == [clip.name for clip in draw(clips[::-1], 10, 3)] == sorted(names)
    assert len(names) == 10 and names != [clip.name for clip in draw(clips, 10, 4)]
    assert set(names) < {clip.name for clip in draw(clips, 20, 3)}
    assert len(draw(clips, None, 0)) == len(draw(clips, 99, 0)) == 50
    lists, films, out = two
    (step,) = run("celebv-hq", lists, films, out, limit=1, seed=5)
    assert [row["clip"] for row in rows(out)] == [step.row.clip]
    assert {step.kept for step in run("celebv-hq", lists, films, out, limit=2, seed=5)} == {True, False}


def test_checksums_are_right(two: tuple[Path, Path, Path]) -> None:
    lists, films, out = two
    run("celebv-hq", lists, films, out)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and checked.stdout == "a.mp4: OK\nb.mp4: OK\n"
    assert [row["sha256"] for row in rows(out)] == [line.split()[0] for line in (out / "SHA256SUMS").open()]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `talkies evaluate prepare ...` in this process: exit code, output, errors."""
    from talkies.cli.main import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TALKIES_DEBUG", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["talkies", "evaluate", "prepare", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return call


def test_the_command_tells_what_it_does(command: Command, two: tuple[Path, Path, Path]) -> None:
    lists, films, out = two
    celebv(lists.parent, a=face("one", 0, 0.4), b=face("other", 0, 0.4), c=[], d=face("lost"))
    arguments = ("celebv-hq", "--lists", lists, "--videos", films, "--out", out, "--size", 64)
    code, said, errors = command(*arguments, "--workers", 1)
    assert code == 0, errors
    lines = said.splitlines()
    assert lines[:3] == ["1 of 3  a: made, 10 frames", "2 of 3  b: made, 10 frames",
                         "3 of 3  d: missing video (none is named lost)"]  # fmt: skip
    assert "     2  made" in lines and "     1  malformed line" in lines and lines[-1] == f"Index: {out / 'index.csv'}"
    assert errors.startswith("c: malformed line: celebvhq_info.json, clip 'c'")
    code, said, _ = command(*arguments)
    assert code == 0 and "1 of 3  a: kept, 10 frames" in said
    code, said, _ = command("--help")
    assert code == 0 and "Examples" in said and "--limit" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--size": 65}, "--size 65 is odd"),
        ({"--size": 10}, "greater than or equal to 64"),
        ({"--seconds": 0}, "out of range"),
        ({"--seconds": "nan"}, "out of range"),
        ({"--limit": 0}, "greater than or equal to 1"),
        ({"--lists": "nowhere"}, "There is no list nowhere"),
        ({"--videos": "nowhere"}, "There is no folder nowhere"),
        ({"--out": "/proc/nothing"}, "cannot be made"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    command: Command, two: tuple[Path, Path, Path], change: dict[str, object], words: str
) -> None:
    lists, films, out = two
    options = {"--lists": lists, "--videos": films, "--out": out, **change}
    code, _, errors = command("celebv-hq", *(item for pair in options.items() for item in pair))
    assert code == 2 and words in errors and errors.count("\n") == 1
    assert not out.exists()


def test_nothing_made_is_an_error(command: Command, two: tuple[Path, Path, Path]) -> None:
    lists, films, out = two
    celebv(lists.parent, d=face("lost"))
    code, said, errors = command("celebv-hq", "--lists", lists, "--videos", films, "--out", out)
    assert code == 2 and "No clip could be made" in errors and "missing video" in said
    assert rows(out)[0]["result"] == "missing video"
    assert command("nothing", "--lists", lists, "--videos", films, "--out", out)[0] == 2
    celebv(lists.parent)
    code, _, errors = command("celebv-hq", "--lists", lists, "--videos", films, "--out", out)
    assert code == 2 and "no clip that can be made" in errors


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kind"), [(1, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_stop_leaves_nothing_half_done(tmp_path: Path, workers: int, kind: signal.Signals) -> None:
    paint(tmp_path / "films" / "long.mp4", seconds=5)
    lists = celebv(tmp_path, **{f"c{n}": face("long", 0.2 * n, 4.9) for n in range(8)})
    out = tmp_path / "out"
    line = [sys.executable, "-m", "talkies.cli.main", "evaluate", "prepare", "celebv-hq", "--lists", str(lists),
            "--videos", str(tmp_path / "films"), "--out", str(out), "--workers", str(workers)]  # fmt: skip
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)) as process:
        until = time.monotonic() + 120
        while not list(out.glob(".c*.part.mp4")) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(kind)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert not [path for path in out.rglob("*") if ".part" in path.name]
    made = {path.stem for path in out.glob("*.mp4")}
    assert len(made) < 8 and all((len(list(av.open(str(out / f"{name}.mp4")).decode(video=0))) > 70) for name in made)
    steps = list(prepare("celebv-hq", lists, tmp_path / "films", out))
    assert len(steps) == 8 and all(step.row.result == "made" for step in steps)
