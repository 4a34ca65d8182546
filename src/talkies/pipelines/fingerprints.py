"""What a run depends on, as one digest: a run is gone on with only by what began it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from talkies.models.audio_encoder import release_pages
from talkies.pipelines.inputs import GenerationPlan, GenerationRequest

#: Values of every parameter that are looked at.
_LOOKS = 64


def fingerprint(request: GenerationRequest, plan: GenerationPlan, *models: nn.Module) -> str:
    """Digest of everything that decides the video: inputs, settings, plan, the generators' states, models.

    Generators count only where they were given: a run without is not repeatable, but can be resumed.
    """
    digest = hashlib.sha256()
    settings = request.settings and dataclasses.asdict(request.settings)
    described = [settings, dataclasses.asdict(plan)]
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    for model in models:
        digest.update(weights_digest(model))
    for field in dataclasses.fields(request):
        if field.name != "settings":
            digest.update(field.name.encode())
            _digest(digest, getattr(request, field.name))
    return digest.hexdigest()


def weights_digest(model: nn.Module) -> bytes:
    """Digest of a model's config, and of name, type, shape and a sample of every parameter: other weights of the same
    shapes, adapters, their strengths and another precision give another one; where the weights lie does not matter."""
    digest = hashlib.sha256()
    # Names with an underscore say where a model came from, and in no fixed order.
    config = {name: value for name, value in getattr(model, "config", {}).items() if name[0] != "_"}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, module in sorted(model.named_modules()):
        if isinstance(strengths := getattr(module, "scaling", None), dict):  # of peft's adapters
            digest.update(f"{name}{sorted(strengths.items())}".encode())
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}{parameter.dtype}{tuple(parameter.shape)}".encode())
        digest.update(_sample(parameter.detach()))
    return digest.digest()


def _sample(values: Tensor) -> bytes:
    """Some values all over a tensor; none where quantised or offloaded ones cannot be looked at."""
    try:
        flat = values.reshape(-1)
        found = flat[:: max(1, len(flat) // _LOOKS)][:_LOOKS].float().cpu()
        return found.numpy().tobytes()
    except (NotImplementedError, RuntimeError, TypeError):
        return b""


def _digest(digest: Any, value: Any) -> None:
    """Adds a value of a request, whatever its kind, to a digest."""
    if isinstance(value, torch.Generator):
        value = value.get_state()
    if isinstance(value, Image.Image):
        value = np.asarray(value.convert("RGB"))
    if isinstance(value, Tensor):
        value = value.detach().float().cpu().numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        for start in range(0, len(value), 1 << 20):  # an hour of sound stays on the disk
            digest.update(np.ascontiguousarray(value[start : start + (1 << 20)]).data)
        release_pages(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _digest(digest, item)
    else:
        digest.update(repr(value).encode())
