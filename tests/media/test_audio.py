"""Sound in: containers, rates, channels, loudness, placement, mixing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.domain.timeline import Timeline, Utterance
from talkies.media.audio import SPEECH_RATE, Mix, decode, inspect, speech_track
from talkies.media.loudness import LoudnessMeter, gain_to


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def encoded(path: Path, codec: str, rate: int, seconds: float = 1.0) -> Path:
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(seconds, rate)[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def test_recordings_joined_without_a_thought(tmp_path: Path) -> None:
    """Rate and channels change on the way; all of it is heard, each part at its own pitch."""
    parts = [encoded(tmp_path / f"{rate}.mp3", "libmp3lame", rate) for rate in (44_100, 22_050)]
    joined = tmp_path / "joined.mp3"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert inspect(joined).seconds == pytest.approx(2.0, abs=0.15)
    heard = np.concatenate(list(decode(joined, SPEECH_RATE)))[:, 0]
    for half in (heard[4_000:14_000], heard[20_000:30_000]):
        assert peak_hertz(half) == pytest.approx(440, abs=5)


def peak_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SPEECH_RATE / len(samples))


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 48_000),
        ("a.flac", "flac", 96_000),
        ("a.ogg", "libopus", 24_000),
        ("a.webm", "libopus", 48_000),
        ("a.mkv", "pcm_s16le", 8_000),
        ("a.mp4", "aac", 32_000),
    ],
)
def test_any_container_codec_and_rate(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = encoded(tmp_path / name, codec, rate)
    recording = inspect(path)
    samples = np.concatenate(list(decode(path, SPEECH_RATE)))[:, 0]
    assert recording.seconds == pytest.approx(1.0, abs=0.06)
    assert recording.rate == (48_000 if codec == "libopus" else rate)
    assert peak_hertz(samples) == pytest.approx(440, abs=2)
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 192_000])
def test_length_is_kept_at_any_rate(tmp_path: Path, rate: int) -> None:
    recording = inspect(wav(tmp_path / "a.wav", tone(2.5, rate), rate))
    assert recording.seconds == pytest.approx(2.5, abs=2 / rate + 2 / SPEECH_RATE)


def test_many_channels_become_their_mean(tmp_path: Path) -> None:
    samples = np.stack([tone(0.5, 16_000) * factor for factor in (1, 0, 0.5, 0, 0, 0, 0, 0.5)], axis=1)
    path = wav(tmp_path / "a.wav", samples, 16_000)
    assert inspect(path).channels == 8
    np.testing.assert_allclose(np.concatenate(list(decode(path, 16_000)))[:, 0], samples.mean(axis=1), atol=1e-6)


def test_many_channels_become_two(tmp_path: Path) -> None:
    samples = np.stack([tone(0.5, 48_000)] * 6, axis=1)
    path = wav(tmp_path / "unplaced.wav", samples, 48_000)
    np.testing.assert_allclose(np.concatenate(list(decode(path, 48_000, 2))), samples[:, :2], atol=1e-6)
    with av.open(str(tmp_path / "placed.mka"), "w") as file:
        stream = file.add_stream("pcm_f32le", rate=48_000, layout="5.1")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "flt", "5.1")
        frame.sample_rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert np.concatenate(list(decode(tmp_path / "placed.mka", 48_000, 2))).shape == (24_000, 2)


def test_one_channel_becomes_two_alike(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(0.5, 48_000), 48_000)
    both = np.concatenate(list(decode(path, 48_000, channels=2)))
    np.testing.assert_allclose(both[:, 0], tone(0.5, 48_000), atol=1e-6)
    np.testing.assert_array_equal(both[:, 0], both[:, 1])


@given(st.integers(6_400, 60_000), st.integers(1, 5_000), st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_loudness_in_blocks_is_pyloudnorms_of_the_whole(length: int, block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.random(length // 3_000 + 1) ** 4, 3_000)[:length]
    samples = (rng.standard_normal(length) * envelope * 0.2).astype(np.float32)
    meter = LoudnessMeter(SPEECH_RATE)
    for first in range(0, length, block):
        meter.add(samples[first : first + block])
    expected = pyloudnorm.Meter(SPEECH_RATE).integrated_loudness(samples.astype(np.float64))
    assert meter.integrated() == pytest.approx(expected, abs=1e-6) or meter.integrated() == expected


def test_short_and_silent_sound_has_a_loudness_too() -> None:
    meter = LoudnessMeter(SPEECH_RATE)
    meter.add(tone(0.1, SPEECH_RATE, 1000, 0.5))
    assert meter.integrated() == pytest.approx(-9.0, abs=1.0)
    silent = LoudnessMeter(SPEECH_RATE)
    silent.add(np.zeros(50_000, np.float32))
    assert silent.integrated() == -np.inf
    assert gain_to(-23, silent.integrated()) == 1.0
    assert gain_to(-23, -29.0) == pytest.approx(10 ** (6 / 20))


def duo(tmp_path: Path, rate: int = 16_000) -> tuple[Timeline, dict[Path, object]]:
    first, second = wav(tmp_path / "1.wav", tone(1, rate), rate), wav(tmp_path / "2.wav", tone(0.5, rate, 880), rate)
    timeline = Timeline(
        (Utterance(0, first, 0.0, 1.0), Utterance(1, second, 0.75, 0.5), Utterance(0, second, 2.0, 0.5))
    )
    return timeline, {path: inspect(path) for path in (first, second)}


def test_a_speech_track_has_every_recording_in_its_place_at_23_lufs(tmp_path: Path) -> None:
    timeline, recordings = duo(tmp_path)
    track = speech_track(timeline.of(0), recordings, 3.0, tmp_path)  # type: ignore[arg-type]
    assert track.shape == (48_000,)
    assert not track[16_000:32_000].any()
    assert not track[40_000:].any()
    assert pyloudnorm.Meter(16_000).integrated_loudness(np.asarray(track[:16_000], np.float64)) == pytest.approx(
        -23, abs=1e-3
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.wav", "2.wav"], "the track's file has no name"
    assert not speech_track((), recordings, 1.0, tmp_path).any()  # type: ignore[arg-type]


def test_the_mix_holds_the_originals_where_they_belong(tmp_path: Path) -> None:
    timeline, recordings = duo(tmp_path, 44_100)
    mix = Mix.of(timeline, recordings, 2.6)  # type: ignore[arg-type]
    assert (mix.rate, mix.channels, mix.gain) == (44_100, 1, 1.0)
    whole = np.concatenate(list(mix.blocks(1_000)))[:, 0]
    expected = np.zeros(mix.length, np.float32)
    for start, samples in ((0.0, tone(1, 44_100)), (0.75, tone(0.5, 44_100, 880)), (2.0, tone(0.5, 44_100, 880))):
        position = round(start * 44_100)
        expected[position : position + len(samples)] += samples
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    np.testing.assert_array_equal(whole, np.concatenate(list(mix.blocks(77_777)))[:, 0])


def test_voices_that_would_clip_together_are_turned_down_together(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(0.5, 48_000, level=0.9), 48_000)
    timeline = Timeline((Utterance(0, path, 0.0, 0.5), Utterance(1, path, 0.0, 0.5)))
    mix = Mix.of(timeline, {path: inspect(path)}, 0.5)
    assert mix.gain == pytest.approx(1 / 1.8, rel=1e-3)
    assert max(np.abs(block).max() for block in mix.blocks(4_096)) <= 1.0


def test_sound_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound" * 50)
    (tmp_path / "empty.wav").write_bytes(b"")
    wav(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    wav(tmp_path / "short.wav", tone(0.02, 16_000), 16_000)
    wav(tmp_path / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000)
    target = wav(tmp_path / "target.wav", tone(1, 16_000), 16_000)
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.txt").write_text(f"ffconcat version 1.0\nfile {target}\n")
    for name in ("text.wav", "empty.wav", "none.wav", "short.wav", "nan.wav", "list.m3u8", "list.txt", "missing.wav"):
        with pytest.raises(InputError, match=name.split(".")[0]):
            inspect(tmp_path / name)


def test_a_video_without_sound_and_a_folder_are_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        file.mux(stream.encode(None))
    with pytest.raises(InputError, match="has no sound"):
        inspect(tmp_path / "mute.mp4")
    with pytest.raises(InputError):
        inspect(tmp_path)
