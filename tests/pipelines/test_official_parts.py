"""The 14B model's public parts, tiny: put together and run."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanTransformer3DModel
from PIL import Image
from safetensors.torch import save_file

from talkies.checkpoints.official import to_official
from talkies.domain.errors import InputError
from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from talkies.pipelines.settings import GenerationSettings
from talkies.sampling.noise import cpu_generator
from tiny_pipeline import stripes, voice, wan_pipeline


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[MultiTalkPipeline, Path, Path, Path]:
    """A pipeline, and its parts in the layouts they are published in."""
    folder = tmp_path_factory.mktemp("official")
    wan, file, wav2vec2 = folder / "wan", folder / "multitalk.safetensors", folder / "wav2vec2"
    pipeline = wan_pipeline(audio=(12, 768))  # as everywhere in the authors' layout
    for name in ("tokenizer", "text_encoder", "image_encoder", "image_processor", "vae"):
        getattr(pipeline, name).save_pretrained(wan / name)
    config = dict(pipeline.transformer.config)
    known = inspect.signature(WanTransformer3DModel.__init__).parameters
    plain = WanTransformer3DModel(**{name: value for name, value in config.items() if name in known})
    weights = pipeline.transformer.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    plain.save_pretrained(wan / "transformer")
    UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction").save_pretrained(wan / "scheduler")
    official = to_official(pipeline.transformer)
    save_file({name: value for name, value in official.items() if "audio" in name or ".norm_x." in name}, file)
    pipeline.audio_encoder.save_pretrained(wav2vec2)
    return pipeline, wan, file, wav2vec2


def test_composed_runs_like_its_source(parts: tuple[MultiTalkPipeline, Path, Path, Path], picture: Image.Image) -> None:
    source, *paths = parts
    composed = MultiTalkPipeline.from_official(*paths, torch_dtype=torch.float32)
    assert composed.defaults == GenerationSettings()  # the paper's
    videos = []
    for pipeline in (source, composed):
        pipeline.set_progress_bar_config(disable=True)
        video = pipeline(
            picture,
            [voice(0.4), voice(0.2, 1)],
            "two people talk",
            person_masks=stripes(2),
            settings=source.defaults,
            generator=cpu_generator(0),
            output_type="np",
        ).frames
        videos.append(video)
    np.testing.assert_allclose(videos[1], videos[0], atol=2e-5)


def test_types_of_the_parts(parts: tuple[MultiTalkPipeline, Path, Path, Path]) -> None:
    composed = MultiTalkPipeline.from_official(*parts[1:])
    assert composed.transformer.dtype == composed.text_encoder.dtype == torch.bfloat16
    assert composed.vae.dtype == composed.audio_encoder.dtype == torch.float32


def test_missing_part_is_refused(parts: tuple[MultiTalkPipeline, Path, Path, Path], tmp_path: Path) -> None:
    _, wan, file, wav2vec2 = parts
    with pytest.raises(InputError):
        MultiTalkPipeline.from_official(wan, tmp_path, wav2vec2)
    with pytest.raises(InputError, match="14B model"):
        MultiTalkPipeline.from_official(wan, file, tmp_path)
