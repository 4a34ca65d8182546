"""MultiTalk's transformer: Wan's, with an audio cross-attention in every block, for any number of people.

Single device, no state, no side effects. Parallelism, offload, quantisation and caching are applied from outside.

Names used in shapes: B batch, P people who speak, T token frames, R tokens in one frame, S = T R tokens of the video,
A audio tokens of one person in one frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401 - tells diffusers' pipelines how to load this part
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanTransformer3DModel,
    WanTransformerBlock,
)
from diffusers.utils import apply_lora_scale
from torch import nn

from talkies.domain.errors import InputError
from talkies.models.audio_adapter import AudioProjector
from talkies.models.audio_attention import AudioAttention
from talkies.models.audio_injection import Voices, attend_owned, check_audio_injection, join_heard, strip_owner
from talkies.models.speaker_rope import (
    PAPER_LABELS,
    PersonLabels,
    Rotary,
    apply_rotary,
    attention_with_person_map,
    audio_labels,
    check_person_tokens,
    label_rotary,
    person_attention_map,
    person_tokens,
    video_labels,
)


class MultiTalkAttnProcessor:
    """Wan's self-attention, which also says where each person is, and Wan's attention to text and image.

    The image tokens come as an argument of their own, so the text may have any length.
    """

    _attention_backend = None
    _parallel_config = None

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        rotary_emb: Rotary | None = None,
        encoder_hidden_states_image: torch.Tensor | None = None,
        frame_tokens: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Attends.

        Args:
            attn: The projections.
            hidden_states: `[B, S, dim]`.
            encoder_hidden_states: `[B, L, dim]` text, or None for self-attention.
            attention_mask: As in `scaled_dot_product_attention`.
            rotary_emb: Tables `[1, S, 1, D / 2]`.
            encoder_hidden_states_image: `[B, I, dim]`.
            frame_tokens: `[B, N+1, R]`: which tokens of the first frame show which person. Asks for the map.

        Returns:
            `[B, S, dim]`; with `frame_tokens` also the person map `[B, N+1, S]`.
        """
        query, key, value = _project(attn, hidden_states, encoder_hidden_states)  # [B, S, H, D], [B, L, H, D]
        if rotary_emb is not None:
            query, key = apply_rotary(query, *rotary_emb), apply_rotary(key, *rotary_emb)
        person_map = None
        if frame_tokens is not None and self._shares_scores(query):
            output, person_map = attention_with_person_map(query, key, value, frame_tokens)
        else:
            if frame_tokens is not None:
                with torch.no_grad():  # a label is a position, not a feature to learn through
                    person_map = person_attention_map(query, key[:, : frame_tokens.shape[-1]], frame_tokens)
            output = dispatch_attention_fn(
                query, key, value, attn_mask=attention_mask, backend=self._attention_backend
            )  # [B, S, H, D]
        output = output.flatten(2)  # [B, S, H D]
        if encoder_hidden_states_image is not None and attn.add_k_proj is not None:
            key, value = _project_image(attn, encoder_hidden_states_image)  # [B, I, H, D]
            output = output + dispatch_attention_fn(query, key, value, backend=self._attention_backend).flatten(2)
        output = attn.to_out[1](attn.to_out[0](output.type_as(query)))
        return output if person_map is None else (output, person_map)

    def _shares_scores(self, query: torch.Tensor) -> bool:
        """Whether self-attention and person map are computed together."""
        default = self._attention_backend in (None, AttentionBackendName.NATIVE)
        training = torch.is_grad_enabled()  # the normalisers have no gradient
        return default and query.device.type == "cpu" and not training and not torch.compiler.is_compiling()


def _project(
    attn: WanAttention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
    if not attn.fused_projections:
        query, key, value = attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source)
    elif attn.is_cross_attention:
        query, (key, value) = attn.to_q(hidden_states), attn.to_kv(source).chunk(2, dim=-1)
    else:
        query, key, value = attn.to_qkv(hidden_states).chunk(3, dim=-1)
    query, key = attn.norm_q(query), attn.norm_k(key)
    return tuple(states.unflatten(2, (attn.heads, -1)) for states in (query, key, value))  # type: ignore[return-value]


def _project_image(attn: WanAttention, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if attn.fused_projections:
        key, value = attn.to_added_kv(image).chunk(2, dim=-1)
    else:
        key, value = attn.add_k_proj(image), attn.add_v_proj(image)
    return attn.norm_added_k(key).unflatten(2, (attn.heads, -1)), value.unflatten(2, (attn.heads, -1))


class MultiTalkTransformerBlock(WanTransformerBlock):
    """Self-attention, text and image cross-attention, audio cross-attention, feed-forward."""

    def __init__(
        self,
        dim: int,
        ffn_dim: int,
        num_heads: int,
        audio_dim: int,
        qk_norm: str | None = "rms_norm_across_heads",
        cross_attn_norm: bool = True,
        eps: float = 1e-6,
        added_kv_proj_dim: int | None = None,
        person_labels: PersonLabels = PAPER_LABELS,
    ) -> None:
        super().__init__(dim, ffn_dim, num_heads, qk_norm, cross_attn_norm, eps, added_kv_proj_dim)
        self.attn1.set_processor(MultiTalkAttnProcessor())
        self.attn2.set_processor(MultiTalkAttnProcessor())
        self.norm_audio = FP32LayerNorm(dim, eps, elementwise_affine=True)
        self.audio_attn = AudioAttention(dim, num_heads, audio_dim)
        self.person_labels = person_labels

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        temb: torch.Tensor,
        rotary_emb: Rotary,
        encoder_hidden_states_image: torch.Tensor | None = None,
        audio_hidden_states: torch.Tensor | None = None,
        audio_rotary_emb: Rotary | None = None,
        frame_tokens: torch.Tensor | None = None,
        text_owner: torch.Tensor | None = None,
        audio_owner: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One block.

        Args:
            hidden_states: `[B, S, dim]`.
            encoder_hidden_states: `[B, L, dim]` text; with `text_owner` `[B, C, L, dim]`, C of them.
            temb: `[B, G, 6, dim]`: one modulation for each of G equal stretches of the tokens.
            rotary_emb: Tables `[1, S, 1, D / 2]`.
            encoder_hidden_states_image: `[B, I, dim]`.
            audio_hidden_states: `[B, T, P A, audio_dim]`, or `[B, P, T, A, audio_dim]` for streams that are attended to
                one by one; None leaves the audio attention out.
            audio_rotary_emb: Tables `[P A, 1, D / 2]` of the audio tokens' labels; None for audio without labels.
            frame_tokens: `[B, P+1, R]`: where the people are in the first frame; None for audio without labels.
            text_owner: `[B, S]`: which of the C texts each token reads.
            audio_owner: `[B, S]`: which of the P streams each token hears; None adds them up.

        Returns:
            `[B, S, dim]`.
        """
        modulation = (self.scale_shift_table + temb.float()).unsqueeze(2)  # [B, G, 1, 6, dim]
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.unbind(3)  # [B, G, 1, dim]

        attended = self.attn1(
            _modulate(self.norm1(hidden_states.float()), scale, shift).type_as(hidden_states),
            rotary_emb=rotary_emb,
            frame_tokens=frame_tokens,
        )
        video_rotary_emb = None
        if frame_tokens is not None:
            attended, person_map = attended
            labels = video_labels(person_map, self.person_labels)  # [B, S]
            cos, sin = label_rotary(labels, attended.shape[-1] // self.attn1.heads)  # [B, S, D/2]
            video_rotary_emb = cos.unsqueeze(2), sin.unsqueeze(2)
        hidden_states = _add_gated(hidden_states, attended, gate)

        normed = self.norm2(hidden_states.float()).type_as(hidden_states)
        read = partial(self.attn2, encoder_hidden_states_image=encoder_hidden_states_image)
        if text_owner is None:
            hidden_states = hidden_states + read(normed, encoder_hidden_states)
        else:
            hidden_states = hidden_states + attend_owned(read, normed, encoder_hidden_states.unbind(1), text_owner)

        if audio_hidden_states is not None:
            normed = self.norm_audio(hidden_states.float()).type_as(hidden_states)
            streams = audio_hidden_states.unbind(1) if audio_hidden_states.ndim == 5 else [audio_hidden_states]
            heard = [self.audio_attn(normed, stream, video_rotary_emb, audio_rotary_emb) for stream in streams]
            hidden_states = hidden_states + join_heard(heard, audio_owner)

        normed = _modulate(self.norm3(hidden_states.float()), ffn_scale, ffn_shift).type_as(hidden_states)
        return _add_gated(hidden_states, self.ffn(normed), ffn_gate)


def _modulate(normed: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """`normed (1 + scale) + shift`, where `[B, S, dim]` is modulated by `[B, G, 1, dim]`."""
    grouped = normed.unflatten(1, (scale.shape[1], -1))  # [B, G, S/G, dim]
    return torch.addcmul(shift, grouped, 1 + scale).flatten(1, 2)


def _add_gated(residual: torch.Tensor, update: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """`residual + update gate` in float32, with `[B, S, dim]` gated by `[B, G, 1, dim]`."""
    groups = (gate.shape[1], -1)
    total = torch.addcmul(residual.float().unflatten(1, groups), update.float().unflatten(1, groups), gate)
    return total.flatten(1, 2).type_as(residual)


class MultiTalkTransformer3DModel(WanTransformer3DModel):
    """MultiTalk's video transformer (arXiv 2505.22647) on diffusers' Wan.

    Args:
        patch_size: Patch of a token: frames, height, width.
        num_attention_heads: Heads of every attention.
        attention_head_dim: Channels of a head.
        in_channels: Channels of the latent, mask and condition together.
        out_channels: Channels of the predicted velocity.
        text_dim: Channels of the text features.
        freq_dim: Channels of the sinusoidal timestep embedding.
        ffn_dim: Hidden width of the feed-forward.
        num_layers: Blocks.
        cross_attn_norm: Whether the input of the text attention is normalised.
        qk_norm: Kept for Wan's configuration; Wan always normalises over all heads.
        eps: Of every normalisation in the blocks.
        image_dim: Channels of the image features, or None for no image tokens.
        added_kv_proj_dim: Width of the image tokens' projections; the model's width where `image_dim` is given.
        rope_max_seq_len: Most tokens along one axis.
        pos_embed_seq_len: Of Wan's first-and-last-frame models.
        audio_window: Frames in an audio window.
        audio_blocks: Stacked layers of the speech encoder.
        audio_channels: Channels of the speech encoder.
        audio_hidden_dim: Hidden width of the audio adapter.
        audio_output_dim: Channels of an audio token.
        audio_context_tokens: Audio tokens of one person in one latent frame.
        vae_scale_factor_temporal: Video frames in one latent frame, the first excepted.
        absolute_positions: Whether tokens are told where in the picture they are, which Wan leaves to its rotary
            embedding; a small network does not find out by itself who is "on the left".
        audio_injection: How several voices are told apart: `l-rope`, or for comparison `concat`, `add`, `split` (see
            `audio_injection`). All have the same weights.
        person_label_range: Width of a person's range of L-RoPE labels, at most the stride.
        person_label_stride: From the start of one person's range of labels to that of the next.
        unseen_channels: Channels of the noisy latents that the network predicts but does not look at. What the voice
            decides is then heard anew in every step, instead of being read off the last step's guess.
        averaged_channels: So many of the first channels of the noisy latents are also seen averaged over their
            neighbourhood: in how a whole head moves, little of the signal is in any one cell, and a small network does
            not find out by itself what many of them say together.

    Raises:
        InputError: For an unknown `audio_injection`, or labels that do not tell people apart.
    """

    _skip_layerwise_casting_patterns = ["patch_embedding", "condition_embedder", "audio_projector", "norm"]  # noqa: RUF012
    _no_split_modules = ["MultiTalkTransformerBlock"]  # noqa: RUF012
    _repeated_blocks = ["MultiTalkTransformerBlock"]  # noqa: RUF012
    _keep_in_fp32_modules = [  # noqa: RUF012
        "rope",
        "time_embedder",
        "scale_shift_table",
        "norm1",
        "norm2",
        "norm3",
        "norm_audio",
    ]
    # Wan's plan cuts the video anywhere; the audio attention needs whole frames.
    _cp_plan = None

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, ...] = (1, 2, 2),
        num_attention_heads: int = 40,
        attention_head_dim: int = 128,
        in_channels: int = 36,
        out_channels: int = 16,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 13824,
        num_layers: int = 40,
        cross_attn_norm: bool = True,
        qk_norm: str | None = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = 1280,
        added_kv_proj_dim: int | None = 5120,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        audio_window: int = 5,
        audio_blocks: int = 12,
        audio_channels: int = 768,
        audio_hidden_dim: int = 512,
        audio_output_dim: int = 768,
        audio_context_tokens: int = 32,
        vae_scale_factor_temporal: int = 4,
        absolute_positions: bool = False,
        audio_injection: str = "l-rope",
        person_label_range: float = 4.0,
        person_label_stride: float = 20.0,
        unseen_channels: tuple[int, ...] = (),
        averaged_channels: int = 0,
    ) -> None:
        check_audio_injection(audio_injection)
        person_labels = PersonLabels(person_label_range, person_label_stride)
        super().__init__(
            patch_size=patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=0,
            cross_attn_norm=cross_attn_norm,
            qk_norm=qk_norm,
            eps=eps,
            image_dim=image_dim,
            added_kv_proj_dim=added_kv_proj_dim,
            rope_max_seq_len=rope_max_seq_len,
            pos_embed_seq_len=pos_embed_seq_len,
        )
        self._person_labels = person_labels
        # Wan wrote its own arguments into our configuration.
        self.register_to_config(num_layers=num_layers)
        inner_dim = num_attention_heads * attention_head_dim
        self.blocks = nn.ModuleList(
            MultiTalkTransformerBlock(
                inner_dim,
                ffn_dim,
                num_attention_heads,
                audio_output_dim,
                qk_norm,
                cross_attn_norm,
                eps,
                added_kv_proj_dim,
                person_labels,
            )
            for _ in range(num_layers)
        )
        self.audio_projector = AudioProjector(
            audio_window,
            vae_scale_factor_temporal,
            audio_blocks,
            audio_channels,
            audio_hidden_dim,
            audio_output_dim,
            audio_context_tokens,
        )
        if absolute_positions:
            self.position_embedding = nn.Linear(_POSITION_FEATURES, inner_dim, bias=False)
            nn.init.zeros_(self.position_embedding.weight)
        if averaged_channels:
            self.average_embedding = nn.Linear(len(_NEIGHBOURHOODS) * averaged_channels, inner_dim, bias=False)
            nn.init.zeros_(self.average_embedding.weight)

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
        audio_hidden_states: torch.Tensor | None = None,
        person_masks: torch.Tensor | None = None,
        text_masks: torch.Tensor | None = None,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> Transformer2DModelOutput | tuple[torch.Tensor]:
        """Predicts the velocity.

        Args:
            hidden_states: `[B, in_channels, T', H, W]`, condition channels after the noisy ones.
            timestep: `[B]` in [0, 1000]; or `[B, T]`, one for each frame of tokens; or `[B, S]`, one for each token.
            encoder_hidden_states: `[B, L, text_dim]`, any L; Wan pads with zeros to 512 and does not mask. Or
                `[B, C, L, text_dim]`: C texts, each for a region of the picture.
            encoder_hidden_states_image: `[B, I, image_dim]`.
            audio_hidden_states: `[B, P, F, window, blocks, channels]` windows of F = 4 (T' - 1) + 1 video frames (see
                `window_audio`). One stream of zeros is guidance's "no audio"; None leaves the audio layers out, which
                is plain Wan.
            person_masks: `[B, P+1, H', W']`, the people in order, then the background, of any resolution. Not used
                with fewer than two people, nor by another `audio_injection` than `l-rope`.
            text_masks: `[B, C, H', W']`, of any resolution: where which of C texts is read; the last also elsewhere.
            return_dict: Whether to return an output object rather than a tuple.
            attention_kwargs: `scale` weighs loaded LoRAs, as in diffusers.

        Returns:
            `.sample` `[B, out_channels, T', H, W]`.

        Raises:
            InputError: If shapes do not fit together, or a person's mask is empty.
        """
        grid = _token_grid(hidden_states, self.config)
        _check_conditions(encoder_hidden_states, encoder_hidden_states_image, timestep, hidden_states, self.config)
        voices = Voices()
        if audio_hidden_states is not None:
            voices = self._embed_audio(hidden_states, grid, audio_hidden_states, person_masks)
        if self.config.unseen_channels:
            seen = hidden_states.new_ones(hidden_states.shape[1])
            seen[list(self.config.unseen_channels)] = 0
            hidden_states = hidden_states * seen.view(1, -1, 1, 1, 1)
        cos, sin = self.rope(hidden_states)  # [1, S, 1, D], each value twice
        rotary_emb = cos[..., 0::2].float().contiguous(), sin[..., 0::2].float().contiguous()  # [1, S, 1, D/2]
        around = self._averages(hidden_states) if self.config.averaged_channels else None
        hidden_states = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()  # [B, S, dim]
        if around is not None:
            hidden_states = hidden_states + self.average_embedding(around.to(hidden_states))
        if self.config.absolute_positions:
            hidden_states = hidden_states + self.position_embedding(_position_features(grid).to(hidden_states))

        text_owner = _text_owner(encoder_hidden_states, text_masks, grid)
        texts = encoder_hidden_states if text_owner is None else encoder_hidden_states.flatten(0, 1)
        groups = timestep.shape[1] if timestep.ndim == 2 else 1
        temb, time_proj, text, image = self.condition_embedder(
            timestep.flatten(), texts, encoder_hidden_states_image, timestep_seq_len=groups
        )  # [B, G, dim], [B, G, 6 dim], [B, L, dim], [B, I, dim]
        time_proj = time_proj.unflatten(2, (6, -1))  # [B, G, 6, dim]
        if text_owner is not None:
            text = text.unflatten(0, encoder_hidden_states.shape[:2])  # [B, C, L, dim]

        heard = (voices.tokens, voices.rotary_emb, voices.frame_tokens)
        arguments = (text, time_proj, rotary_emb, image, *heard, text_owner, voices.owner)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states, *arguments)
            else:
                hidden_states = block(hidden_states, *arguments)

        modulation = self.scale_shift_table.to(temb.device) + temb.unsqueeze(2)  # [B, G, 2, dim]
        shift, scale = modulation.to(hidden_states.device).unsqueeze(2).unbind(3)  # [B, G, 1, dim]
        normed = _modulate(self.norm_out(hidden_states.float()), scale, shift).type_as(hidden_states)
        sample = self._unpatchify(self.proj_out(normed), grid)
        return Transformer2DModelOutput(sample=sample) if return_dict else (sample,)

    def _embed_audio(
        self,
        hidden_states: torch.Tensor,
        grid: tuple[int, int, int],
        windows: torch.Tensor,
        masks: torch.Tensor | None,
    ) -> Voices:
        """Audio tokens, and by what the blocks tell them apart."""
        _check_audio(windows, hidden_states, self.config)
        batch, people = windows.shape[:2]
        tokens = self.audio_projector(windows.to(hidden_states))  # [B, P, T', A, audio_dim]
        tokens = tokens.unflatten(2, (grid[0], -1)).flatten(3, 4).to(hidden_states)  # [B, P, T, T'/T A, audio_dim]
        if people > 1 and self.config.audio_injection == "add":
            return Voices(tokens)
        if people > 1 and self.config.audio_injection == "split":
            return Voices(tokens, owner=strip_owner(people, grid, tokens.device).expand(batch, -1))
        together = tokens.transpose(1, 2).flatten(2, 3)  # [B, T, P A, audio_dim]
        if people == 1 or self.config.audio_injection == "concat":
            return Voices(together)
        if masks is None or masks.ndim != 4 or masks.shape[:2] != (batch, people + 1):
            raise InputError(
                f"person_masks is {None if masks is None else list(masks.shape)}; {people} people need "
                f"[{batch}, {people + 1}, H, W].",
                "One mask for each person in order, then one for the background.",
            )
        frame_tokens = person_tokens(masks.to(hidden_states.device), grid[1:])
        if not torch.compiler.is_compiling():  # it waits for the device, and is Python
            check_person_tokens(frame_tokens)
        labels = audio_labels(people, tokens.shape[3], hidden_states.device, self._person_labels)  # [P A]
        cos, sin = label_rotary(labels, self.config.attention_head_dim)
        return Voices(together, (cos.unsqueeze(1), sin.unsqueeze(1)), frame_tokens)

    def _averages(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Means of the first channels around every token, `[B, S, 2 c]`: of noise they have a spread of one, and what
        is much larger is compressed."""
        seen = hidden_states[:, : self.config.averaged_channels].float()
        counted = torch.cat([torch.ones_like(seen[:, :1]), seen], 1)
        means = []
        for size in _NEIGHBOURHOODS:
            padding = [length // 2 for length in reversed(size) for _ in range(2)]
            sums = F.avg_pool3d(F.pad(counted, padding), size, stride=1)  # zeros beyond the edge do not count
            means.append((sums[:, 1:] / sums[:, :1] * math.prod(size) ** 0.5).asinh())
        patch = tuple(self.config.patch_size)
        return F.avg_pool3d(torch.cat(means, 1), patch).flatten(2).transpose(1, 2)

    def _unpatchify(self, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """`[B, S, p_t p_h p_w C]` -> `[B, C, T', H, W]`."""
        blocks = tokens.unflatten(1, grid).unflatten(-1, (*self.config.patch_size, -1))  # [B, T, h, w, pt, ph, pw, C]
        return blocks.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)


def _token_grid(hidden_states: torch.Tensor, config: Any) -> tuple[int, int, int]:
    """Token frames, rows and columns."""
    if hidden_states.ndim != 5 or hidden_states.shape[1] != config.in_channels:
        raise InputError(f"hidden_states is {list(hidden_states.shape)}, expected [B, {config.in_channels}, T, H, W].")
    size, patch = hidden_states.shape[2:], config.patch_size
    if any(s % p for s, p in zip(size, patch, strict=True)):
        raise InputError(f"A latent of {list(size)} (frames, height, width) is no multiple of {list(patch)}.")
    frames, rows, columns = (s // p for s, p in zip(size, patch, strict=True))
    return frames, rows, columns


def _text_owner(text: torch.Tensor, masks: torch.Tensor | None, grid: tuple[int, int, int]) -> torch.Tensor | None:
    """Which of several texts every token reads, `[B, S]`; None where there is one for all."""
    if text.ndim != 4:
        return None
    if masks is None or masks.ndim != 4 or masks.shape[:2] != text.shape[:2]:
        raise InputError(
            f"text_masks is {None if masks is None else list(masks.shape)}; texts of {list(text.shape)} need "
            f"[{text.shape[0]}, {text.shape[1]}, H, W].",
            "One mask for each text.",
        )
    regions = person_tokens(masks.to(text.device), grid[1:])  # [B, C, R]
    rest = ~regions.any(dim=1)  # [B, R]
    owner = regions.float().argmax(dim=1).masked_fill(rest, text.shape[1] - 1)
    return owner.repeat(1, grid[0])


_POSITION_FEATURES = 10
_NEIGHBOURHOODS = ((1, 5, 5), (5, 5, 5))  # frames, rows and columns of latents: a head, at one time and for a while


def _position_features(grid: tuple[int, int, int]) -> torch.Tensor:
    """Of every token's column, then row, between -1 and 1: itself, and sines and cosines of pi and 2 pi times it;
    `[S, 10]`."""
    frames, rows, columns = grid

    def waves(count: int) -> torch.Tensor:  # [count, 5]
        place = (torch.arange(count) + 0.5) / count * 2 - 1
        angles = [place * torch.pi, place * 2 * torch.pi]
        return torch.stack([place, *(angle.sin() for angle in angles), *(angle.cos() for angle in angles)], -1)

    across, down = waves(columns).expand(rows, -1, -1), waves(rows)[:, None].expand(-1, columns, -1)
    return torch.cat([across, down], -1).flatten(0, 1).repeat(frames, 1)


def _check_conditions(
    text: torch.Tensor, image: torch.Tensor | None, timestep: torch.Tensor, hidden_states: torch.Tensor, config: Any
) -> None:
    batch = hidden_states.shape[0]
    frames, rows, columns = _token_grid(hidden_states, config)
    if text.ndim not in (3, 4) or (text.shape[0], text.shape[-1]) != (batch, config.text_dim):
        raise InputError(f"encoder_hidden_states is {list(text.shape)}, expected [{batch}, tokens, {config.text_dim}].")
    if image is not None and config.image_dim is None:
        raise InputError("encoder_hidden_states_image was given to a network without image tokens (image_dim is None).")
    images = batch * (2 if config.pos_embed_seq_len else 1)  # Wan's first-and-last-frame models take pairs
    if image is not None and (image.ndim != 3 or (image.shape[0], image.shape[2]) != (images, config.image_dim)):
        raise InputError(
            f"encoder_hidden_states_image is {list(image.shape)}, expected [{images}, tokens, {config.image_dim}]."
        )
    if timestep.shape[:1] != (batch,) or timestep.shape[1:] not in ((), (1,), (frames,), (frames * rows * columns,)):
        raise InputError(
            f"timestep is {list(timestep.shape)}, expected [{batch}], [{batch}, {frames}] or "
            f"[{batch}, {frames * rows * columns}]."
        )


def _check_audio(windows: torch.Tensor, hidden_states: torch.Tensor, config: Any) -> None:
    batch, _, latent_frames = hidden_states.shape[:3]
    frames = config.vae_scale_factor_temporal * (latent_frames - 1) + 1
    each = (config.audio_window, config.audio_blocks, config.audio_channels)
    if windows.ndim != 6 or windows.shape[1] < 1 or (windows.shape[0], *windows.shape[2:]) != (batch, frames, *each):
        raise InputError(
            f"audio_hidden_states is {list(windows.shape)}, expected [{batch}, people, {frames}, "
            f"{', '.join(map(str, each))}].",
            f"{latent_frames} latent frames hold {frames} video frames; see window_audio.",
        )


@contextmanager
def record_person_maps(transformer: MultiTalkTransformer3DModel) -> Iterator[list[torch.Tensor]]:
    """Collects the person map `[B, P+1, S]` of every block, in order, of every forward inside the `with`."""
    maps: list[torch.Tensor] = []

    def collect(_module: nn.Module, _arguments: Any, output: Any) -> None:
        if isinstance(output, tuple):
            maps.append(output[1].detach())

    handles = [block.get_submodule("attn1").register_forward_hook(collect) for block in transformer.blocks]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
