"""Whole runs in processes of their own: killed and resumed, and ten minutes in the memory of ten seconds."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

#: Prints the peak memory of the whole process, in kilobytes.
MEASURED = """
import resource, sys
from talkies.cli.main import main
try:
    main()
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def talk(path: Path, seconds: int) -> Path:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
        for _ in range(seconds):
            file.write(0.1 * rng.standard_normal(16_000))
    return path


def command(here: Path, material: Path, tiny: Path, seconds: int, output: str) -> list[str]:
    """Two people, the second speaks half as long; segments of the real length, one step and one pass each."""
    (here / f"{output}.yaml").write_text(
        f"image: {material / 'photo.png'}\nprompt: two people talk\nconsent: drawn\nspeakers:\n"
        f"  - {{audio: {talk(here / f'{output}.1.wav', seconds)}, region: {{box: [0, 0, 80, 96]}}}}\n"
        f"  - {{audio: {talk(here / f'{output}.2.wav', (seconds + 1) // 2)}, region: {{box: [80, 0, 160, 96]}}}}\n"
    )
    options = ("--size", "64x64", "--steps", "1", "--text-guidance", "1", "--audio-guidance", "1", "--no-credentials",
               "--set", "segment_frames=81")  # fmt: skip
    return [sys.executable, "-c", MEASURED, "generate", f"{output}.yaml", "-m", str(tiny), "-o", f"{output}.mp4",
            *options]  # fmt: skip


def test_killed_at_random_moments_and_resumed(here: Path, material: Path, tiny: Path) -> None:
    """SIGKILL cannot be caught: nothing but what lies on the disk helps."""
    started = time.monotonic()
    subprocess.run(command(here, material, tiny, 30, "whole"), check=True, capture_output=True)
    whole = time.monotonic() - started
    broken = command(here, material, tiny, 30, "broken")
    for name in ("yaml", "1.wav", "2.wav"):  # the same files, so that the records agree too
        (here / f"broken.{name}").write_bytes((here / f"whole.{name}").read_bytes())
    moments = random.Random()
    killed = 0
    for _ in range(6):
        process = subprocess.Popen([*broken, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.3, 0.95) * whole)
        process.kill()
        process.wait()
        if (here / "broken.mp4").exists():  # it was done, if not yet gone: the machine is faster than it was
            assert (here / "broken.mp4").read_bytes() == (here / "whole.mp4").read_bytes()
            if killed:
                break
            (here / "broken.mp4").unlink()
            whole *= 0.7
            continue
        assert process.returncode == -signal.SIGKILL
        killed += 1
        if killed == 3:
            break
    assert killed
    subprocess.run([*broken, "--resume"], check=True, capture_output=True)
    assert (here / "broken.mp4").read_bytes() == (here / "whole.mp4").read_bytes()
    assert not [path.name for path in here.iterdir() if path.name.endswith(".unfinished") or path.name[0] == "."]


def test_ten_minutes_in_the_memory_of_ten_seconds(here: Path, material: Path, tiny: Path) -> None:
    """Everything counts: voices, network, frames, encoder, sound."""
    peaks = []
    for seconds in (10, 600):
        done = subprocess.run(
            command(here, material, tiny, seconds, f"of-{seconds}"), check=True, capture_output=True, text=True
        )
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0], peaks
    print(f"peak memory in kB at 10 s and 600 s: {peaks}")  # noqa: T201
