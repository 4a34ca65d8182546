"""Which features each segment hears, against the authors' program, whose last clip hears reversed speech."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from talkies.models.audio_encoder import ReadyTrack
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.pipelines.prediction import Conditions, SegmentPredictor
from talkies.sampling.segments import plan_segments

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "audio_window.json"


def centres(runs: list[list[int]]) -> list[int]:
    return [start + step * i for start, step, count in runs for i in range(count)]


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not here")
def test_segments_hear_what_the_authors_clips_hear() -> None:
    transformer = MultiTalkTransformer3DModel(
        num_attention_heads=1, attention_head_dim=12, num_layers=0, ffn_dim=4, audio_channels=1, audio_blocks=1
    )
    compared = mirrored = 0
    for case in json.loads(GOLDEN.read_text())["streaming"]:
        lengths = case["lens"]
        if "error" in case or max(lengths) > case["max_frames"]:
            continue
        # A frame's feature is its own number.
        tracks = [ReadyTrack(torch.arange(length).view(-1, 1, 1)) for length in lengths]
        nothing = torch.zeros(1, 1, 1)
        predictor = SegmentPredictor(transformer, Conditions(nothing, None, None, None, [tracks]), "velocity", None)
        plan = plan_segments(lengths[0], case["frame_num"], case["motion"], even_ending=False)
        for segment, clip in zip(plan.segments, case["clips"], strict=False):
            heard = predictor.windows(segment)[0, ..., 0, 0]  # [P, F, 5]
            assert segment.start == clip["audio_start"]
            for person, length in enumerate(lengths):
                if segment.start + 2 < length:
                    assert heard[person, 0].tolist() == clip["first_window"][person]
                theirs = torch.tensor(centres(clip["centers"][person])[: segment.num_frames])
                ours = heard[person, :, 2]
                sounding = segment.start + torch.arange(segment.num_frames) < length
                assert torch.equal(ours[sounding], theirs[sounding])
                compared += int(sounding.sum())
                mirrored += int((ours != theirs).sum())  # after the voice's end: theirs runs backwards, ours rests
    assert compared > 5000 and mirrored > 100
