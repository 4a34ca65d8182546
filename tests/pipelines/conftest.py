from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import reference_pipeline, wan_pipeline

from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline


@pytest.fixture(scope="session")
def wan() -> MultiTalkPipeline:
    return wan_pipeline()


@pytest.fixture(scope="session")
def small() -> MultiTalkPipeline:
    return reference_pipeline()


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))
