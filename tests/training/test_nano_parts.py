"""Every part of the small model, in small, from drawn performers."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import UMT5EncoderModel

from nano_tracks import JAW, SIDE
from talkies.domain.errors import InputError
from talkies.domain.expression import BLINK, EXPRESSION, EYES_SHUT
from talkies.models.face_painter import MOUTH, SQUARE
from talkies.models.motion_latents import EXPRESSIONS, FLOW_CHANNELS, FRAMES, MOTION_CHANNELS
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from talkies.training.assemble import average_transformers, freeze_codec, seal
from talkies.training.codec import CodecRecipe, CodecTrainer, evaluate
from talkies.training.composite_batches import CompositeBatches, collate
from talkies.training.composites import EYE_MARGIN, Composer, find_tracks
from talkies.training.critic import HEIGHT, WIDTH, Critic, critic_loss, eyes, mouths, painter_loss
from talkies.training.face_basis import vertex_motion
from talkies.training.faces import expressions, face_maps
from talkies.training.panels import (
    compose_strip,
    encode_strip,
    load_codec,
)
from talkies.training.text import TextRecipe, train_text_encoder, train_tokenizer


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
    with pytest.raises(InputError, match="There is no"):
        average_transformers([folders[0], tmp_path / "nowhere"], tmp_path / "wrong")
    with pytest.raises(InputError, match="no mean"):
        average_transformers(folders[:1], tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
