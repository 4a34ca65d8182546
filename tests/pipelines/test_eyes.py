"""What eyes do in a run hangs on its seed alone: not on segments, batches, devices or what noise was drawn before."""

from __future__ import annotations

import torch

from talkies.pipelines.chance import picture_seeds
from talkies.pipelines.eyes import drawn_blinks, drawn_gaze

PICTURES = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
SAME = PICTURES[:1].expand(2, -1, -1, -1)


def faces(count: int) -> torch.Tensor:
    return torch.zeros(2, count, 5, 2)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_segments_are_parts_of_the_whole() -> None:
    shut = drawn_blinks(picture_seeds(seeded(3), PICTURES[:1]), 20)
    assert shut is not None
    whole = shut(faces(2), 0, 500)
    assert whole.shape == (1, 2, 500) and whole.max() > 0.9 and whole[..., 0].max() == 0
    assert torch.equal(whole[..., 120:153], shut(faces(2), 120, 33))
    assert not torch.equal(whole[0, 0], whole[0, 1])


def test_noise_that_was_drawn_changes_nothing() -> None:
    fresh, used = seeded(5), seeded(5)
    torch.randn(100, generator=used[0])
    restored = seeded(0)
    restored[0].set_state(used[0].get_state())
    films = [drawn_blinks(picture_seeds(generators, PICTURES[:1]), 17) for generators in (fresh, used, restored)]
    first, *others = [film(faces(1), 0, 900) for film in films if film is not None]
    assert all(torch.equal(first, other) for other in others) and len(others) == 2


def test_a_sample_with_a_generator_of_its_own_blinks_as_it_would_alone() -> None:
    both, second = (
        drawn_blinks(picture_seeds(seeded(1, 2), PICTURES), 17),
        drawn_blinks(picture_seeds(seeded(2), PICTURES[1:]), 17),
    )
    assert both is not None and second is not None
    assert torch.equal(both(faces(1), 0, 600)[1], second(faces(1), 0, 600)[0])
    shared = drawn_blinks(picture_seeds(seeded(1), SAME), 17)
    assert shared is not None and not torch.equal(*shared(faces(1), 0, 600))


def test_none_and_nobody() -> None:
    assert drawn_blinks(picture_seeds(seeded(1), PICTURES), 0.0) is None
    shut = drawn_blinks(picture_seeds(seeded(1), PICTURES), 17)
    assert shut is not None and shut(faces(0), 0, 33).shape == (2, 0, 33)


def test_another_picture_blinks_at_other_moments() -> None:
    one, other = (drawn_blinks(picture_seeds(seeded(1), picture[None]), 17) for picture in PICTURES)
    assert one is not None and other is not None and not torch.equal(one(faces(1), 0, 900), other(faces(1), 0, 900))


def test_gaze_wanders_from_where_it_is_in_the_picture() -> None:
    gaze = drawn_gaze(picture_seeds(seeded(3), PICTURES), 1.0)
    assert gaze is not None and drawn_gaze(picture_seeds(seeded(3), PICTURES), 0.0) is None
    whole = gaze(faces(2), 0, 500)
    assert whole.shape == (2, 2, 500, 2) and not whole[:, :, 0].any() and gaze(faces(0), 0, 33).shape == (2, 0, 33, 2)
    assert torch.equal(whole[:, :, 120:153], gaze(faces(2), 120, 33))
    sideways, down = whole[..., 0].abs(), whole[..., 1].abs()
    assert 6 <= sideways.max() <= 12 and down.max() <= 5  # somebody glanced away
    assert sideways.median() < 2
    assert len({tuple(each.tolist()) for each in whole[..., 0].flatten(0, 1)}) == 4  # not in unison
