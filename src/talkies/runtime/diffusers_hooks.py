"""Caches of diffusers for our block. The only file that touches private parts of diffusers (0.42).

Every call of the network must run under ``model.cache_context(branch name)``, which keeps the guidance branches
("cond", "drop_text", "drop_audio", "uncond") apart; and ``reset_cache`` must be called before every new video segment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig
from diffusers.hooks import HookRegistry
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.hooks.mag_cache import _MAG_CACHE_BLOCK_HOOK

from talkies.domain.errors import InputError
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel, MultiTalkTransformerBlock
from talkies.runtime.profile import CacheSettings


def register_block() -> None:
    """Tells diffusers' caches what our block takes and returns. Calling it again changes nothing."""
    TransformerBlockRegistry.register(
        MultiTalkTransformerBlock,
        TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None),
    )


def enable_cache(model: MultiTalkTransformer3DModel, settings: CacheSettings) -> None:
    """Switches a cache on, in place of any that is on; kind "none" switches it off.

    Raises:
        InputError: The model has fewer than two blocks, between which nothing could be skipped.
    """
    disable_cache(model)
    if settings.kind == "none":
        return
    if len(model.blocks) < 2:
        raise InputError("A cache skips blocks, and this model has only one.")
    register_block()
    model.enable_cache(_diffusers_config(settings))


def disable_cache(model: MultiTalkTransformer3DModel) -> None:
    """Switches the cache off, if one is on."""
    if model.is_cache_enabled:
        model.disable_cache()


def reset_cache(model: MultiTalkTransformer3DModel) -> None:
    """Forgets everything a cache has seen; the next step is computed in full. Nothing happens without a cache."""
    if model.is_cache_enabled:
        model._reset_stateful_cache()


def calibrate_mag_ratios(
    model: MultiTalkTransformer3DModel, run: Callable[[], object], num_inference_steps: int
) -> dict[str, tuple[float, ...]]:
    """Measures the ratios MagCache needs, on one run without skipping.

    Args:
        model: The transformer; a cache that is on is switched off.
        run: Samples one segment, every call of the network under its ``cache_context``.
        num_inference_steps: Steps that ``run`` takes.

    Returns:
        For each branch, the mean ratio of the blocks' change from step to step, ``num_inference_steps`` numbers.
    """
    disable_cache(model)
    register_block()
    # One step more than there are: at the last one diffusers prints the ratios and forgets them.
    model.enable_cache(MagCacheConfig(calibrate=True, num_inference_steps=num_inference_steps + 1))
    try:
        run()
        hook: Any = HookRegistry.check_if_exists_or_initialize(model.blocks[-1]).get_hook(_MAG_CACHE_BLOCK_HOOK)
        states = hook.state_manager._state_cache
        return {branch: tuple(state.calibration_ratios) for branch, state in states.items()}
    finally:
        model.disable_cache()


def _diffusers_config(settings: CacheSettings) -> FirstBlockCacheConfig | MagCacheConfig | TaylorSeerCacheConfig:
    match settings.kind:
        case "first_block":
            return FirstBlockCacheConfig(threshold=settings.threshold)
        case "mag":
            return MagCacheConfig(
                threshold=settings.threshold,
                retention_ratio=settings.warmup_steps / settings.num_inference_steps,
                num_inference_steps=settings.num_inference_steps,
                mag_ratios=list(settings.mag_ratios or ()),
            )
        case _:
            # The light variant keeps one tensor for each branch. The full one keeps the output of every layer, and its
            # default patterns would find only the audio attention in a Wan block.
            return TaylorSeerCacheConfig(
                cache_interval=settings.interval,
                disable_cache_before_step=settings.warmup_steps,
                taylor_factors_dtype=None,
                use_lite_mode=True,
            )
