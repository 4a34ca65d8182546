"""Workers end when their work is left, and leave nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import as_completed
from pathlib import Path

import pytest

from talkies.media.staging import staged
from talkies.runtime.workers import worker_processes


def write_slowly(path: Path, seconds: float) -> str:
    with staged(path) as scratch:
        scratch.write_text("begun")
        time.sleep(seconds)
        scratch.write_text("done")
    return path.name


def fail_beside(folder: Path) -> None:
    while not list(folder.glob(".*")):
        time.sleep(0.01)
    raise ValueError("no")


def test_all_that_was_queued_is_done(tmp_path: Path) -> None:
    with worker_processes(2) as submit:
        jobs = [submit(write_slowly, tmp_path / f"{k}.txt", 0.0) for k in range(5)]
        assert sorted(job.result() for job in as_completed(jobs)) == [f"{k}.txt" for k in range(5)]
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError, GeneratorExit])
def test_what_is_left_early_is_interrupted(tmp_path: Path, reason: type[BaseException]) -> None:
    began = time.monotonic()
    with pytest.raises(reason), worker_processes(2) as submit:
        jobs = [submit(write_slowly, tmp_path / "0.txt", 0.0)]
        jobs += [submit(write_slowly, tmp_path / f"{k}.txt", 60.0) for k in range(1, 9)]
        next(as_completed(jobs))
        while not list(tmp_path.glob(".*")):
            time.sleep(0.01)
        raise reason
    assert time.monotonic() - began < 30
    assert [path.name for path in tmp_path.iterdir()] == ["0.txt"]


def test_an_error_of_a_job_ends_the_others(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), worker_processes(2) as submit:
        submit(write_slowly, tmp_path / "0.txt", 60.0)
        submit(fail_beside, tmp_path).result()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_filming_stops_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    options = ("--people=50", "--tracks-per-person=9", "--size=64", "--texture=128", "--workers=2", f"--out={tmp_path}")
    command = [sys.executable, "-m", "talkies.cli.main", "stage", "tracks", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while len(list(tmp_path.glob("*.npz"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped" in said
    filmed = len(list(tmp_path.glob("*.npz")))
    time.sleep(3)
    assert len(list(tmp_path.glob("*.npz"))) == filmed and not list(tmp_path.glob(".*"))
