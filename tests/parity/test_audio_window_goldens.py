"""Audio windows and the adapter's regrouping against outputs of the authors' program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from talkies.models.audio_adapter import AudioProjector, window_audio

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden files at {GOLDEN}")


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "audio_window.safetensors")


@pytest.fixture(scope="module")
def settings() -> dict:
    return json.loads((GOLDEN / "audio_window.json").read_text())


@pytest.fixture(scope="module")
def projector(golden: dict[str, torch.Tensor], settings: dict) -> AudioProjector:
    config = settings["small"]["audio_proj"]
    window = config["seq_len"]
    projector = AudioProjector(
        window,
        config["seq_len_vf"] - window + 1,
        config["blocks"],
        config["channels"],
        config["intermediate_dim"],
        config["output_dim"],
        config["context_tokens"],
    )
    names = {"proj1": "proj_first", "proj1_vf": "proj_later", "proj2": "proj_hidden", "proj3": "proj_out"}
    state = {}
    for name, tensor in golden.items():
        if name.startswith("audio_proj."):
            _, layer, kind = name.split(".")
            state[f"{names.get(layer, layer)}.{kind}"] = tensor
    projector.load_state_dict(state)
    return projector.eval()


@pytest.mark.parametrize("clip", [0, 1, 2])
def test_windows_of_a_clip(golden: dict[str, torch.Tensor], settings: dict, clip: int) -> None:
    start = settings["small"]["audio_starts"][clip]
    expected = golden[f"clip{clip}.windows"]  # [P, F, W, S, C]
    for person in (1, 2):
        # The last clip runs past the shorter voice, which the authors lengthen first.
        name = "last_clip.emb_after_flip_padding" if clip == 2 else "emb"
        features = golden[f"{name}.person{person}"]
        windows = window_audio(features, expected.shape[2], start, start + expected.shape[1])
        assert torch.equal(windows, expected[person - 1])


@pytest.mark.parametrize("clip", [0, 1, 2])
def test_adapter(golden: dict[str, torch.Tensor], projector: AudioProjector, clip: int) -> None:
    windows = golden[f"clip{clip}.windows"]
    assert torch.equal(windows[:, :1], golden[f"clip{clip}.first"])
    assert torch.equal(projector.later_slots(windows[:, 1:]), golden[f"clip{clip}.latter"])
    with torch.no_grad():
        tokens = projector(windows[None])[0]
    expected = golden[f"clip{clip}.proj_out"]
    assert (tokens - expected).abs().max() < 1e-5 * expected.abs().max()


def test_regrouping_is_index_exact(golden: dict[str, torch.Tensor], projector: AudioProjector) -> None:
    first, latter = golden["index_coded.first"], golden["index_coded.latter"]
    window = first.shape[-1]
    frames = 1 + projector.stride * len(latter)
    codes = 8.0 * torch.arange(frames)[:, None] + torch.arange(window)  # value = 8 frame + slot
    codes = codes[..., None, None]  # [F, W, 1, 1]
    assert torch.equal(codes[:1, :, 0, 0], first)
    assert torch.equal(projector.later_slots(codes[1:])[..., 0, 0], latter)


def test_streaming_windows(settings: dict) -> None:
    """First and last window of every clip of every length, in frames of the features as they were then."""
    for case in settings["streaming"]:
        for clip in case.get("clips", []):
            for frames, first, last in zip(case["lens"], clip["first_window"], clip["last_window"], strict=True):
                now = clip["emb_len_now"][case["lens"].index(frames)]
                index = _flip_padded(frames, now)[:, None, None]
                windows = window_audio(index, 5, clip["audio_start"], clip["audio_end"])[..., 0, 0]
                assert windows[0].tolist() == first
                assert windows[-1].tolist() == last


def _flip_padded(frames: int, length: int) -> torch.Tensor:
    """Frame numbers of features that the authors lengthened by their own reversed end."""
    index = torch.arange(frames)
    if length == frames:
        return index
    return torch.cat([index, index.flip(0)[: length - frames]])
