"""How lively everybody is: what was asked, else drawn from the seed, told where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from talkies.domain.errors import InputError
from talkies.models.motion_latents import liveliness_map
from talkies.pipelines.chance import picture_seeds
from talkies.pipelines.liveliness import drawn_liveliness
from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from talkies.sampling.noise import cpu_generator
from tiny_pipeline import reference_pipeline, stripes, tiny_transformer, voice

PICTURES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
SEEDS = picture_seeds([cpu_generator(3)], PICTURES)


@given(st.integers(1, 6), st.tuples(st.floats(0.4, 2), st.floats(0.4, 2)))
def test_everybody_is_drawn_within_the_range_and_as_before(people: int, between: tuple[float, float]) -> None:
    drawn = drawn_liveliness(SEEDS, between, (), people)
    assert drawn is not None and drawn.shape == (2, people)
    assert min(between) - 1e-6 <= drawn.min() and drawn.max() <= max(between) + 1e-6
    again = drawn_liveliness(SEEDS, between, (None, 1.5)[:people], people)
    assert again is not None and torch.equal(again[:, 2:], drawn[:, 2:]) and torch.equal(again[:, 0], drawn[:, 0])
    assert people == 1 or (again[:, 1] == 1.5).all()


def test_one_number_is_everybodys_and_none_is_not_told() -> None:
    drawn = drawn_liveliness(SEEDS, 0.7, (None, 2.0), 3)
    assert drawn is not None and torch.allclose(drawn, torch.tensor([[0.7, 2.0, 0.7]] * 2))
    assert drawn_liveliness(SEEDS, None, (), 3) is None


@given(st.integers(2, 5), st.integers(0, 10**6))
def test_the_map_says_it_where_people_are(people: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    present = (torch.rand(2, people, 4, 6, generator=rng) < 0.4).float()
    masks = torch.cat([present, (present.sum(1, keepdim=True) == 0).float()], 1)
    lively = torch.rand(2, people, generator=rng) + 0.5
    told = liveliness_map(lively, masks, (4, 6))
    for b in range(2):
        for y in range(4):
            for x in range(6):
                there = [float(lively[b, p]) - 1 for p in range(people) if present[b, p, y, x]]
                assert float(told[b, 0, y, x]) == pytest.approx(np.mean(there) if there else 0, abs=1e-5)


@pytest.mark.parametrize("masks", [None, torch.zeros(2, 2, 4, 6)])
def test_one_person_alone_is_everywhere(masks: torch.Tensor | None) -> None:
    told = liveliness_map(torch.tensor([[1.5], [0.75]]), masks, (4, 6))
    assert told.shape == (2, 1, 4, 6) and (told[0] == 0.5).all() and (told[1] == -0.25).all()


@pytest.fixture(scope="module")
def told_pipeline() -> MultiTalkPipeline:
    pipeline = reference_pipeline()
    config = pipeline.transformer.config
    pipeline.register_modules(transformer=tiny_transformer(config.in_channels + 1, config.out_channels, None, 1).eval())
    pipeline.register_to_config(generation={**pipeline.config.generation, "liveliness": [0.6, 1.4]})
    return pipeline


def test_a_network_that_is_told_listens(told_pipeline: MultiTalkPipeline) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8))

    def run(*liveliness: float | None) -> np.ndarray:
        return told_pipeline(
            picture, [voice(0.2), voice(0.2, 1)], "Two people talk.", person_masks=stripes(2), output_type="np",
            generator=cpu_generator(0), liveliness=liveliness,
        ).frames  # fmt: skip

    assert np.array_equal(run(), run(None, None))
    assert all(np.abs(run() - run(*asked)).max() > 1e-6 for asked in ((2.0,), (None, 2.0)))
    with pytest.raises(InputError, match="out of range"):
        run(3.0)
    with pytest.raises(InputError, match="there are 2"):
        run(1.0, 1.0, 1.0)


def test_a_model_that_is_not_told_says_so() -> None:
    picture = Image.new("RGB", (48, 48))
    with pytest.raises(InputError, match="not told"):
        reference_pipeline()(picture, [voice(0.2)], "Somebody talks.", liveliness=(1.5,))
    pipeline = reference_pipeline()
    with pytest.raises(InputError, match="not told"):
        pipeline(picture, [voice(0.2)], "Somebody talks.", settings=pipeline.defaults.replace({"liveliness": 1.5}))
