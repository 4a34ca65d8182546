"""Hours of sound do not need more memory than seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_MEASURE = """
import sys
from pathlib import Path
import numpy as np, soundfile
from talkies.domain.timeline import Timeline, Utterance
from talkies.media.audio import Mix, inspect, speech_track
seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
path = folder / "long.wav"
with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
    for _ in range(seconds):
        file.write(0.1 * np.sin(np.arange(16000) / 9))
recordings = {path: inspect(path)}
timeline = Timeline((Utterance(0, path, 0.0, recordings[path].seconds),))
track = speech_track(timeline.of(0), recordings, timeline.duration, folder)
assert len(track) == seconds * 16000
assert sum(len(block) for block in Mix.of(timeline, recordings, timeline.duration).blocks(12000)) == seconds * 48000
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["RssAnon"].split()[0]))
"""


def anonymous_kilobytes(seconds: int, folder: Path) -> int:
    """Memory that is not a mapped file after everything was read, measured in a process of its own."""
    arguments = [sys.executable, "-c", _MEASURE, str(seconds), str(folder)]
    return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    assert anonymous_kilobytes(600, tmp_path) < 1.1 * anonymous_kilobytes(10, tmp_path)
