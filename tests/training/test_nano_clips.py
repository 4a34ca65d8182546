"""From drawn performers to the clips that a transformer trains on, with what is laid over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nano_tracks import draw_track
from talkies.domain.expression import AT_MOUTH, EXPRESSION
from talkies.domain.liveliness import CALMEST, LIVELIEST
from talkies.domain.moods import MOODS, Mood, mood_expression
from talkies.domain.performer import Performer
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FRAMES, MOTION_CHANNELS, PLACES, expand_flow
from talkies.training.codec import CodecRecipe
from talkies.training.composites import find_tracks
from talkies.training.liveliness import head_sway, with_liveliness
from talkies.training.moods import with_mood
from talkies.training.panels import (
    STARTS,
    build_panel,
    compose_strip,
    encode_strip,
    liveliness_of,
    load_codec,
    mood_onset,
    partner_direction,
)
from talkies.training.prepare import (
    Pairing,
    PrepareRecipe,
    aligned_start,
    onset_of,
    part_of,
    prepare,
    prepare_share,
)
from talkies.training.shards import LatentCache


def test_given_frames_say_nothing_of_the_face(recipe: CodecRecipe, codec: Path) -> None:
    """What the pipeline can know of a photograph is what training shows."""
    strip = compose_strip(find_tracks(recipe.tracks[0])[0], np.random.default_rng(0), 96, 96)
    made = encode_strip(load_codec(codec), strip, reference=0)
    face = slice(FLOW_CHANNELS, FLOW_CHANNELS + FRAMES * EXPRESSIONS)
    assert made["singles"].shape == (len(STARTS), MOTION_CHANNELS + 6, 6, 6)
    assert not made["singles"][:, face].any() and made["groups"][:, face].any()
    assert not made["singles"][0, :FLOW_CHANNELS].any()  # the reference has not moved


def test_cache(folder: Path, codec: Path) -> None:
    WhisperSpeechEncoder(
        hidden_size=16, num_layers=1, num_heads=2, tapped_layers=(0, 1), head_channels=8, feature_channels=4
    ).save_pretrained(folder / "ears")
    (folder / "captions.txt").write_text("A woman in a red hat waves.\nTwo men are in a kitchen.\n")
    settings = PrepareRecipe(
        tracks=[folder / "tracks"], codec=codec, audio_encoder=folder / "ears", tokenizer=folder / "tokenizer",
        panels=folder / "panels", output=folder / "cache", rounds=2, samples_per_round=4, latent_frames=4,
        people={1: 0.5, 2: 0.5}, captions=folder / "captions.txt",
    )  # fmt: skip
    prepare_share(settings, "0/2", lambda _text: None)
    told: list[Sequence[Performer]] = []

    def describe(parts: Sequence[Performer], _rng: np.random.Generator) -> str:
        told.append(parts)
        return "A woman waves."

    prepare(settings, describe, {3: 8}, lambda _text: None)
    assert told and all(part.about["person"] in range(5) for parts in told for part in parts)
    cache = LatentCache([folder / "cache"])
    assert len(cache) == 8
    for number in range(8):
        sample = cache[number]
        sample.check(cache.context)
        assert sample.latents.shape[:2] == (MOTION_CHANNELS + 6, 4)
        assert sample.audio is not None and torch.isfinite(sample.audio).all()


@pytest.mark.parametrize(("first", "gestures", "in_mood"), [(0, (), False), (12, (3,), False), (24, (), True)])
def test_a_clip_is_told_what_it_shows(
    folder: Path, codec: Path, first: int, gestures: tuple[int, ...], in_mood: bool
) -> None:
    """A gesture from frame 15 to 29, and a mood from the first second on, in clips of 21 frames."""
    track = find_tracks(folder / "tracks")[0]
    panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    part = part_of(panel, first, 21)
    assert (part.gestures, part.in_mood) == (gestures, in_mood)


def test_a_mood_that_the_picture_has_is_not_told(folder: Path, codec: Path) -> None:
    track = find_tracks(folder / "tracks")[0]
    panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    always = replace(panel, about={**panel.about, "style": {"mood": "happy", "mood_onset": -1.0}})
    assert not part_of(always, 24, 21).in_mood
    assert with_mood(always, "sad", [1.0] * 64, np.random.default_rng(0)) is always


@pytest.mark.parametrize("role", ["speaker", "listener"])
@pytest.mark.parametrize("mood", MOODS)
def test_anybody_may_come_to_feel_anything(folder: Path, codec: Path, mood: Mood, role: str) -> None:
    """The plain way: every frame's expressions, as they stand in every cell of the mouth or the eyes."""
    track = find_tracks(folder / "tracks")[0]
    panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    style = {"mood": "neutral", "mood_onset": -1.0}
    panel = replace(panel, about={**panel.about, "style": style, "words": {"role": role, "mood": "neutral"}})
    spread = np.random.default_rng(1).uniform(0.5, 2, panel.groups.shape[1]).tolist()
    felt = with_mood(panel, mood, spread, np.random.default_rng(2))
    part = part_of(felt, 0, 33)
    assert part.in_mood and felt.about["words"]["mood"] == mood and panel.about["words"]["mood"] == "neutral"
    onset = mood_onset(felt.about)
    assert 0 <= onset <= 0.7
    changed = (felt.groups.float() - panel.groups.float()) * torch.tensor(spread)[:, None, None]
    assert not changed[:, :FLOW_CHANNELS].any() and not changed[:, MOTION_CHANNELS - PLACES :].any()
    levels = []
    for group in range(len(panel.groups)):
        for frame in range(FRAMES):
            share = min(max(((1 + group * FRAMES + frame) / 25 - onset) / 0.5, 0), 1)
            for number, name in enumerate(EXPRESSION):
                mouth = name in AT_MOUTH
                place = MOTION_CHANNELS - PLACES + (not mouth)
                where = panel.groups[group, place].float() * spread[place]
                wanted = mood_expression(mood)[number] * share * (0.55 if mouth and role == "speaker" else 1.0) * where
                got = changed[group, FLOW_CHANNELS + frame * EXPRESSIONS + number]
                if wanted.abs().max() > 0.5:
                    levels.append(float((got * wanted).sum() / wanted.square().sum()))
                elif not wanted.any():
                    assert not got.any()
    assert not levels or (max(levels) - min(levels) < 0.02 and 0.6 <= levels[0] <= 1.05)  # three quarters, more or less
    assert levels or mood == "neutral"


def test_what_somebody_felt_in_the_film_is_taken_off(folder: Path, codec: Path) -> None:
    """Happy from the first second on, then surprised instead: the smile goes where it was, brows rise."""
    track = find_tracks(folder / "tracks")[0]
    panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    felt = with_mood(panel, "surprised", [1.0] * panel.groups.shape[1], np.random.default_rng(2))
    changed = felt.groups.float() - panel.groups.float()
    expression = changed[:, FLOW_CHANNELS : FLOW_CHANNELS + FRAMES * EXPRESSIONS].unflatten(1, (FRAMES, EXPRESSIONS))
    names = list(EXPRESSION)
    smile, brows = (expression[:, :, names.index(name)].flatten(0, 1) for name in ("wide", "brow"))
    assert not smile[:25].any() and smile[-1].min() < -0.1 and smile.max() <= 0
    assert brows[-1].max() > 0.5 and felt.about["style"]["mood"] == "surprised"


@pytest.mark.parametrize(("lead", "latest", "start"), [(8, 6, 2), (3, 6, 3), (3, 2, None), (16, 6, 0), (20, 6, None)])
def test_gestures_begin_with_the_clip(folder: Path, codec: Path, lead: int, latest: int, start: int | None) -> None:
    """Its stroke begins in frame 15."""
    track = find_tracks(folder / "tracks")[0]
    panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    assert onset_of(panel) == (3, 15)
    assert aligned_start(panel, {3: lead}, latest) == start
    still = replace(panel, gesture=torch.zeros_like(panel.gesture))
    assert onset_of(still) == (0, 0) and aligned_start(still, {3: lead}, latest) is None


@pytest.mark.parametrize("second", [0.0, 1.0])
def test_gestures_are_paired_with_each_other_and_with_the_quiet(folder: Path, codec: Path, second: float) -> None:
    """Everybody's stroke begins in frame 15; clips of 21 frames may begin in frame 0 to 24."""
    made = [build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, str(k))
            for k, track in enumerate(find_tracks(folder / "tracks"))]  # fmt: skip
    recipe = PrepareRecipe(
        tracks=[], codec=codec, audio_encoder=codec, tokenizer=codec, panels=folder, output=folder,
        latent_frames=6, people={2: 0.5, 3: 0.5}, gestures=1.0, second_gesture=second,
    )  # fmt: skip
    pairing = Pairing(recipe, made, {3: 7}, np.random.default_rng(0))
    counts = set()
    for _ in range(40):
        chosen = pairing.draw()
        assert len({panel.person for panel, _ in chosen}) == len(chosen) > 1
        telling = [start for panel, start in chosen if part_of(panel, FRAMES * start, pairing.frames).gestures]
        assert telling.count(2) >= 1
        counts.add(len(telling))
    assert counts == ({1, 2} if second else {1})  # twice the same person counts once


def test_people_of_a_clip_face_each_other(folder: Path, codec: Path) -> None:
    """Whose partner is to the right stands left; whoever makes a gesture does so above all."""
    track = find_tracks(folder / "tracks")[0]
    made = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    moves, still = made.gesture, torch.zeros_like(made.gesture)
    people = [
        replace(made, person=person, gesture=gesture, about={**made.about, "partner_direction_deg": towards})
        for person, gesture, towards in (("0", moves, 5.0), ("1", still, 12.0), ("2", still, 20.0), ("3", still, -9.0))
    ]
    recipe = PrepareRecipe(
        tracks=[], codec=codec, audio_encoder=codec, tokenizer=codec, panels=folder, output=folder,
        latent_frames=6, people={2: 1.0}, gestures=0.5, second_gesture=0.0,
    )  # fmt: skip
    pairing = Pairing(recipe, people, {3: 7}, np.random.default_rng(0))
    for _ in range(40):
        (left, _), (right, start) = pairing.draw()
        assert not part_of(right, FRAMES * start, pairing.frames).gestures and left.person != "3"
        assert left.person == "0" or partner_direction(left.about) > partner_direction(right.about)


def test_of_two_who_make_gestures_one_looks_left_and_one_right(folder: Path, codec: Path) -> None:
    track = find_tracks(folder / "tracks")[0]
    made = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    people = [
        replace(made, person=str(k), about={**made.about, "partner_direction_deg": towards})
        for k, towards in enumerate((5.0, 12.0, -9.0))
    ]
    recipe = PrepareRecipe(
        tracks=[], codec=codec, audio_encoder=codec, tokenizer=codec, panels=folder, output=folder,
        latent_frames=6, people={2: 1.0}, gestures=1.0, second_gesture=1.0,
    )  # fmt: skip
    pairing = Pairing(recipe, people, {3: 7}, np.random.default_rng(0))
    assert {pairing.draw()[1][0].person for _ in range(20)} == {"2"}


def test_a_mirror_turns_people_the_other_way(tmp_path: Path, codec: Path) -> None:
    draw_track(tmp_path, 0)
    (track,) = find_tracks(tmp_path)
    with np.load(track.path.with_suffix(".npz")) as drawn:
        about = {**json.loads(str(drawn["meta"])), "partner_direction_deg": 7.0}
        labels = {**drawn, "gesture": np.zeros_like(drawn["gesture"]), "meta": np.array(json.dumps(about))}
    np.savez(track.path.with_suffix(".npz"), **labels)
    seen = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        mirrored = compose_strip(track, np.random.default_rng(seed)).mirrored
        panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), rng, 2, "0")
        assert partner_direction(panel.about) == (-7.0 if mirrored else 7.0)
        seen.add(mirrored)
    assert seen == {False, True}


@pytest.mark.parametrize("gesture", [False, True])
def test_people_are_made_calmer_or_livelier(folder: Path, codec: Path, gesture: bool) -> None:
    """All motion by one factor, known afterwards, but not that of lips; a gesture hardly."""
    track = find_tracks(folder / "tracks")[0]
    panel = build_panel(track, load_codec(codec), lambda *_: torch.zeros(1), np.random.default_rng(0), 2, "0")
    panel = replace(panel, about={**panel.about, "style": {"liveliness": 1.2}}, mask=torch.ones_like(panel.mask))
    if not gesture:
        panel = replace(panel, gesture=torch.zeros_like(panel.gesture))
    moving = torch.randn(panel.groups.shape, generator=torch.Generator().manual_seed(0))
    moving[:, MOTION_CHANNELS - PLACES] = 0
    moving[:, MOTION_CHANNELS - PLACES, 2:4, 2:4] = 1  # the mouth
    panel = replace(panel, groups=moving)
    spread, knee = [0.5] * moving.shape[1], 4.0
    flow = expand_flow(moving[:, :FLOW_CHANNELS] * 0.5, knee)
    for seed in range(5):
        made = with_liveliness(panel, spread, knee, np.random.default_rng(seed))
        factor = liveliness_of(made.about) / 1.2
        assert CALMEST <= liveliness_of(made.about) <= LIVELIEST or gesture
        assert not gesture or 1 / 1.3 - 1e-6 <= factor <= 1.3 + 1e-6
        assert torch.equal(made.groups[:, FLOW_CHANNELS:], moving[:, FLOW_CHANNELS:])
        swayed = expand_flow(made.groups[:, :FLOW_CHANNELS] * 0.5, knee)
        outside = torch.ones_like(panel.mask, dtype=torch.bool)
        outside[2:4, 2:4] = False
        torch.testing.assert_close(swayed[..., outside], factor * flow[..., outside], rtol=1e-3, atol=1e-3)


@given(st.integers(0, 10**6))
def test_lips_do_not_count_as_the_head(seed: int) -> None:
    """A head that moves as a whole, whose lips move as well: what is left is the head."""
    rng = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 10), indexing="ij")
    terms = torch.stack([torch.ones(12, 10), rows, columns])
    head = torch.einsum("kct,thw->kchw", torch.randn(3, 8, 3, generator=rng), terms)
    mouth = torch.zeros(12, 10)
    mouth[6:8, 4:6] = 1
    talking = head + 5 * torch.randn(3, 8, 1, 1, generator=rng) * mouth
    torch.testing.assert_close(head_sway(talking, torch.ones(12, 10), mouth), head, atol=1e-2, rtol=1e-2)
