"""What is seen in a picture before its film is drawn: faces, lids, and what moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from talkies.media.image import load_image
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.lids import LIDS
from talkies.models.motion_latents import FLOW_CHANNELS, FLOW_UNIT, MOTION_CHANNELS
from talkies.pipelines.conditioning import ReferenceConditioning

DUO = Path(__file__).parents[2] / "examples" / "duo" / "photo.png"


def duo() -> Tensor:
    """`[1, 3, 192, 320]` in [-1, 1]."""
    pixels = np.array(load_image(DUO).resize((320, 192)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


def decoded(reference: Tensor) -> Tensor:
    """A frame in which everything is told to move five pixels, without its still: `[B, 3, H, W]`."""
    torch.manual_seed(0)
    vae = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    conditioning = ReferenceConditioning(vae, reference, torch.device("cpu"))
    z = torch.zeros(len(reference), *conditioning.latent_shape(2))
    z[:, :FLOW_CHANNELS, 1] = 5 / FLOW_UNIT
    with torch.no_grad():
        return conditioning.decode(z).frames[:, :, 3] - reference


def test_pictures_of_one_batch_need_not_show_as_many() -> None:
    """Two people and nobody: of two people the ground stays, and where nobody is found all of it moves."""
    nobody = torch.rand(1, 3, 192, 320, generator=torch.Generator().manual_seed(1)) * 2 - 1
    both = torch.cat([duo(), nobody])
    vae = AutoencoderReference(MOTION_CHANNELS + 2, (8, 8, 8, 16)).eval()
    conditioning = ReferenceConditioning(vae, both, torch.device("cpu"), lambda *shape: torch.zeros(2, 2, shape[2]))
    assert conditioning._faces.shape == (2, 2, 5, 2)
    assert conditioning._lids is not None and conditioning._lids.shape == (2, 2, 2, LIDS)
    assert conditioning._matte[1].min() == 1 > conditioning._matte[0].mean()
    changed = decoded(both).abs().amax(1)
    ground = conditioning._matte[0, 0] == 0
    assert changed[0][ground].mean() < 0.02 < changed[0].mean() and changed[1].mean() > 0.2
