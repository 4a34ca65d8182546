"""Trains `AutoencoderReference` on composites of single performers (recipe stage 0).

    talkies nano codec runs/recipes/codec.yaml

The latents come first, in seconds: a flow, the faces' expressions, and a basis of principal components (`fit_basis`).
Then, in minutes, the flow fields by which faces move (`face_basis`). What is trained is the painter of faces. Loss:
weighted Charbonnier on pixels and on their gradients, the mouth and the face counting more; the squared error of what
is read of the reference's face. Latents are noised, as a generator's would be.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Module

from talkies.domain.errors import InputError
from talkies.domain.expression import BLINK, EYES_SHUT
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import CELL, FLOW_CHANNELS, FLOW_UNIT, FRAMES, MOTION_CHANNELS, PLACES
from talkies.runtime.machine import autocast_bf16
from talkies.training.composite_batches import Batch, CompositeBatches, collate
from talkies.training.composites import Composer, Track, find_tracks
from talkies.training.critic import Critic, critic_loss, eyes, mouths, painter_loss
from talkies.training.face_basis import fit_face_basis
from talkies.training.muon import Muon
from talkies.training.optim import load_state_tensors, set_rates, state_tensors

#: What critics look at, by the name of the painter's part and of the boxes around it.
_SEEN = {"mouth": mouths, "eyes": eyes}


class CodecRecipe(BaseModel):
    """Everything that decides a codec run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: list[Path]
    validation: list[str] = Field(description="Track names that begin so are held out (whole people).")
    output: Path
    latent_channels: int = MOTION_CHANNELS + 22
    widths: tuple[int, int, int, int] = (32, 64, 96, 160)
    eye_widths: tuple[int, int, int, int] = (24, 48, 64, 96)
    parts: tuple[Literal["reader", "mouth", "eyes"], ...] = Field(
        ("reader", "mouth", "eyes"), description="Parts of the painter that learn; the others stay as they are."
    )
    crop: int = 96
    batch_size: int = 8
    learning_rate: float = 1e-3
    muon_rate: float = Field(1.5e-3, description="Of Muon, which takes the kernels but for the output's.")
    weight_decay: float = 0.01
    warmup_steps: int = 100
    decay_minutes: float = Field(0.0, description="Linear decay to zero over the last minutes of the run.")
    minutes: float = 60.0
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = Field(0, ge=0, description="Processes that compose; 0: the one that trains.")
    mouth_weight: float = 10.0
    face_weight: float = 2.0
    eye_weight: float = 6.0
    blinks: float = Field(0.2, description="Share of draws in which eyes are shut in a frame.")
    uncovered: float = Field(0.0, description="Share of draws in which faces are moved alone, without paint over them.")
    cover_price: float = Field(
        0.0, description="Error that a pixel of paint, over an eye that shuts or at the mouth, must save."
    )
    reader_weight: float = Field(0.02, description="Of the squared error of what is read of the reference's face.")
    start: Path | None = Field(None, description="A frozen codec to go on from: its basis is kept, so latents are too.")
    face_draws: int = Field(1200, description="Composites from which the flow fields of faces are fitted.")
    told_truth: float = Field(0.3, description="Share of draws that are told what the reference's face does.")
    basis_draws: int = Field(960, description="Composites from which the basis of the latents is computed.")
    without_components: float = Field(0.5, description="Share of draws without components; else faded at random.")
    latent_noise: float = Field(0.2, description="Most noise on latents in training, in their own spread.")
    critic_minutes: float = Field(0.0, description="So many last minutes critics of mouths and eyes have their say.")
    critic_weight: float = Field(0.3, description="Of their gradients, relative to that of the pixels' error.")
    critic_rate: float = 4e-4
    ema: float = 0.999
    seed: int = 0
    report_minutes: float = 3.0


def reconstruction_loss(decoded: Tensor, batch: Batch, softness: float = 0.05) -> Tensor:
    """Weighted Charbonnier loss of pixels and, by half, of their differences to the next pixel.

    Plain L1 does not start: its optimum for a pixel that mostly stays is to stay, and its gradient says nothing of how
    far the others are off.
    """
    weight = batch.weight
    error = decoded - batch.group

    def soft(difference: Tensor) -> Tensor:
        return (difference.pow(2) + softness**2).sqrt() - softness

    across = soft(error[..., 1:] - error[..., :-1]) * weight[..., 1:]
    down = soft(error[..., 1:, :] - error[..., :-1, :]) * weight[..., 1:, :]
    return ((soft(error) * weight).sum() + 0.5 * (across.sum() + down.sum())) / (weight.sum() * 3)


@torch.no_grad()
def fit_basis(model: AutoencoderReference, composer: Composer, draws: int, rng: np.random.Generator) -> None:
    """Fills `model.basis` with the principal components of what is left after warping, at faces and lips above all."""
    size = model.basis.shape[1]
    scatter = torch.zeros(size, size)
    for _ in range(draws // 8):
        batch = collate([composer.draw(rng) for _ in range(8)], 10.0, 2.0)
        coarse = F.avg_pool2d(batch.flow.flatten(1, 2) / FLOW_UNIT, CELL)
        group, reference = batch.small()
        left = F.pixel_unshuffle((group - model.warped(coarse, reference)).flatten(1, 2), CELL)
        weight = batch.cell_weight().flatten()  # [8*h*w]
        blocks = left.permute(0, 2, 3, 1).flatten(0, 2)[weight > 1.5] * weight[weight > 1.5, None].sqrt()
        scatter += blocks.T @ blocks
    model.basis.copy_(torch.linalg.eigh(scatter).eigenvectors.flip(1).T[: len(model.basis)])


class CodecTrainer:
    """The loop: resumes by itself from `output`, stops after `minutes` of computing."""

    def __init__(self, recipe: CodecRecipe, say: Callable[[str], None] = print) -> None:
        self.recipe, self.say = recipe, say
        torch.set_num_threads(recipe.threads)
        cv2.setNumThreads(recipe.threads)
        torch.manual_seed(recipe.seed)
        if recipe.device == "cuda" and not torch.cuda.is_available():
            raise InputError("`device` is cuda, but there is no CUDA device here.", "Use `auto` or `cpu`.")
        gpu = recipe.device != "cpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if gpu else "cpu")
        tracks = [track for folder in recipe.tracks for track in find_tracks(folder)]
        held_out = tuple(recipe.validation)
        self.training = [t for t in tracks if not t.path.name.startswith(held_out)]
        self.validation = [t for t in tracks if t.path.name.startswith(held_out)]
        self.model = AutoencoderReference(
            latent_channels=recipe.latent_channels, widths=recipe.widths, eye_widths=recipe.eye_widths
        )
        self._begin()
        for name, part in self.model.painter.named_children():
            part.requires_grad_(name in recipe.parts)
        self.model = self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parameters = {k: v for k, v in self.model.named_parameters() if v.requires_grad}
        self.ema = {k: v.detach().clone() for k, v in self.parameters.items()}
        kernels = {k: v for k, v in self.parameters.items() if v.ndim == 4 and "out.weight" not in k}
        rest = [v for k, v in self.parameters.items() if k not in kernels]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(kernels.values(), recipe.muon_rate),
            torch.optim.AdamW(rest, recipe.learning_rate, (0.9, 0.98), weight_decay=recipe.weight_decay, foreach=True),
        ]
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]
        self.critics = {part: Critic().to(self.device) for part in _SEEN}
        weights = [weight for critic in self.critics.values() for weight in critic.parameters()]
        self.critic_optimizer = torch.optim.AdamW(weights, recipe.critic_rate, (0.5, 0.98))
        self.step, self.seconds = 0, 0.0
        self._covered: dict[str, Tensor] = {}  # paint that counts in this step, by part: [N, H, W] in [0, 1]
        for part in set(_SEEN) & set(recipe.parts):
            getattr(self.model.painter, part).register_forward_hook(partial(self._uncover, part))
        self._resume()

    def run(self) -> None:
        """Trains, reports and checkpoints until the minutes are used up."""
        recipe = self.recipe
        last_report, smooth = self.seconds, None
        batches = self._batches()
        self.say(f"{len(self.training)} tracks to train on, {len(self.validation)} held out")
        while self.seconds < recipe.minutes * 60:
            began = time.perf_counter()
            self._set_learning_rate()
            loss = self._train_step(next(batches).to(self.device))
            smooth = loss if smooth is None else smooth.lerp(loss, 0.02)
            if self.step % 20 == 0:
                float(smooth)  # computing on a GPU is ahead of the clock
            self.seconds += time.perf_counter() - began
            self.step += 1
            if self.seconds - last_report > recipe.report_minutes * 60 or self.seconds >= recipe.minutes * 60:
                last_report = self.seconds
                self._save()
                self._report(smooth)

    def _batches(self) -> Iterator[Batch]:
        """From the next step on; batch k is the same whoever composes it."""
        recipe = self.recipe
        drawn = CompositeBatches(
            Composer(self.training, recipe.crop, blinks=recipe.blinks),
            recipe.batch_size,
            (recipe.mouth_weight, recipe.face_weight, recipe.eye_weight),
            recipe.seed,
        )
        return drawn.walk(self.step, recipe.workers)

    def _train_step(self, batch: Batch) -> Tensor:
        loss = self._loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        keep = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.values()), list(self.parameters.values()), 1 - keep)
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        recipe = self.recipe
        with torch.no_grad():
            z = batch.latents(self.model)
            strength, kept, without = torch.rand(3, len(z), 1, 1, 1, device=z.device)
            strength = recipe.latent_noise * strength
            kept = kept * (without > recipe.without_components)
            motion, rest = z[:, :MOTION_CHANNELS], z[:, MOTION_CHANNELS:]
            flow, face = motion[:, :FLOW_CHANNELS], motion[:, FLOW_CHANNELS:]
            flow = flow + torch.randn_like(flow) * strength * flow.std() * 0.5
            face = face + torch.randn_like(face) * strength * 0.3 * (face[:, -PLACES:].amax(1, keepdim=True) > 0)
            rest = rest * kept + torch.randn_like(rest) * strength * kept * rest.std()
        truth = batch.expression[:, 4]
        with autocast_bf16(self.device):
            seen = self.model.read_reference(batch.reference, batch.points, *z.shape[-2:])[:, 0]
            told = torch.where(torch.rand(len(truth), 1, device=z.device) < recipe.told_truth, truth, seen.detach())
            z = torch.cat([flow, face, rest], 1)
            decoded, _ = self.model.decode_groups(z, batch.reference, batch.points, told[:, None])
        misread = (seen - truth).square().mean()
        counted = {"mouth": recipe.mouth_weight, "eyes": recipe.eye_weight}
        covered = sum(paint.sum() * counted[part] for part, paint in self._covered.items())
        price = recipe.cover_price * covered / batch.weight.sum()
        loss = reconstruction_loss(decoded, batch) + recipe.reader_weight * misread + price
        if self.seconds < (recipe.minutes - recipe.critic_minutes) * 60:
            return loss
        return loss + self._criticism(decoded, batch, loss)

    def _uncover(
        self, part: str, painter: Module, given: tuple[Tensor, ...], drawn: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Paint looks like skin on the stage's people only, and is softer than skin; what is moved keeps lips, lashes
        and skin of whoever it is. So paint has a price, and now and then there is none."""
        flow, paint = drawn
        told = given[3].float()
        shut = told[:, BLINK].abs().clamp(max=EYES_SHUT) / EYES_SHUT
        counted = shut if part == "eyes" else torch.ones_like(shut)
        self._covered[part] = paint[:, 3] * counted[:, None, None]
        kept = torch.rand(len(paint) // FRAMES, 1, 1, 1, device=paint.device) >= self.recipe.uncovered
        return flow, paint * kept.repeat_interleave(FRAMES, 0)

    def _criticism(self, decoded: Tensor, batch: Batch, loss: Tensor) -> Tensor:
        """Teaches the critics, then asks them; the gradient of each on the picture is brought to a share of the
        pixels'."""
        of_pixels = torch.autograd.grad(loss, decoded, retain_graph=True)[0].norm()
        total = loss.new_zeros(())
        for part, critic in self.critics.items():
            if part not in self.recipe.parts:
                continue
            boxes = getattr(batch, part)
            filmed, painted = (_SEEN[part](frames, boxes, batch.points) for frames in (batch.group, decoded.float()))
            with autocast_bf16(self.device):
                taught = critic_loss(critic, filmed, painted)
            self.critic_optimizer.zero_grad()
            taught.backward()
            self.critic_optimizer.step()
            critic.requires_grad_(False)
            with autocast_bf16(self.device):
                held = painter_loss(critic, filmed, painted)
            critic.requires_grad_(True)
            own = torch.autograd.grad(held, decoded, retain_graph=True)[0].norm()
            total = total + held * (self.recipe.critic_weight * of_pixels / own.clamp_min(1e-8)).clamp(max=1e3)
        return total

    def _set_learning_rate(self) -> None:
        recipe = self.recipe
        factor = min(1.0, (self.step + 1) / recipe.warmup_steps)
        if recipe.decay_minutes:
            factor *= float(np.clip((recipe.minutes * 60 - self.seconds) / (recipe.decay_minutes * 60), 0.02, 1))
        set_rates(self.optimizers, factor)

    def evaluation_model(self) -> AutoencoderReference:
        """A copy with the averaged weights."""
        model = AutoencoderReference.from_config(self.model.config)
        model.load_state_dict({**self.model.state_dict(), **self.ema})
        return model.to(self.device, memory_format=torch.channels_last).eval()

    def _report(self, loss: Tensor | None) -> None:
        row = {
            "minutes": round(self.seconds / 60, 1), "step": self.step, "samples": self.step * self.recipe.batch_size,
            "loss": round(float(loss or 0.0), 4), **evaluate(self.evaluation_model(), self.validation),
        }  # fmt: skip
        self.say(json.dumps(row))
        with (self.recipe.output / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        recipe = self.recipe
        recipe.output.mkdir(parents=True, exist_ok=True)
        state = {k: v.detach().contiguous() for k, v in self.parameters.items()}
        state |= {f"ema.{k}": v.contiguous() for k, v in self.ema.items()}
        state |= {k: v.detach().contiguous() for k, v in self.model.named_parameters() if not v.requires_grad}
        optimizer = state_tensors(self.optimizers, self.parameters)
        state |= {f"optimizer.{k}": v.contiguous() for k, v in optimizer.items()}
        for part, critic in self.critics.items():
            state |= {f"critic.{part}.{k}": v.contiguous() for k, v in critic.state_dict().items()}
        unfinished = recipe.output / "state.safetensors.part"
        save_file(state, unfinished, {"step": str(self.step), "seconds": str(self.seconds)})
        unfinished.rename(recipe.output / "state.safetensors")

    def _begin(self) -> None:
        """The latents' basis and the faces' flow fields: computed, or those of an earlier codec where they fit. A run
        that is gone on with brings its own."""
        if (self.recipe.output / "state.safetensors").exists():
            return
        composer, start = Composer(self.training, self.recipe.crop), self.recipe.start
        if start is not None:
            known = load_file(start / "diffusion_pytorch_model.safetensors")
            own = self.model.state_dict()
            fitting = {k: v.float() for k, v in known.items() if k in own and v.shape == own[k].shape}
            self.model.load_state_dict(own | fitting)
        else:
            fit_basis(self.model, composer, self.recipe.basis_draws, np.random.default_rng(self.recipe.seed))
        if not self.model.painter.basis.any():
            self.say("fitting the flow fields of faces")
            fit_face_basis(self.model, composer, self.recipe.face_draws, np.random.default_rng(self.recipe.seed))

    def _resume(self) -> None:
        path = self.recipe.output / "state.safetensors"
        if not path.exists():
            return
        state = load_file(path)
        with safe_open(path, "pt") as file:
            about = file.metadata()
        self.step, self.seconds = int(about["step"]), float(about["seconds"])
        with torch.no_grad():
            for name, frozen in self.model.named_parameters():
                if not frozen.requires_grad:
                    frozen.copy_(state[name])
            for name, parameter in self.parameters.items():
                parameter.copy_(state[name])
                self.ema[name].copy_(state[f"ema.{name}"])
        for part, critic in self.critics.items():  # their optimiser's moments come back within a few steps
            name = f"critic.{part}."
            critic.load_state_dict({k.removeprefix(name): v for k, v in state.items() if k.startswith(name)})
        optimizer = {k[10:]: v for k, v in state.items() if k.startswith("optimizer.")}
        if optimizer:  # else a warm start
            load_state_tensors(self.optimizers, self.parameters, optimizer)


@torch.no_grad()
def evaluate(model: AutoencoderReference, tracks: list[Track], draws: int = 48) -> dict[str, float]:
    """On plain composites: PSNR in dB everywhere, in mouth boxes, and around eyes that have opened or shut since the
    reference; of decoding with and without components and of the reference shown as a still."""
    composer, rng = Composer(tracks, 96, augment=False), np.random.default_rng(1)
    device = model.basis.device
    names, parts = ("psnr", "psnr_motion", "psnr_still"), ("", "_mouth", "_lids")
    sums, pixels = np.zeros((len(names), len(parts))), np.zeros(len(parts))
    for _ in range(draws):
        batch = collate([composer.draw(rng)], 2.0, 1.0).to(device)
        with autocast_bf16(device):
            z = batch.latents(model)
            motion = torch.cat([z[:, :MOTION_CHANNELS], torch.zeros_like(z[:, MOTION_CHANNELS:])], 1)
            shown = [model.decode_groups(part, batch.reference, batch.points)[0].clamp(-1, 1) for part in (z, motion)]
        inside = [torch.ones_like(batch.weight), (batch.weight > 1).float(), _moved_lids(batch)]
        for row, picture in enumerate((*shown, batch.reference[:, None].expand_as(shown[0]))):
            error = ((picture - batch.group) / 2).pow(2).mean(2, keepdim=True)
            sums[row] += [float((error * part).sum()) for part in inside]
        pixels += [float(part.sum()) for part in inside]
    return {
        f"{name}{part}": round(float(-10 * np.log10(row[k] / pixels[k])), 2)
        for k, part in enumerate(parts)
        for name, row in zip(names, sums, strict=True)
        if pixels[k]  # in few draws nobody may have blinked
    }


def _moved_lids(batch: Batch) -> Tensor:
    """1 around eyes that have opened or shut by half since the reference, `[N, 4, 1, S, S]`."""
    inside = torch.zeros_like(batch.weight)
    for n, k in (batch.expression[:, :4, BLINK].abs() > 2.2).nonzero().tolist():
        left, top, right, bottom = batch.eyes[n, k].int().clamp_min(0).tolist()
        inside[n, k, :, top:bottom, left:right] = 1
    return inside
