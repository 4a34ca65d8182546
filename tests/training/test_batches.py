"""Batches: order, draws, tasks; the same whatever the number of processes."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import UMT5Config, UMT5EncoderModel

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.training.batches import (
    Batch,
    BatchBuilder,
    collate,
    disturb_audio,
    draw_sigmas,
    drop_text,
)
from talkies.training.config import ConditionSection, HearingSection, PrefixSection, TimestepSection
from talkies.training.delivery import BatchLoader
from talkies.training.order import OrderState, ShuffledCache, generator
from talkies.training.shards import CacheWriter, LatentCache
from talkies.training.system import TrainingSystem
from training_cases import CHANNELS, CONTEXT, REFERENCE, make_sample, model_config, text_encoder_config


@pytest.fixture
def source(cache_root: Path) -> ShuffledCache:
    return ShuffledCache(LatentCache((cache_root,)))


def builder(source: ShuffledCache, **condition: object) -> BatchBuilder:
    return BatchBuilder(
        source,
        window=5,
        condition=ConditionSection.model_validate(condition),
        timesteps=TimestepSection(),
        latent_frames=None,
        seed=3,
    )


def test_a_pass_sees_every_sample_in_batches_of_one_shape(source: ShuffledCache) -> None:
    batches = source.batches(epoch=0, count=14, batch_size=4, seed=0)
    assert {number for batch in batches for number in batch} == set(range(14))
    for batch in batches:
        assert len(batch) == 4 and len({number >= 10 for number in batch}) == 1  # two people, or one
    assert batches != source.batches(epoch=1, count=14, batch_size=4, seed=0)


def test_the_order_goes_on_from_any_place(source: ShuffledCache) -> None:
    whole = list(islice(source.walk(OrderState(), 4, 0), 12))
    for place in range(11):
        assert list(islice(source.walk(whole[place][1], 4, 0), 11 - place)) == whole[place + 1 :]


def test_a_shrunk_cache_is_refused(source: ShuffledCache) -> None:
    with pytest.raises(InputError, match="holds 14"):
        next(source.walk(OrderState(0, 1, 99), 4, 0))


def test_processes_together_see_what_one_sees(source: ShuffledCache) -> None:
    build = builder(source, prefix=PrefixSection(probability=0.5, latent_frames=(2,), noise=0.2), drop_text=0.5)
    for draw in range(6):
        whole = build.build([0, 1, 2, 3], draw)
        halves = [build.build([0, 1, 2, 3], draw, rank, 2) for rank in range(2)]
        for field in fields(Batch):
            expected = getattr(whole, field.name)
            found = [getattr(half, field.name) for half in halves]
            if expected is None:
                assert found == [None, None]
            else:
                joined = torch.stack(found, 1).flatten(0, 1)  # every second sample
                assert torch.equal(joined, expected), field.name


def test_the_input_is_noisy_mask_known_reference(source: ShuffledCache) -> None:
    batch = builder(source, drop_text_and_audio=0, prefix={"probability": 1.0, "latent_frames": [2]}).build([0, 1], 0)
    states = batch.hidden_states()
    noisy, mask, known, reference = states.split([CHANNELS, 4, CHANNELS, REFERENCE], dim=1)
    sigma = batch.sigma.view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(noisy, (1 - sigma) * batch.latents + sigma * batch.noise)
    assert mask[:, :, :2].eq(1).all() and mask[:, :, 2:].eq(0).all()
    assert torch.equal(known[:, :, :2], batch.latents[:, :, :2]) and known[:, :, 2:].eq(0).all()
    assert batch.condition is not None and torch.equal(reference, batch.condition)


def test_given_frames_are_disturbed_and_latents_kept_within_limits(source: ShuffledCache) -> None:
    prefix = {"probability": 1.0, "latent_frames": [2], "scale": 0.3}
    build = builder(source, drop_text_and_audio=0, prefix=prefix)
    batches = [build.build([0, 1], draw) for draw in range(8)]
    for batch in batches:
        shares = batch.known[:, :, :2] / batch.latents[:, :, :2]
        each = shares[:, :1, :1, :1, :1]
        assert torch.allclose(shares, each.expand_as(shares), rtol=1e-3) and (each - 1).abs().max() <= 0.3
    assert len({float(batch.known[0, 0, 0, 0, 0] / batch.latents[0, 0, 0, 0, 0]) for batch in batches}) > 4
    limited = BatchBuilder(
        source, window=5, condition=ConditionSection(), timesteps=TimestepSection(), latent_frames=None, seed=3,
        limits=[(1, 3, 0.05)],
    )  # fmt: skip
    whole, kept = builder(source).build([0, 1], 0).latents, limited.build([0, 1], 0).latents
    assert torch.equal(kept[:, 1:3], whole[:, 1:3].clamp(-0.05, 0.05))
    assert torch.equal(kept[:, [0, 3]], whole[:, [0, 3]]) and not torch.equal(kept, whole)


def test_every_region_may_read_its_own(tmp_path: Path) -> None:
    """Prompts by person, dropped for all of them at once; one of another number of regions is refused."""
    sample = make_sample(0, ids=True)
    assert sample.prompt_ids is not None and not sample.reads_by_region
    own = replace(sample, prompt_ids=torch.stack([sample.prompt_ids + k for k in range(3)]))
    own.check(CONTEXT)
    with pytest.raises(InputError, match="prompt_ids has shape"):
        replace(own, prompt_ids=own.prompt_ids[:2]).check(CONTEXT)
    with CacheWriter(tmp_path / "own", context=CONTEXT, null_prompt=torch.tensor([1, 0, 0, 0])) as writer:
        for _ in range(2):
            writer.add(own)
    batch = builder(ShuffledCache(LatentCache((tmp_path / "own",))), drop_text_and_audio=0, drop_text=0).build(
        [0, 1], 0
    )
    assert torch.equal(batch.prompt[0], own.prompt_ids) and torch.equal(batch.text_masks, batch.person_masks)
    dropped = drop_text(batch, torch.tensor([True, False]), torch.tensor([1, 0, 0, 0]))
    assert (dropped.prompt[0] == torch.tensor([1, 0, 0, 0])).all() and torch.equal(dropped.prompt[1], own.prompt_ids)
    network = TrainingSystem(
        MultiTalkTransformer3DModel(**model_config()), UMT5EncoderModel(UMT5Config(**text_encoder_config()))
    ).eval()
    torch.nn.init.normal_(network.transformer.proj_out.weight)
    with torch.no_grad():
        read = network(batch)
        same = network(replace(batch, prompt=batch.prompt[:, :1].expand(-1, 3, -1)))
        plain = network(replace(batch, prompt=batch.prompt[:, 0], text_masks=None))
    torch.testing.assert_close(same, plain)
    assert (read - plain).abs().max() > 1e-4


def test_audio_windows_reach_past_the_clip(source: ShuffledCache) -> None:
    sample = make_sample(0)
    assert sample.audio is not None
    windows = collate([sample], CONTEXT, 5, None).audio  # [B, P, F, W, S, C]
    audio = sample.audio.float()
    assert torch.equal(windows[0, :, 0], audio[:, 0:5])  # two real frames before the first
    assert torch.equal(windows[0, :, -1], audio[:, -5:])
    assert torch.equal(windows[0, :, 4, 2], audio[:, CONTEXT + 4])
    with pytest.raises(InputError, match="does not fit"):
        collate([sample], CONTEXT, 7, None)


def test_progressive_length_cuts_everything(source: ShuffledCache) -> None:
    batch = collate([make_sample(0), make_sample(1)], CONTEXT, 5, 2)
    assert batch.hidden_states().shape[2] == 2 and batch.audio.shape[2] == 5 and batch.weight.shape[1] == 2


def test_dropping_leaves_the_branches_of_guidance(source: ShuffledCache) -> None:
    unconditional = builder(source, drop_text_and_audio=1.0).build([0, 1], 0)
    assert unconditional.person_masks is None and unconditional.audio.shape[1] == 1
    assert not unconditional.audio.any() and not unconditional.prompt.any()
    video = builder(source, drop_text_and_audio=0, image_to_video=1.0, drop_text=1.0).build([0, 1], 0)
    assert video.person_masks is None and not video.audio.any() and video.prompt.any()
    text = builder(source, drop_text_and_audio=0, drop_text=1.0).build([0, 1], 0)
    assert text.person_masks is not None and text.audio.any() and not text.prompt.any()


def test_shares_of_tasks_and_noise_are_as_asked(source: ShuffledCache) -> None:
    build = builder(source, drop_text_and_audio=0.3, drop_text=0.0)
    dropped = sum(build.build([0, 1], draw).person_masks is None for draw in range(300))
    assert 60 < dropped < 120
    timesteps = TimestepSection(shift=4, noise_share=0.2, minimum=0.02, maximum=0.999)
    sigma = torch.cat([draw_sigmas(8, timesteps, generator("test", i)) for i in range(300)])
    assert 0.15 < sigma.eq(0.999).float().mean() < 0.27
    assert sigma.min() >= 0.02 and sigma.max() <= 0.999
    rest = sigma[sigma < 0.999]
    assert abs(float(rest.median()) - 0.8) < 0.03  # u = 1/2 goes to 4 / 5


def test_voices_are_disturbed_apart_and_by_as_much_as_asked() -> None:
    audio = torch.randn(2, 4000, 2, 64, generator=generator("voices"))
    heard = disturb_audio(audio, HearingSection(voice=0.3), generator("test"))
    assert (heard.mean((1, 2)).std() - 0.3).abs() < 0.05  # one bias a channel and person ...
    assert (heard.std((1, 2)).log().std() - 0.3).abs() < 0.05  # ... and one gain
    assert not torch.allclose(heard[0].mean((0, 1)), heard[1].mean((0, 1)), atol=0.1)
    heard = disturb_audio(audio, HearingSection(dropped=0.25), generator("test"))
    lacking = heard.eq(0).all(1, keepdim=True).all(2, keepdim=True)
    assert 0.15 < lacking.float().mean() < 0.35
    assert torch.equal(heard, audio.masked_fill(lacking, 0.0))
    noise = (disturb_audio(audio, HearingSection(noise=0.5), generator("test")) - audio).std((1, 2, 3))
    assert (noise < 0.5).all() and noise[0] != noise[1]
    assert torch.equal(disturb_audio(audio, HearingSection(), generator("test")), audio)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_delivers_in_order_and_passes_errors_on(source: ShuffledCache, workers: int) -> None:
    build = builder(source)
    with BatchLoader(source.walk(OrderState(), 4, 0), build, draws=0, prefetch=2, workers=workers) as loader:
        first = [loader.next() for _ in range(3)]
    numbers = [numbers for numbers, _ in islice(source.walk(OrderState(), 4, 0), 3)]
    for draw, delivery in enumerate(first):
        assert torch.equal(delivery.batch.noise, build.build(numbers[draw], draw).noise)
    with (
        BatchLoader(source.walk(OrderState(0, 1, 99), 4, 0), build, draws=0, prefetch=2, workers=workers) as loader,
        pytest.raises(InputError, match="holds 14"),
    ):
        loader.next()
