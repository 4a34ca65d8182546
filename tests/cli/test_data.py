"""`talkies data prepare` as it is typed: mistakes are one line, bad files are rows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from command_line import Talkies


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "33"], "--frames 33 is no range"),
        (["--frames", "32-64"], "4n+1"),
        (["--size", "100x100"], "multiples of 16"),
        (["--split", "both"], "--split"),
        (["--name", "My Set"], "--name"),
        (["--limit", "sharpness"], "NAME=VALUE"),
        (["--limit", "sharpness=high"], "--limit sharpness"),
        (["--limit", "beauty=1"], "--limit beauty"),
        (["--captioner", "nowhere"], "no captioning model"),
    ],
)
def test_mistakes_are_one_line(talkies: Talkies, tmp_path: Path, options: list[str], message: str) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"nothing")
    result = talkies("data", "prepare", video, "--out", tmp_path / "set", *options)
    assert result.code == 2 and message in result.line
    assert not (tmp_path / "set").exists()


def test_bad_files_are_rows(talkies: Talkies, tmp_path: Path) -> None:
    assert talkies("data", "prepare", tmp_path / "none.mp4", "--out", tmp_path / "set").code == 2
    (tmp_path / "v.mp4").write_bytes(b"nothing" * 100)
    result = talkies("data", "prepare", tmp_path, "--out", tmp_path / "set")
    assert result.code == 0 and "v.mp4: broken video" in result.err
    with (tmp_path / "set" / "footage.report.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["video"], row["result"]) == ("v.mp4", "broken video")


def test_help_shows_examples(talkies: Talkies) -> None:
    result = talkies("data", "prepare", "--help")
    assert result.code == 0 and "talkies data prepare interview.mp4 --out clips" in result.out
    assert '{"voices": ["ann.wav", "bob.wav"]}' in result.out
