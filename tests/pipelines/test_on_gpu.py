"""Films made on a GPU: the same as on a CPU, but for rounding."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from talkies.sampling.noise import cpu_generator
from tiny_pipeline import reference_pipeline, stripes, voice, wan_pipeline

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def film(pipeline: MultiTalkPipeline, picture: Image.Image, people: int) -> np.ndarray:
    voices = [voice(0.9 + 0.1 * person, person) for person in range(people)]
    made = pipeline(
        picture,
        voices,
        "two people talk",
        person_masks=stripes(people) if people > 1 else None,
        generator=cpu_generator(0),
        output_type="np",
    )
    return np.asarray(made.frames[0])


@pytest.mark.parametrize("make", [wan_pipeline, reference_pipeline], ids=["Wan's parts", "the small model's"])
@pytest.mark.parametrize("people", [1, 2, 3])
def test_films_are_those_of_the_cpu(
    make: Callable[[], MultiTalkPipeline], picture: Image.Image, people: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    pipeline = make()
    expected = film(pipeline, picture, people)
    found = film(copy.deepcopy(pipeline).to("cuda"), picture, people)
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.mean() < 1e-3 and difference.max() < 0.05  # of 1; errors of 1e-6 grow over segments
