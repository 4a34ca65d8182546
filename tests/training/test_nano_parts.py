"""From drawn performers to a cache that a transformer can train on: every part of the small model, in small."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import UMT5EncoderModel

from talkies.domain.errors import InputError
from talkies.domain.expression import AT_MOUTH, BLINK, EXPRESSION, EYES_SHUT
from talkies.domain.face_units import FACE_UNITS
from talkies.domain.liveliness import CALMEST, LIVELIEST
from talkies.domain.moods import MOODS, Mood, mood_expression
from talkies.domain.performer import Performer
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.models.face_painter import MOUTH, SQUARE
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FRAMES, MOTION_CHANNELS, PLACES, expand_flow
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.training.assemble import average_transformers, freeze_codec, seal
from talkies.training.codec import CodecRecipe, CodecTrainer, evaluate
from talkies.training.composite_batches import CompositeBatches, collate
from talkies.training.composites import EYE_MARGIN, Composer, find_tracks
from talkies.training.critic import HEIGHT, WIDTH, Critic, critic_loss, eyes, mouths, painter_loss
from talkies.training.face_basis import vertex_motion
from talkies.training.faces import expressions, face_maps
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
from talkies.training.text import TextRecipe, train_text_encoder, train_tokenizer

FILMED, SIDE = 45, 96
JAW = FACE_UNITS.index("jawOpen")


def draw_track(folder: Path, person: int) -> None:
    """A disc with eyes and a mouth that opens and shuts, swaying a little."""
    rng = np.random.default_rng(person)
    skin = tuple(int(v) for v in rng.integers(90, 240, 3))
    frames = np.zeros((FILMED, SIDE, SIDE, 4), np.uint8)
    points, units = np.zeros((FILMED, 8, 2), np.float32), np.zeros((FILMED, 52), np.float32)
    skin_x, skin_y = (v.ravel() for v in np.meshgrid(np.arange(-20, 21, 2.0), np.arange(-24, 29, 2.0)))
    mesh = np.full((FILMED, len(skin_x), 3), 10, np.float32)
    for k in range(FILMED):
        x, y = 48 + 3 * np.sin(k / 7 + person), 44.0
        units[k, JAW] = jaw = 0.25 + 0.25 * np.sin(k / 2 + person)
        picture = np.ascontiguousarray(frames[k])
        cv2.rectangle(picture, (int(x) - 30, 80), (int(x) + 30, SIDE), (*skin[::-1], 255), -1)
        cv2.ellipse(picture, (int(x), int(y)), (22, 28), 0, 0, 360, (*skin, 255), -1)
        for eye in (-9, 9):
            cv2.circle(picture, (int(x + eye), int(y - 6)), 3, (20, 20, 20, 255), -1)
        cv2.ellipse(picture, (int(x), int(y + 14)), (8, max(1, int(10 * jaw))), 0, 0, 360, (60, 10, 20, 255), -1)
        frames[k] = picture
        spots = ((9, -6), (-9, -6), (0, 4), (8, 14), (-8, 14), (0, 12), (0, 16), (0, 26))
        points[k] = np.array([(x + dx, y + dy) for dx, dy in spots])
        below = skin_y > 14  # below the lips the skin goes down with the jaw
        mesh[k, :, :2] = np.stack([x + skin_x, y + skin_y + np.where(below, 10 * jaw, 0)], 1)
    low = points.min(1)
    path = folder / f"person-{person:07d}-take-00.npy"
    np.save(path, frames)
    words = {"role": "speaker", "mood": "happy"}
    np.savez(
        path.with_suffix(".npz"),
        face_units=units,
        points=points,
        face_mesh=mesh,
        mouth_box=np.concatenate([points[:, 4] - 4, points[:, 3] + 5], 1),
        face_box=np.concatenate([low - 10, points.max(1) + 6], 1),
        waveform=(rng.standard_normal(FILMED * 640) * 2000).astype(np.int16),
        gesture=np.repeat([0, 3, 0], FILMED // 3).astype(np.uint8),
        meta=np.array(json.dumps({"person": person, "style": {"mood": "happy", "mood_onset": 1.0}, "words": words})),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nano")
    (root / "tracks").mkdir()
    for person in range(5):
        draw_track(root / "tracks", person)
    return root


@pytest.fixture(scope="module")
def recipe(folder: Path) -> CodecRecipe:
    return CodecRecipe(
        tracks=[folder / "tracks"],
        validation=["person-0000004"],
        output=folder / "codec-run",
        latent_channels=MOTION_CHANNELS + 6,
        widths=(8, 8, 8, 16),
        crop=64,
        batch_size=2,
        minutes=0.01,
        basis_draws=16,
        face_draws=24,
    )


@pytest.fixture(scope="module")
def codec(recipe: CodecRecipe, folder: Path) -> Path:
    CodecTrainer(recipe, lambda _text: None).run()
    freeze_codec(recipe, folder / "codec", draws=2)
    return folder / "codec"


def test_expression_follows_the_jaw() -> None:
    units = np.zeros((2, 52), np.float32)
    units[1, JAW] = 0.5
    shut, opened = expressions(units)
    assert not shut.any() and opened[0] > 1


def test_a_mirrored_face_has_mirrored_maps(folder: Path) -> None:
    labels = find_tracks(folder / "tracks")[0].labels
    mirrored = labels["points"] * [-1, 1] + [SIDE, 0]
    plain = face_maps(labels["face_units"], labels["points"], 6, 6)
    other = face_maps(labels["face_units"], mirrored.astype(np.float32), 6, 6)
    assert np.allclose(plain, other[..., ::-1], atol=1e-4)


def test_a_run_goes_on_where_it_stopped(recipe: CodecRecipe, codec: Path) -> None:
    again = CodecTrainer(recipe, lambda _text: None)
    assert again.step > 0 and again.seconds >= recipe.minutes * 60
    loaded = load_codec(codec)
    assert torch.allclose(loaded.basis, again.model.basis, atol=0.01)
    found = evaluate(loaded, again.validation, draws=2)
    assert found["psnr"] > found["psnr_still"] - 0.5


def test_a_frozen_codec_is_gone_on_from(recipe: CodecRecipe, codec: Path, tmp_path: Path) -> None:
    """Latents made by it stay what they are: basis and statistics are kept."""
    again = recipe.model_copy(update={"start": codec, "output": tmp_path / "run"})
    CodecTrainer(again, lambda _text: None).run()
    freeze_codec(again, tmp_path / "codec", like=codec)
    before, after = load_codec(codec), load_codec(tmp_path / "codec")
    assert torch.equal(before.basis, after.basis) and before.config.latents_std == after.config.latents_std
    assert any((a != b).any() for a, b in zip(before.painter.parameters(), after.painter.parameters(), strict=True))


def test_parts_that_do_not_learn_stay_as_they_are(recipe: CodecRecipe, codec: Path, tmp_path: Path) -> None:
    """Eyes alone, with a critic from the first step on; stopped and gone on with."""
    update = {"start": codec, "output": tmp_path / "run", "parts": ("eyes",), "critic_minutes": 1.0}
    for minutes in (0.01, 0.02):
        CodecTrainer(recipe.model_copy(update={**update, "minutes": minutes}), lambda _text: None).run()
    trainer = CodecTrainer(recipe.model_copy(update={**update, "minutes": 0.02}), lambda _text: None)
    before = load_codec(codec).painter
    for name, part in trainer.model.painter.named_children():
        pairs = zip(getattr(before, name).parameters(), part.parameters(), strict=True)
        changed = any(not torch.equal(a, b) for a, b in pairs)
        assert changed == (name == "eyes")


@pytest.mark.parametrize("part", ["mouth", "eyes"])
def test_paint_has_a_price_and_is_left_out_now_and_then(
    part: str, recipe: CodecRecipe, codec: Path, tmp_path: Path
) -> None:
    update = {"start": codec, "output": tmp_path / "run", "parts": (part,), "minutes": 0.0, "uncovered": 1.0}

    def losses(**more: float) -> tuple[CodecTrainer, torch.Tensor]:
        trainer = CodecTrainer(recipe.model_copy(update=update | more), lambda _text: None)
        torch.manual_seed(0)
        batch = next(trainer._batches()).to(trainer.device)
        batch.faces[:, :, BLINK] = EYES_SHUT * batch.faces[:, :, EXPRESSIONS + 1]
        return trainer, trainer._loss(batch)

    free, loss = losses()
    dear, dearer = losses(cover_price=1.0)
    (covered,) = dear._covered.values()
    assert dearer > loss and covered.amin() >= 0 and 0 < covered.amax() <= 1
    loss.backward()
    gradient = getattr(free.model.painter, part).out.weight.grad
    assert gradient[:2].any() and not gradient[2:].any(), "nothing is painted, so nothing is learnt of painting"


def test_blinks_are_shown_as_often_as_asked_and_not_as_references(folder: Path) -> None:
    track = find_tracks(folder / "tracks")[0]
    shut = np.zeros(len(track.frames), bool)
    shut[5] = True
    rng = np.random.default_rng(0)
    shares = []
    for blinks in (0.0, 0.5, 1.0):
        composer = Composer([track], 64, blinks=blinks)
        times = np.array([composer._times(shut, rng) for _ in range(400)])
        shares.append(shut[times[:, :4]].any(1).mean())
        assert shut[times[:, 4]].mean() < 0.1
    assert shares == sorted(shares) and shares[0] < 0.5 and shares[2] == 1


def test_components_improve_on_motion_alone(recipe: CodecRecipe, codec: Path) -> None:
    composer = Composer(find_tracks(recipe.tracks[0]), 64, augment=False)
    batch, model = collate([composer.draw(np.random.default_rng(k)) for k in range(4)], 2.0, 1.0), load_codec(codec)
    with torch.no_grad():
        z = batch.latents(model)
        whole = model.decode_groups(z, batch.reference)[0]
        z[:, MOTION_CHANNELS:] = 0
        motion = model.decode_groups(z, batch.reference)[0]
    assert (whole - batch.group).square().mean() < (motion - batch.group).square().mean()


def test_batches_are_the_same_whoever_composes_them(recipe: CodecRecipe) -> None:
    composer = Composer(find_tracks(recipe.tracks[0]), 64)
    alone, beside = (CompositeBatches(composer, 2, (10.0, 2.0), 5).walk(3, workers) for workers in (0, 2))
    for _ in range(3):
        one, other = next(alone), next(beside)
        for part in fields(one):
            assert torch.equal(getattr(one, part.name), getattr(other, part.name)), part.name


def test_skin_moves_with_the_jaw_before_anything_is_trained(recipe: CodecRecipe, codec: Path) -> None:
    """What the flow fields leave of the vertices' motion on an unseen person, below the lips."""
    model, moved, left = load_codec(codec), [], []
    composer = Composer(find_tracks(recipe.tracks[0])[4:], 96, augment=False)
    for seed in range(8):
        for inputs, cells, moves in vertex_motion(model, composer.draw(np.random.default_rng(seed))):
            flow = torch.einsum("k,kcyx->cyx", inputs, model.painter.basis.float()).flatten(1)[:, cells].T
            chin = cells // SQUARE > MOUTH[1] + 12
            moved.append(moves[chin].norm(dim=1).mean())
            left.append((moves - flow)[chin].norm(dim=1).mean())
    assert torch.stack(left).mean() < 0.5 * torch.stack(moved).mean()


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


def test_what_a_face_keeps_is_told_relative_to_the_reference(folder: Path, codec: Path) -> None:
    """Somebody who smiles all the time, as in the picture, does nothing; lips are told as they are."""
    strip = compose_strip(find_tracks(folder / "tracks")[0], np.random.default_rng(0), 96, 96)
    names = list(EXPRESSION)
    smile, lips = names.index("wide"), names.index("open")
    strip.units[:, smile] = 2.0
    strip.faces[:, smile] = 2.0 * strip.faces[:, EXPRESSIONS]
    groups = encode_strip(load_codec(codec), strip, reference=0)["groups"].float()
    channels = groups[:, FLOW_CHANNELS : FLOW_CHANNELS + FRAMES * EXPRESSIONS].unflatten(1, (FRAMES, EXPRESSIONS))
    assert channels[:, :, smile].abs().max() < 1e-2 < channels[:, :, lips].abs().max()


def test_a_critic_learns_to_tell_mouths_apart() -> None:
    torch.manual_seed(0)
    critic, filmed = Critic(8), torch.rand(8, 3, HEIGHT, WIDTH)
    painted = filmed.mean((2, 3), keepdim=True).expand_as(filmed).clone()
    optimizer = torch.optim.AdamW(critic.parameters(), 2e-3)
    before = critic_loss(critic, filmed, painted).item()
    for _ in range(60):
        optimizer.zero_grad()
        critic_loss(critic, filmed, painted).backward()
        optimizer.step()
    assert critic_loss(critic, filmed, painted).item() < 0.5 * before
    assert painter_loss(critic, filmed, filmed).item() < painter_loss(critic, filmed, painted).item()


def test_mouths_are_cut_out_at_one_size() -> None:
    """A face twice as large, drawn twice as large, gives the same picture to the critic."""
    picture = torch.rand(1, 1, 3, 24, 24)
    small = torch.nn.functional.interpolate(picture[0], (96, 96), mode="bilinear")[None]
    large = torch.nn.functional.interpolate(picture[0], (192, 192), mode="bilinear")[None]
    points = torch.tensor([[[[38.0, 40], [58, 40], [48, 50], [42, 66], [54, 66]]]])
    box = torch.tensor([[[42.0, 60, 54, 72]]])
    one, two = mouths(small, box, points), mouths(large, box * 2, points * 2)
    assert one.shape == (1, 3, HEIGHT, WIDTH) and (one - two).abs().mean() < 0.01


def test_eyes_are_cut_out_one_by_one() -> None:
    picture = torch.zeros(1, 1, 3, 96, 96)
    picture[..., 36:44, 34:42] = 1.0  # the left one is bright
    points = torch.tensor([[[[38.0, 40], [58, 40], [48, 50], [42, 66], [54, 66]]]])
    reach = EYE_MARGIN * 26
    left, right = eyes(picture, torch.tensor([[[38 - reach, 40 - reach, 58 + reach, 40 + reach]]]), points)
    assert left.shape == (3, HEIGHT, WIDTH) and left[:, HEIGHT // 2, WIDTH // 2].min() == 1 and right.max() < 1e-3


def test_a_text_encoder_learns_to_read(tmp_path: Path) -> None:
    texts = {"the man on the left nods.": [1, 0], "the man on the right nods.": [0, 1], "two men talk.": [0, 0]}
    train_tokenizer([*texts] * 20, vocab_size=300).save_pretrained(tmp_path / "tokenizer")
    recipe = TextRecipe(
        tracks=[], tokenizer=tmp_path / "tokenizer", output=tmp_path / "words", length=24, steps=120, batch_size=16,
        config={"vocab_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2},
    )  # fmt: skip

    def draw(rng: np.random.Generator) -> tuple[str, np.ndarray]:
        text = list(texts)[int(rng.integers(3))]
        return text, np.array([*texts[text], np.nan], np.float32)

    encoder, share = train_text_encoder(recipe, draw, lambda _text: None)
    assert share > 0.95
    again = UMT5EncoderModel.from_pretrained(tmp_path / "words")
    assert torch.equal(again.shared.weight, encoder.shared.weight)


def test_a_sealed_folder_names_no_machine(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"_name_or_path": "somewhere", "coring": 0.1}')
    seal(tmp_path)
    text = (tmp_path / "vae" / "config.json").read_text()
    assert "somewhere" not in text and "coring" in text
    digest, name = (tmp_path / "SHA256SUMS").read_text().split()
    assert name == "vae/config.json" and digest == hashlib.sha256(text.encode()).hexdigest()


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


def test_the_mean_of_two_transformers(tmp_path: Path) -> None:
    sizes = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "num_layers": 1,
        "ffn_dim": 16,
        "text_dim": 8,
        "freq_dim": 8,
    }
    networks = [MultiTalkTransformer3DModel(in_channels=4 * k, out_channels=4, **sizes) for k in (1, 1, 2)]
    folders = [tmp_path / name for name in ("one", "two", "other")]
    for network, folder in zip(networks, folders, strict=True):
        network.to(torch.bfloat16).save_pretrained(folder)
    average_transformers(folders[:2], tmp_path / "mean")
    mean = MultiTalkTransformer3DModel.from_pretrained(tmp_path / "mean", torch_dtype=torch.bfloat16)
    for name, weights in mean.state_dict().items():
        a, b = (network.state_dict()[name].float() for network in networks[:2])
        torch.testing.assert_close(weights.float(), (a + b) / 2, rtol=1e-2, atol=1e-3)
    assert not any("_name_or_path" in path.read_text() for path in (tmp_path / "mean").glob("*.json"))
    with pytest.raises(InputError, match="another in_channels"):
        average_transformers([folders[0], folders[2]], tmp_path / "wrong")
    with pytest.raises(InputError, match="no mean"):
        average_transformers(folders[:1], tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
