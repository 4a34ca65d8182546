"""From a conversation to a finished video, with a whole model of tiny real parts."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from command_line import Talkies

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"


def frames(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def test_a_duo_becomes_a_signed_video(here: Path, material: Path, tiny: Path, talkies: Talkies) -> None:
    result = talkies("generate", material / "duo.yaml", "-m", tiny, "-o", "duo.mp4", "--size", "320x192")
    assert result.code == 0, result.err
    assert result.out == "duo.mp4\n"
    assert sorted(path.name for path in here.iterdir()) == ["duo.mp4", "duo.mp4.json"]
    assert frames(here / "duo.mp4") == 25
    with av.open("duo.mp4") as file:
        sound = np.concatenate([frame.to_ndarray() for frame in file.decode(audio=0)], axis=1)
        assert json.loads(file.metadata["comment"])["ai_generated"] is True
    assert sound.shape[1] / 48_000 == pytest.approx(1.0, abs=0.05)
    assert np.abs(sound).max() > 0.2
    record = json.loads((here / "duo.mp4.json").read_text())
    assert record["consent"]["statement"] == "drawn"
    assert record["people"] == ["Ann: mask", "Ben: box 80 0 160 96"]
    verified = talkies("verify", "duo.mp4")
    assert verified.code == 0, verified
    assert "intact" in verified.out
    assert f"number {record['mark']}" in verified.out
    assert "belongs to this very file" in verified.out
    assert json.loads(talkies("verify", "duo.mp4", "--json").out)["credentials"]["ai_generated"] is True
    data = bytearray((here / "duo.mp4").read_bytes())
    data[data.find(b"mdat") + 400] ^= 1
    (here / "duo.mp4").write_bytes(data)
    assert talkies("verify", "duo.mp4").code == 1


@pytest.mark.parametrize(
    ("name", "options"), [("o.gif", ()), ("o.webm", ("--fps", "12.5")), ("o", ("--format", "png"))]
)
def test_other_formats(
    here: Path, material: Path, tiny: Path, talkies: Talkies, name: str, options: tuple[str, ...]
) -> None:
    result = talkies("generate", material / "duo.yaml", "-m", tiny, "-o", name, "--seconds", "0.4", *options)
    assert result.code == 0, result.err
    count = len(list((here / name).glob("*.png"))) if name == "o" else frames(here / name)
    assert count == (5 if name == "o.webm" else 10)
    assert sorted(path.name for path in here.iterdir()) == sorted([name, f"{name}.json"])


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    here: Path, material: Path, tiny: Path, talkies: Talkies
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        result = talkies(
            "generate", material / "duo.yaml", "-m", tiny, "-o", f"{name}.mp4", "--seed", seed, "--no-credentials"
        )
        assert result.code == 0, result.err
        assert "switched off" in result.err
    assert (here / "a.mp4").read_bytes() == (here / "b.mp4").read_bytes()
    assert (here / "a.mp4").read_bytes() != (here / "c.mp4").read_bytes()


def test_a_stopped_run_goes_on_to_the_same_bytes(here: Path, material: Path, tiny: Path, talkies: Talkies) -> None:
    soundfile.write(here / "long.wav", 0.2 * np.sin(np.arange(16_000 * 4) / 7), 16_000)
    command = ("generate", "--image", material / "photo.png", "--speaker", "long.wav", "-m", tiny, "--prompt", "talk",
               "--i-have-consent", "--no-credentials")  # fmt: skip
    assert talkies(*command, "-o", "whole.mp4").code == 0

    def stop_when_a_segment_is_finished() -> None:
        state = here / "half.mp4.unfinished" / "state.json"
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if state.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.002)

    watcher = threading.Thread(target=stop_when_a_segment_is_finished)
    watcher.start()
    stopped = talkies(*command, "-o", "half.mp4")
    watcher.join()
    assert stopped.code == 130, stopped
    assert "go on with --resume" in " ".join(stopped.err.split())
    assert not (here / "half.mp4").exists()
    finished = len(list((here / "half.mp4.unfinished").glob("frames-*.mkv")))
    assert 1 <= finished < 13
    assert talkies(*command, "-o", "half.mp4", "--resume").code == 0
    assert (here / "half.mp4").read_bytes() == (here / "whole.mp4").read_bytes()
    assert not (here / "half.mp4.unfinished").exists()


def test_another_run_cannot_be_resumed(here: Path, material: Path, tiny: Path, talkies: Talkies) -> None:
    soundfile.write(here / "long.wav", 0.2 * np.sin(np.arange(16_000) / 7), 16_000)
    (here / "o.mp4.unfinished").mkdir()
    (here / "o.mp4.unfinished" / "state.json").write_text(
        '{"version": 1, "fingerprint": "x", "next_segment": 1, "tensors": "t"}'
    )
    command = ("generate", "--image", material / "photo.png", "--speaker", "long.wav", "-m", tiny, "--prompt", "talk",
               "--i-have-consent", "-o", "o.mp4")  # fmt: skip
    result = talkies(*command, "--resume")
    assert result.code == 2, result
    assert "other inputs, settings or model" in result.err
    assert not (here / "o.mp4").exists()


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.24, 3.28])
def test_the_video_is_as_long_as_the_longest_voice(
    here: Path, material: Path, tiny: Path, talkies: Talkies, seconds: float
) -> None:
    soundfile.write(here / "v.wav", 0.2 * np.sin(np.arange(round(44_100 * seconds)) / 7), 44_100)
    speakers = [
        {"audio": "v.wav", "region": {"box": [0, 0, 50, 96]}},
        {"audio": str(material / "b.wav") if seconds > 0.5 else None, "region": {"box": [50, 0, 100, 96]}},
        {"region": {"box": [100, 0, 160, 96]}},
    ]
    fields = {"image": str(material / "photo.png"), "prompt": "three", "speakers": speakers, "consent": "drawn"}
    (here / "c.json").write_text(json.dumps(fields))
    result = talkies("generate", "c.json", "-m", tiny, "-o", "o.mp4", "-q", "--size", "128x64")
    assert result.code == 0, result.err
    assert result.out == result.err == ""
    assert abs(frames(here / "o.mp4") - 25 * seconds) <= 1


def test_the_plan_only_draws(here: Path, material: Path, talkies: Talkies) -> None:
    """Needs no weights: the configuration is enough."""
    result = talkies("generate", material / "duo.yaml", "-m", material / "model", "-o", "duo.mp4", "--plan")
    assert result.code == 0, result.err
    for word in (
        "Ann, mask",
        "Ben, box 80 0 160 96",
        "25 frames, 1.00 s, 160x96",
        "3 of up to 13 frames",
        "memory",
        "about",
    ):
        assert word in result.err
    assert [path.name for path in here.iterdir()] == ["duo.people.png"]
    assert Image.open("duo.people.png").size == (160, 96)


def test_a_damaged_model_is_one_line(here: Path, material: Path, tiny: Path, talkies: Talkies) -> None:
    shutil.copytree(tiny, here / "model")
    weights = here / "model" / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    result = talkies("generate", material / "duo.yaml", "-m", "model", "-o", "o.mp4")
    assert result.code in (1, 2)
    assert result.line.startswith("talkies: ")
    assert "Traceback" not in result.err
    assert [path.name for path in here.iterdir()] == ["model"]
    assert "damaged" in talkies("models", "verify", "model").out


LIMITED = """
import resource, sys
from talkies.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
del sys.argv[1]
main()
"""


@pytest.mark.parametrize(
    ("limit", "seconds", "says"),
    [(10_000, 0.4, "no room for 1 MB of sound"), (40_000, 0.4, "was not written"), (70_000, 1, "was not written")],
    ids=["voices", "video", "segments"],
)
def test_no_room_leaves_nothing(here: Path, material: Path, tiny: Path, limit: int, seconds: float, says: str) -> None:
    """A file may not grow beyond the limit, as on a full disk: while voices, video or finished segments are written."""
    command = ("generate", material / "duo.yaml", "-m", tiny, "-o", "o.mp4", "--size", "320x192", "--crf", "0",
               "--seconds", seconds, "--steps", "1", "--no-credentials")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, (limit, *command))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("talkies: ")
    assert says in last
    assert "Traceback" not in done.stderr
    assert list(here.iterdir()) == []


class Keyboard(io.StringIO):
    """Somebody at a terminal, and what they type."""

    def isatty(self) -> bool:
        return True


def test_consent_is_asked_once(
    here: Path, material: Path, talkies: Talkies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("generate", "--image", material / "photo.png", "--speaker", material / "a.wav", "--prompt", "talk",
               "-m", material / "model", "-o", "o.mp4")  # fmt: skip
    for typed in ("n\n", "\n"):
        monkeypatch.setattr("sys.stdin", Keyboard(typed))
        refused = talkies(*command)
        assert refused.code == 2
        assert "consent" in refused.line
        assert not (tmp_path / "home" / "consent.json").exists()
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    agreed = talkies(*command)  # and goes on, until the weights turn out to be none
    assert "Is that so?" in agreed.err
    assert agreed.line.startswith("talkies: Failed while loading")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert talkies(*command).line == agreed.line


def test_a_text_is_spoken(here: Path, material: Path, talkies: Talkies) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    official = {"prompt": "p", "cond_image": str(material / "photo.png"), "tts_audio": {
        "text": "Good morning to you all.", "human1_voice": "voices/am_adam.pt"}}  # fmt: skip
    (here / "spoken.json").write_text(json.dumps(official))
    result = talkies("generate", "spoken.json", "-m", material / "model", "--plan")
    assert result.code == 0, result.err
    assert "turn-0.wav" in result.err
    assert "am_adam" in result.err


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the example photographs (../shared/examples) are not here")
def test_the_authors_own_input_plans_as_it_is(here: Path, material: Path, talkies: Talkies) -> None:
    """Their file, in their folders, started from their root."""
    source, target = EXAMPLES / "photo-two", here / "examples" / "multi" / "1"
    target.mkdir(parents=True)
    Image.open(source / "photo.png").resize((2560, 1440)).save(target / "multi1.png", compress_level=1)
    (target / "1.WAV").symlink_to(source / "left.wav")
    (target / "2.WAV").symlink_to(source / "right.wav")
    shutil.copy(source / "official_input.json", here / "official_input.json")
    result = talkies("generate", "official_input.json", "-m", material / "model", "--plan", "--size", "320x192")
    assert result.code == 0, result.err
    assert "person1, box 120 160 1080 1280" in result.err
    assert "person2, box 1320 160 2280 1280" in result.err
    assert re.search(r"1.79 s +person2: 2.WAV", result.err)
    assert "122 frames, 4.88 s, 320x192" in result.err


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the example photographs (../shared/examples) are not here")
def test_a_photograph_and_two_voices_are_enough(here: Path, material: Path, talkies: Talkies) -> None:
    two = EXAMPLES / "photo-two"
    options = (
        "--image",
        two / "photo.png",
        "--speaker",
        two / "left.wav",
        "--speaker",
        "none",
        "-m",
        material / "model",
    )
    result = talkies("generate", *options, "--plan", "--size", "320x192", "-o", "o.mp4")
    assert result.code == 0, result.err
    assert "speaker 1, face at" in result.err
    assert "Silent throughout: speaker 2" in result.err


def test_liveliness_of_a_speaker_is_taken_or_said_to_do_nothing(here: Path, material: Path, talkies: Talkies) -> None:
    (here / "lively.yaml").write_text(
        (material / "duo.yaml").read_text().replace("name: Ben", "name: Ben, liveliness: 1.6")
    )
    for file in ("photo.png", "a.wav", "b.wav", "mask.png"):
        (here / file).write_bytes((material / file).read_bytes())
    done = talkies("generate", "lively.yaml", "--model", material / "model", "--plan")
    assert done.code == 0 and "liveliness does nothing" in done.err + done.out
    everybody = talkies("generate", "lively.yaml", "--model", material / "model", "--plan", "--set", "liveliness=1.5")
    assert everybody.code == 2 and "not told" in everybody.err
    (here / "lively.yaml").write_text((here / "lively.yaml").read_text().replace("1.6", "7"))
    wrong = talkies("generate", "lively.yaml", "--model", material / "model", "--plan")
    assert wrong.code == 2 and "liveliness" in wrong.err and "2" in wrong.err
