from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from tiny_pipeline import reference_pipeline, wan_pipeline

torch.set_num_threads(1)  # the parts are tiny: threads would only wait for each other


@pytest.fixture(scope="session")
def wan() -> MultiTalkPipeline:
    return wan_pipeline()


@pytest.fixture(scope="session")
def small() -> MultiTalkPipeline:
    return reference_pipeline()


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8))
