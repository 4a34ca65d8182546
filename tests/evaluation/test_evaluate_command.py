"""`talkies evaluate` as it is typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation_cases import Filmed
from talkies.domain.errors import InputError

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `talkies evaluate ...` in this process: exit code, output, errors."""
    from talkies.cli.main import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("TALKIES_DEBUG", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["talkies", "evaluate", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out, captured.err

    return run


def test_a_set_is_measured_reported_and_compared(evaluate: Command, shard: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    code, said, errors = evaluate("measure", "--set", shard, "--out", out, "--metrics", "binding,lip-truth,drift")
    assert code == 0, errors
    assert "ground truth on " in said and "shuffled audio on " in said and "lip r" in said
    truth = next(path for path in out.glob("*.json") if "ground-truth" in path.name)
    chance = next(path for path in out.glob("*.json") if "shuffled-audio" in path.name)
    code, said, _ = evaluate("compare", chance, truth)
    assert code == 0 and "ground truth minus shuffled audio" in said
    code, said, errors = evaluate("report", tmp_path / "report.html", out)
    assert code == 0, errors
    assert "tiny-000001" in (tmp_path / "report.html").read_text()


def test_one_video_is_measured_per_person(evaluate: Command, filmed: Filmed, tmp_path: Path) -> None:
    from talkies.media.shards import encode_video, encode_wav

    (tmp_path / "duo.mp4").write_bytes(encode_video(filmed.frames[:30]))
    names = []
    for k, voice in enumerate(filmed.voices):
        (tmp_path / f"v{k}.wav").write_bytes(encode_wav(voice[: 30 * 640]))
        np.savetxt(tmp_path / f"t{k}.csv", filmed.labels[f"p{k}/lip_opening"][:30])
        names += ["--voice", tmp_path / f"v{k}.wav", "--truth", tmp_path / f"t{k}.csv"]
    code, said, errors = evaluate("measure", tmp_path / "duo.mp4", *names, "--out", tmp_path / "r")
    assert code == 0, errors
    assert "person 2, against curve" in said and "face 1 with each voice" in said
    (row,) = json.loads((tmp_path / "r" / "duo-mp4-video.json").read_text())["rows"]
    assert row["values"]["lip r"] > 0.85 and row["values"]["binding accuracy"] == 1.0
    for without in ("lip width r", "lip amplitude", "lip error"):  # a curve has a unit of its own and no width
        assert row["values"][without] is None
    assert [person["name"] for person in row["people"]] == ["person 1", "person 2"]


def test_metrics_are_listed_with_what_is_missing(
    evaluate: Command, no_weights: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, _ = evaluate("metrics")
    assert code == 0
    assert "sync: not here: SyncNet is not there" in said and "binding: ready" in said and "FVD" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("measure",), "What is to be measured?"),
        (("measure", "nothing.mp4", "--metrics", "beauty"), "There is no metric beauty"),
        (("measure", "--set", "nowhere"), "There is no folder nowhere"),
        (("measure", "--set", ".", "--protocol", "thirds"), "There is no protocol thirds"),
        (("report", "page.pdf", "x.json"), "Name it .html"),
        (("report", "page.html", "x.json"), "cannot be read"),
        (("run", "--model", "nano", "--set", ".", "--out", "o"), "There are no shards"),
    ],
)
def test_bad_input_is_one_line(
    evaluate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = evaluate(*arguments)
    assert code == 2 and words in errors and "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_videos_made_otherwise_are_not_kept(tmp_path: Path) -> None:
    from talkies.cli.evaluate_run import claim_videos
    from talkies.evaluation.sets import read_making

    settings = {"model": "nano", "weights": "0a", "steps": "8", "seed": "0", "voices": "own"}
    for _ in range(2):
        claim_videos(tmp_path / "videos", settings)
    assert read_making(tmp_path / "videos") == settings
    with pytest.raises(InputError, match=r"holds videos with another weights, seed\."):
        claim_videos(tmp_path / "videos", {**settings, "weights": "0b", "seed": "1"})
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=r"No videos\.json says"):
        claim_videos(tmp_path, settings)


def test_a_stopped_measurement_keeps_what_was_measured_beside_whole_results(
    evaluate: Command, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from talkies.cli.report import Report

    def stop(report: Report, text: str) -> None:
        raise KeyboardInterrupt

    arguments = ("measure", "--set", shard, "--out", tmp_path, "--metrics", "lip-truth", "--no-baselines")
    assert evaluate(*arguments)[0] == 0
    monkeypatch.setattr(Report, "say", stop)
    code, said, errors = evaluate(*arguments)
    assert code == 130 and "Stopped early: 1 videos" in said and "stopped." in errors
    rows = {path.stem: len(json.loads(path.read_text())["rows"]) for path in tmp_path.glob("*.json")}
    assert sorted(rows.values()) == [1, 2]
    assert rows[next(name for name in rows if name.endswith("-stopped"))] == 1
    assert {path.name for path in tmp_path.glob("*.csv")} == {"rows.csv", "rows-stopped.csv"}
    monkeypatch.setattr("talkies.evaluation.runner.measure_one", stop)  # before the first video is measured
    assert evaluate(*arguments)[0] == 130
    rows = {path.stem: len(json.loads(path.read_text())["rows"]) for path in tmp_path.glob("*.json")}
    assert sorted(rows.values()) == [0, 2]


def test_phones_of_a_recording_become_the_truth_of_its_lips(evaluate: Command, tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    import soundfile

    from talkies.media.resampling import SAMPLING_RATE
    from talkies.stage import engines
    from talkies.stage.voices import find_voice, render

    if not engines.flite_available():
        pytest.skip("Debian's flite is not installed")
    voice, labels = tmp_path / "voice.wav", tmp_path / "voice.lab"
    text = "My father moved the purple boxes by Wednesday."
    soundfile.write(voice, render(text, find_voice("flite-slt-t97-p196")), SAMPLING_RATE)
    code, said, errors = evaluate("align", voice, "--text", text, "--out", labels)
    assert code == 0, errors
    assert [line.split()[-1] for line in said.splitlines()][:2] == ["my", "father"]
    assert [line.split()[-1] for line in labels.read_text().splitlines() if "SIL" not in line][:2] == ["M", "AY"]
    refused = {"Yes.": "pauses", "xyzzy": "no way through", "你好": "no words"}
    for wrong, why in refused.items():
        code, _, errors = evaluate("align", voice, "--text", wrong, "--out", tmp_path / "none.lab")
        assert code != 0 and why in errors, errors
    assert evaluate("align", voice, "--text", text, "--out", tmp_path / "voice.txt")[0] != 0
    assert not (tmp_path / "none.lab").exists()
