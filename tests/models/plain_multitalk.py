"""MultiTalk's transformer as its description reads, one sample, one head, one frame at a time: slow and obvious.

Reads the weights of a `MultiTalkTransformer3DModel` by name and shares no other code with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class PlainResult:
    sample: torch.Tensor  # [B, out, T, H, W]
    maps: list[torch.Tensor]  # per sample and block, [N+1, S]; none for one person
    labels: list[torch.Tensor]  # per sample and block, [S]


def plain_forward(model, x, t, text, image=None, audio=None, masks=None) -> PlainResult:
    """The same arguments as the model's forward."""
    plain = _Plain(model)
    samples = [plain.sample(x[b], t[b], text[b], pick(image, b), pick(audio, b), pick(masks, b)) for b in range(len(x))]
    return PlainResult(torch.stack(samples), plain.maps, plain.labels)


def pick(tensor: torch.Tensor | None, index: int) -> torch.Tensor | None:
    return None if tensor is None else tensor[index]


def softmax_attention(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return ((query @ key.T) / math.sqrt(query.shape[-1])).softmax(dim=-1)


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """[S, D] by angles [S, D/2], pair by pair."""
    out = torch.empty_like(x)
    for pair in range(x.shape[1] // 2):
        a, b, angle = x[:, 2 * pair], x[:, 2 * pair + 1], angles[:, pair]
        out[:, 2 * pair] = a * angle.cos() - b * angle.sin()
        out[:, 2 * pair + 1] = a * angle.sin() + b * angle.cos()
    return out


def frequencies(dim: int) -> torch.Tensor:
    return torch.tensor([10000.0 ** (-2 * i / dim) for i in range(dim // 2)], dtype=torch.float64)


def nearest(mask: torch.Tensor, rows: int, columns: int) -> list[bool]:
    """[H, W] -> rows * columns."""
    height, width = mask.shape
    return [bool(mask[r * height // rows, c * width // columns] > 0) for r in range(rows) for c in range(columns)]


def audio_slots(windows: torch.Tensor, frame: int, stride: int) -> torch.Tensor:
    """The slots of one latent frame, flattened, from [F, window, S, C]."""
    if frame == 0:
        return windows[0].flatten()
    group = [windows[1 + stride * (frame - 1) + i] for i in range(stride)]
    middle = windows.shape[1] // 2
    if stride == 1:
        return group[0].flatten()
    slots = [group[0][i] for i in range(middle + 1)]
    slots += [between[middle] for between in group[1:-1]]
    slots += [group[-1][i] for i in range(middle, windows.shape[1])]
    return torch.stack(slots).flatten()


def person_map(query: torch.Tensor, key: torch.Tensor, members: list[list[bool]]) -> torch.Tensor:
    """[H, S, D], [H, R, D] -> [N+1, S]."""
    weights = torch.stack([softmax_attention(q, k) for q, k in zip(query, key, strict=True)])  # [H, S, R]
    rows = []
    for mask in members:
        inside = torch.tensor(mask)
        if all(mask):  # all of a softmax
            rows.append(torch.full((query.shape[1],), 1 / len(mask)))
            continue
        rows.append(weights[:, :, inside].sum(-1).mean(0) / max(1, sum(mask)))
    return torch.stack(rows)


def token_labels(scores: torch.Tensor, width: float = 4.0, stride: float = 20.0) -> torch.Tensor:
    """[N+1, S] -> [S]. The background lies midway from the first person's end, `width`, to the second's start."""
    labels = []
    for token in range(scores.shape[1]):
        owner = int(scores[:, token].argmax())
        if owner == len(scores) - 1:
            labels.append(width + (stride - width) / 2)
            continue
        row = scores[owner]
        share = (row[token] - row.min()) / (row.max() - row.min() + 1e-8)
        labels.append(stride * owner + width * float(share))
    return torch.tensor(labels)


class _Plain:
    def __init__(self, model) -> None:
        self.config = model.config
        self.weights = model.state_dict()
        self.maps: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def layer_norm(self, x: torch.Tensor, eps: float, name: str | None = None) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return normed if name is None else normed * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def rms_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.config.eps).sqrt() * self.weights[f"{name}.weight"]

    def heads(self, x: torch.Tensor) -> torch.Tensor:
        """[S, H D] -> [H, S, D]."""
        width = self.config.attention_head_dim
        return torch.stack([x[:, h * width : (h + 1) * width] for h in range(self.config.num_attention_heads)])

    def sample(self, x, t, text, image, audio, masks) -> torch.Tensor:
        config = self.config
        patch = config.patch_size
        grid = [size // p for size, p in zip(x.shape[1:], patch, strict=True)]
        tokens = F.conv3d(
            x[None], self.weights["patch_embedding.weight"], self.weights["patch_embedding.bias"], stride=patch
        )[0].flatten(1)
        tokens = tokens.T  # [S, dim]
        embedder = "condition_embedder."
        angle = t * torch.exp(-math.log(10000) * torch.arange(config.freq_dim // 2) / (config.freq_dim // 2))
        temb = self.linear(torch.cat([angle.cos(), angle.sin()]), embedder + "time_embedder.linear_1")
        temb = self.linear(F.silu(temb), embedder + "time_embedder.linear_2")
        modulation = self.linear(F.silu(temb), embedder + "time_proj").view(6, -1)
        text = F.gelu(self.linear(text, embedder + "text_embedder.linear_1"), approximate="tanh")
        text = self.linear(text, embedder + "text_embedder.linear_2")
        if image is not None:
            image = self.layer_norm(image, 1e-5, embedder + "image_embedder.norm1")
            image = F.gelu(self.linear(image, embedder + "image_embedder.ff.net.0.proj"))
            image = self.linear(image, embedder + "image_embedder.ff.net.2")
            image = self.layer_norm(image, 1e-5, embedder + "image_embedder.norm2")
        speech = None if audio is None else self.audio_tokens(audio, x.shape[1])
        members = None
        if audio is not None and len(audio) > 1 and config.audio_injection == "l-rope":
            members = [nearest(mask, grid[1], grid[2]) for mask in masks]
        for index in range(config.num_layers):
            tokens = self.block(f"blocks.{index}.", tokens, modulation, text, image, speech, members, grid)
        shift, scale = self.weights["scale_shift_table"][0] + temb
        tokens = self.linear(self.layer_norm(tokens, config.eps) * (1 + scale) + shift, "proj_out")
        return self.unpatchify(tokens, grid, patch)

    def unpatchify(self, tokens: torch.Tensor, grid, patch) -> torch.Tensor:
        out = torch.empty(self.config.out_channels, *(g * p for g, p in zip(grid, patch, strict=True)))
        token = 0
        for f in range(grid[0]):
            for r in range(grid[1]):
                for c in range(grid[2]):
                    piece = tokens[token].view(*patch, -1).permute(3, 0, 1, 2)
                    start = (f * patch[0], r * patch[1], c * patch[2])
                    area = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
                    out[(slice(None), *area)] = piece
                    token += 1
        return out

    def audio_tokens(self, audio: torch.Tensor, latent_frames: int) -> list[list[torch.Tensor]]:
        """[latent frame][person] -> [A, C]."""
        result = []
        for frame in range(latent_frames):
            people = []
            for windows in audio:
                name = "audio_projector.proj_first" if frame == 0 else "audio_projector.proj_later"
                slots = audio_slots(windows, frame, self.config.vae_scale_factor_temporal)
                hidden = F.relu(self.linear(slots, name))
                hidden = F.relu(self.linear(hidden, "audio_projector.proj_hidden"))
                out = self.linear(hidden, "audio_projector.proj_out").view(self.config.audio_context_tokens, -1)
                people.append(self.layer_norm(out, 1e-5, "audio_projector.norm"))
            result.append(people)
        return result

    def video_angles(self, grid) -> torch.Tensor:
        """[S, D/2]."""
        dim = self.config.attention_head_dim
        side = 2 * (dim // 6)
        parts = [frequencies(dim - 2 * side), frequencies(side), frequencies(side)]
        positions = [(f, r, c) for f in range(grid[0]) for r in range(grid[1]) for c in range(grid[2])]
        rows = [torch.cat([p * part for p, part in zip(place, parts, strict=True)]) for place in positions]
        return torch.stack(rows).float()

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """[H, S, D] -> [S, H D]."""
        return torch.cat([softmax_attention(q, k) @ v for q, k, v in zip(query, key, value, strict=True)], dim=-1)

    def block(self, name, tokens, modulation, text, image, speech, members, grid) -> torch.Tensor:
        shift, scale, gate, c_shift, c_scale, c_gate = self.weights[name + "scale_shift_table"][0] + modulation
        eps = self.config.eps
        x = self.layer_norm(tokens, eps) * (1 + scale) + shift
        query = self.heads(self.rms_norm(self.linear(x, name + "attn1.to_q"), name + "attn1.norm_q"))
        key = self.heads(self.rms_norm(self.linear(x, name + "attn1.to_k"), name + "attn1.norm_k"))
        value = self.heads(self.linear(x, name + "attn1.to_v"))
        angles = self.video_angles(grid)
        query, key = (torch.stack([rotate(head, angles) for head in each]) for each in (query, key))
        labels = None
        if members is not None:
            self.maps.append(person_map(query, key[:, : grid[1] * grid[2]], members))
            labels = token_labels(self.maps[-1], self.config.person_label_range, self.config.person_label_stride)
            self.labels.append(labels)
        tokens = tokens + self.linear(self.attend(query, key, value), name + "attn1.to_out.0") * gate

        x = self.layer_norm(tokens, eps, name + "norm2") if self.config.cross_attn_norm else tokens
        query = self.heads(self.rms_norm(self.linear(x, name + "attn2.to_q"), name + "attn2.norm_q"))
        key = self.heads(self.rms_norm(self.linear(text, name + "attn2.to_k"), name + "attn2.norm_k"))
        attended = self.attend(query, key, self.heads(self.linear(text, name + "attn2.to_v")))
        if image is not None:
            key = self.rms_norm(self.linear(image, name + "attn2.add_k_proj"), name + "attn2.norm_added_k")
            value = self.linear(image, name + "attn2.add_v_proj")
            attended = attended + self.attend(query, self.heads(key), self.heads(value))
        tokens = tokens + self.linear(attended, name + "attn2.to_out.0")

        if speech is not None:
            tokens = tokens + self.audio_attention(name, tokens, speech, labels, grid)

        x = self.layer_norm(tokens, eps) * (1 + c_scale) + c_shift
        x = F.gelu(self.linear(x, name + "ffn.net.0.proj"), approximate="tanh")
        return tokens + self.linear(x, name + "ffn.net.2") * c_gate

    def audio_attention(self, name, tokens, speech, labels, grid) -> torch.Tensor:
        x = self.layer_norm(tokens, self.config.eps, name + "norm_audio")
        frequency = frequencies(self.config.attention_head_dim).float()
        width, stride = self.config.person_label_range, self.config.person_label_stride
        out = name + "audio_attn.to_out.0"
        latent_per_frame = len(speech) // grid[0]
        outputs = []
        for frame in range(grid[0]):
            area = slice(frame * grid[1] * grid[2], (frame + 1) * grid[1] * grid[2])
            heard = speech[frame * latent_per_frame : (frame + 1) * latent_per_frame]
            people = [torch.cat([latent[person] for latent in heard]) for person in range(len(heard[0]))]
            query = self.heads(self.linear(x[area], name + "audio_attn.to_q"))
            keys = [self.heads(self.linear(audio, name + "audio_attn.to_k")) for audio in people]
            if labels is not None:
                query = torch.stack([rotate(head, labels[area, None] * frequency) for head in query])
                for person, key in enumerate(keys):
                    angles = (stride * person + width / 2) * frequency.expand(key.shape[1], -1)
                    keys[person] = torch.stack([rotate(head, angles) for head in key])
            values = [self.heads(self.linear(audio, name + "audio_attn.to_v")) for audio in people]
            if self.config.audio_injection in ("l-rope", "concat"):
                heard = self.attend(query, torch.cat(keys, dim=1), torch.cat(values, dim=1))
                outputs.append(self.linear(heard, out))
                continue
            alone = [self.linear(self.attend(query, *each), out) for each in zip(keys, values, strict=True)]
            if self.config.audio_injection == "add":
                outputs.append(torch.stack(alone).sum(0))
            else:
                strips = [column * len(people) // grid[2] for _ in range(grid[1]) for column in range(grid[2])]
                outputs.append(torch.stack([alone[person][token] for token, person in enumerate(strips)]))
        return torch.cat(outputs)
