"""wav2vec2 features against transformers' own model, tracks of any length against one piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from talkies.domain.errors import InputError
from talkies.models.audio_encoder import SpeechEncoder, SpeechTrack, Wav2Vec2SpeechEncoder, release_pages
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder

RATE = 16_000


def tiny_config(norm: str = "group") -> Wav2Vec2Config:
    """wav2vec2-base in small: its strides and kernels, few channels."""
    return Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8,) * 7,
        feat_extract_norm=norm,
        conv_bias=norm == "layer",
        do_stable_layer_norm=norm == "layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )


@pytest.fixture(scope="module")
def encoder() -> Wav2Vec2SpeechEncoder:
    torch.manual_seed(0)
    return Wav2Vec2SpeechEncoder(tiny_config()).eval()


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in bursts, with an offset: loudness changes over the track as speech does."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    noise = np.random.default_rng(seed).standard_normal(count)
    return (0.1 * noise * (1 + np.sin(2 * np.pi * time / 3)) + 0.02).astype(np.float32)


@torch.no_grad()
def authors_features(model: Wav2Vec2Model, waveform: np.ndarray) -> torch.Tensor:
    """PAPER section 2, written with transformers' own parts: normalise, convolve, interpolate, encode, stack."""
    values = Wav2Vec2FeatureExtractor(do_normalize=True)(waveform, sampling_rate=RATE, return_tensors="pt").input_values
    features = model.feature_extractor(values)  # [1, c, conv features]
    features = F.interpolate(features, size=int(len(waveform) / RATE * 25), align_corners=True, mode="linear")
    hidden, _ = model.feature_projection(features.transpose(1, 2))
    hidden = model.encoder.layer_norm(hidden + model.encoder.pos_conv_embed(hidden))
    layers = []
    for layer in model.encoder.layers:
        hidden = layer(hidden)
        layers.append(hidden[0])
    return torch.stack(layers, dim=1)  # [F, S, C]


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.27, 11.013])
def test_features_are_the_authors(encoder: Wav2Vec2SpeechEncoder, seconds: float) -> None:
    waveform = voice(seconds)
    expected = authors_features(encoder, waveform)
    got = encoder.encode_speech(waveform, int(len(waveform) / RATE * 25))
    assert got.shape == (int(seconds * 25 + 1e-6), encoder.blocks, encoder.channels)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=2e-5)


def test_protocol_and_folder(encoder: Wav2Vec2SpeechEncoder, tmp_path) -> None:
    assert isinstance(encoder, SpeechEncoder)
    Wav2Vec2Model(encoder.config).eval().save_pretrained(tmp_path)  # any wav2vec2 folder
    loaded = Wav2Vec2SpeechEncoder.from_pretrained(tmp_path).eval()
    plain = Wav2Vec2Model.from_pretrained(tmp_path).eval()
    waveform = voice(1)
    torch.testing.assert_close(
        loaded.encode_speech(waveform, 25), authors_features(plain, waveform), atol=2e-5, rtol=1e-4
    )


def test_longer_video_hears_silence(encoder: Wav2Vec2SpeechEncoder) -> None:
    waveform = voice(1)
    padded = np.concatenate([waveform, np.zeros(RATE, dtype=np.float32)])
    torch.testing.assert_close(encoder.encode_speech(waveform, 50), encoder.encode_speech(padded, 50))
    torch.testing.assert_close(encoder.encode_speech(padded, 25), encoder.encode_speech(waveform, 25))


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_windows_agree_with_one_piece(norm: str) -> None:
    """A long track differs from its one-piece encoding only by what attention sees beyond the context."""
    torch.manual_seed(1)
    encoder = Wav2Vec2SpeechEncoder(tiny_config(norm)).eval()
    waveform = voice(16)
    whole = encoder.encode_speech(waveform, 400)
    encoder.whole_frames, encoder.piece_frames = 300, 150
    pieces = encoder.encode_speech(waveform, 400)
    assert (pieces - whole).abs().mean() < 0.02 * whole.abs().mean()


def test_track_gives_the_same_frames_however_it_is_asked() -> None:
    encoder = Wav2Vec2SpeechEncoder(tiny_config()).eval()
    encoder.whole_frames, encoder.piece_frames = 150, 100
    waveform = voice(10)
    forward, backward = SpeechTrack(encoder, waveform, 260), SpeechTrack(encoder, waveform, 260)
    whole = encoder.encode_speech(waveform, 260)
    ranges = [(0, 81), (90, 110), (199, 203), (240, 260)]
    first = [forward.frames(*each) for each in ranges]
    second = [backward.frames(*each) for each in reversed(ranges)][::-1]
    for (start, stop), a, b in zip(ranges, first, second, strict=True):
        assert torch.equal(a, b) and torch.equal(a, whole[start:stop])
    with pytest.raises(IndexError):
        forward.frames(240, 261)


def test_silent_person(encoder: Wav2Vec2SpeechEncoder) -> None:
    features = SpeechTrack(encoder, np.zeros(0, dtype=np.float32), 30).frames(0, 30)
    assert torch.isfinite(features).all()
    torch.testing.assert_close(features[10], features[20], atol=1e-4, rtol=1e-3)


def test_memory_mapped_waveform(encoder: Wav2Vec2SpeechEncoder, tmp_path) -> None:
    waveform = voice(2)
    waveform.tofile(tmp_path / "track.f32")
    mapped = np.memmap(tmp_path / "track.f32", dtype=np.float32, mode="r")
    assert torch.equal(encoder.encode_speech(mapped, 50), encoder.encode_speech(torch.from_numpy(waveform), 50))
    for mode in ("r", "r+", "c"):
        part = np.memmap(tmp_path / "track.f32", dtype=np.float32, mode=mode)[100:]
        if mode == "c":
            part[0] = 5.0
        before = part.copy()
        release_pages(part)
        np.testing.assert_array_equal(part, before)  # in the file, or left alone


def test_encoder_without_ranges_gets_pieces() -> None:
    """The small model's encoder, which knows nothing of tracks: pieces with context, the same whenever asked."""
    torch.manual_seed(0)
    encoder = WhisperSpeechEncoder(
        hidden_size=16, num_layers=1, num_heads=2, tapped_layers=(1,), head_channels=8, feature_channels=4
    ).eval()
    assert isinstance(encoder, SpeechEncoder)
    track, again = SpeechTrack(encoder, voice(8), 200), SpeechTrack(encoder, voice(8), 200)
    track._step = again._step = track.piece_frames = again.piece_frames = 80
    frames = track.frames(60, 180)
    assert frames.shape == (120, 2, 4)
    torch.testing.assert_close(frames[60:], again.frames(120, 180))
    whole = encoder.encode_speech(torch.from_numpy(voice(8)), 200)[60:180]
    assert (frames - whole).abs().mean() < 0.1 * whole.abs().mean()


@pytest.mark.parametrize("waveform", [np.zeros((2, 100), np.float32), np.full(16000, np.nan, np.float32)])
def test_bad_waveform_is_refused(encoder: Wav2Vec2SpeechEncoder, waveform: np.ndarray) -> None:
    with pytest.raises(InputError):
        encoder.encode_speech(waveform, 25)
