"""The network against its plain twin, and laws that hold for any of its sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from plain_multitalk import plain_forward
from talkies.domain.errors import InputError
from talkies.models.speaker_rope import PersonLabels, video_labels
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel, _text_owner, record_person_maps
from tiny_multitalk import CHANNELS, LAWS, Case, cases, close, make_case, no_near_tie


@LAWS
@given(cases())
def test_equals_the_plain_implementation(case: Case) -> None:
    plain = plain_forward(case.model, *case.arguments)
    assume(no_near_tie(plain.maps))
    with torch.no_grad(), record_person_maps(case.model) as maps:
        sample = case.model(*case.arguments).sample
    assert close(sample, plain.sample)
    assert len(maps) == (0 if case.people == 1 else case.model.config.num_layers)
    if maps:
        ours = torch.stack(maps, dim=1).flatten(0, 1)  # samples, then blocks, as the plain twin keeps them
        assert close(ours, torch.stack(plain.maps))
        # Where a person's row is nearly constant, the normalisation magnifies rounding.
        assert (video_labels(ours) - torch.stack(plain.labels)).abs().max() < 2e-2


@LAWS
@given(cases(batch=2))
def test_batch_of_two_equals_two_batches_of_one(case: Case) -> None:
    with torch.no_grad(), record_person_maps(case.model) as maps:
        together = case.model(*case.arguments).sample
        assume(no_near_tie([each for person_map in maps for each in person_map]))
        apart = [case.model(*(None if a is None else a[b : b + 1] for a in case.arguments)).sample for b in range(2)]
    assert close(together, torch.cat(apart))


@LAWS
@given(cases(), st.floats(-50, 150))
def test_background_label_is_irrelevant_without_background(case: Case, label: float) -> None:
    assume(case.people > 1)
    masks = case.masks.clone()
    masks[:, -1] = 0
    arguments = (*case.arguments[:5], masks)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        before = case.model(*arguments).sample
        patch.setattr(PersonLabels, "background", label)
        assert torch.equal(case.model(*arguments).sample, before)


@LAWS
@given(cases())
def test_one_stream_needs_no_masks(case: Case) -> None:
    latents, timestep, text, image, audio, masks = case.arguments
    alone = torch.zeros_like(audio[:, :1])  # the pass of guidance without audio
    with torch.no_grad(), record_person_maps(case.model) as maps:
        without = case.model(latents, timestep, text, image, alone).sample
        assert torch.equal(case.model(latents, timestep, text, image, alone, masks).sample, without)
    assert not maps


@LAWS
@given(cases())
def test_one_timestep_is_the_same_for_every_frame_and_token(case: Case) -> None:
    latents, timestep, *rest = case.arguments
    frames, rows, columns = case.grid
    with torch.no_grad(), record_person_maps(case.model) as maps:
        once = case.model(latents, timestep, *rest).sample
        assume(no_near_tie([each for person_map in maps for each in person_map]))
        for groups in (frames, frames * rows * columns):
            each = timestep[:, None].expand(-1, groups)
            assert close(case.model(latents, each, *rest).sample, once)


@LAWS
@given(cases(), st.integers(1, 3))
def test_texts_of_regions(case: Case, count: int) -> None:
    """Equal texts for all regions are one text for everybody; where nobody has a region the last one is read."""
    latents, timestep, text, *rest = case.arguments
    masks = (
        torch.rand(len(latents), count, *latents.shape[3:], generator=torch.Generator().manual_seed(0)) > 0.5
    ).float()
    other = torch.randn(text.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), record_person_maps(case.model) as maps:
        once = case.model(latents, timestep, text, *rest).sample
        same = case.model(latents, timestep, text[:, None].expand(-1, count, -1, -1), *rest, text_masks=masks).sample
        unread = torch.stack([other] * count + [text], 1)
        nowhere = torch.cat([torch.zeros_like(masks), torch.ones_like(masks[:, :1])], 1)
        last = case.model(latents, timestep, unread, *rest, text_masks=nowhere).sample
    assume(no_near_tie([each for person_map in maps for each in person_map]))
    assert close(same, once) and close(last, once)


def test_every_token_reads_the_text_of_its_region() -> None:
    masks = torch.zeros(1, 3, 2, 6)
    masks[0, 0, :, :2], masks[0, 1, :, 4:] = 1, 1
    owner = _text_owner(torch.zeros(1, 3, 5, 8), masks, (2, 2, 6))
    assert owner is not None and owner.tolist() == [[0, 0, 2, 2, 1, 1] * 4]


def test_texts_without_their_masks_are_refused() -> None:
    case = make_case()
    latents, timestep, text, *rest = case.arguments
    for masks in (None, torch.ones(1, 3, 4, 4)):
        with pytest.raises(InputError, match="text_masks"):
            case.model(latents, timestep, text[:, None].expand(-1, 2, -1, -1), *rest, text_masks=masks)


@LAWS
@given(cases())
def test_training_and_inference_agree(case: Case) -> None:
    """They compute the person map in different ways."""
    with record_person_maps(case.model) as maps:
        training = case.model(*case.arguments).sample
        with torch.no_grad():
            inference = case.model(*case.arguments).sample
    half = len(maps) // 2
    assume(no_near_tie([each for person_map in maps for each in person_map]))
    assert close(training.detach(), inference)
    assert all(close(a, b) for a, b in zip(maps[:half], maps[half:], strict=True))


@pytest.mark.parametrize("grid", [(3, 1, 2), (3, 3, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_a_mask_of_the_whole_frame_is_not_rounding_blown_up(grid: tuple[int, int, int], seed: int) -> None:
    """Its row of the map is constant; stretched to the range of labels, rounding would decide what is heard."""
    case = make_case(patch=(1, 1, 1), grid=grid, heads=1, head_dim=16, seed=seed)
    masks = torch.zeros_like(case.masks)
    masks[:, 0] = 1
    masks[:, 1, 0, 0] = 1
    arguments = (*case.arguments[:5], masks)
    with record_person_maps(case.model) as maps:
        training = case.model(*arguments).sample
        with torch.no_grad():
            inference = case.model(*arguments).sample
    rows = torch.cat([person_map[:, 0] for person_map in maps])
    assert (rows == rows[0, 0]).all()
    assert no_near_tie([each for person_map in maps for each in person_map])
    assert close(training.detach(), inference)
    assert close(inference, plain_forward(case.model, *arguments).sample)


@LAWS
@given(cases(), st.integers(0, CHANNELS - 1))
def test_unseen_channels_are_as_good_as_zeros(case: Case, channel: int) -> None:
    latents, *others = case.arguments
    assert latents is not None
    zeros = latents.clone()
    zeros[:, channel] = 0
    blind = MultiTalkTransformer3DModel.from_config(case.model.config, unseen_channels=(channel,))
    blind.load_state_dict(case.model.state_dict())
    with torch.no_grad():
        expected = case.model(zeros, *others).sample
        assert torch.equal(blind(zeros, *others).sample, expected)
        assert torch.equal(blind(latents, *others).sample, expected)


@LAWS
@given(cases(), st.integers(1, CHANNELS))
def test_what_is_seen_averaged_is_the_mean_around_every_token(case: Case, channels: int) -> None:
    latents = case.arguments[0]
    assert latents is not None
    model = MultiTalkTransformer3DModel.from_config(case.model.config, averaged_channels=channels)
    seen = model._averages(latents)  # [B, S, 2 c]
    frames, rows, columns = latents.shape[2:]
    per_frame, down, across = model.config.patch_size
    for reach, where in ((0, slice(0, channels)), (2, slice(channels, None))):  # one frame, and five
        means = torch.stack(
            [
                latents[
                    :, :channels, max(0, t - reach) : t + reach + 1, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3
                ].mean((2, 3, 4))
                for t in range(frames)
                for y in range(rows)
                for x in range(columns)
            ],
            -1,
        ).unflatten(-1, (frames, rows, columns))
        spread = (means * (25 * (2 * reach + 1)) ** 0.5).asinh()
        tokens = spread.unfold(2, per_frame, per_frame).unfold(3, down, down).unfold(4, across, across).mean((5, 6, 7))
        assert close(seen[..., where], tokens.flatten(2).transpose(1, 2))
    missing = model.load_state_dict(case.model.state_dict(), strict=False)
    assert missing.missing_keys == ["average_embedding.weight"]
    with torch.no_grad():
        assert torch.equal(model(*case.arguments).sample, case.model(*case.arguments).sample)  # it begins at zero
        model.average_embedding.weight.normal_()
        assert not close(model(*case.arguments).sample, case.model(*case.arguments).sample)
