"""What the tests of the service share: small pictures and voices, an application, a request."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image
from starlette.testclient import TestClient

from talkies.jobs.store import JobStore, Limits
from talkies.serving.app import create_app
from talkies.serving.settings import ModelInfo, ServiceSettings, UploadLimits

SETTINGS = ServiceSettings(models=(ModelInfo("tiny", 1, 16), ModelInfo("other")))
#: Of uploads in tests: far less than a service grants, so that what is refused is refused soon.
LIMITS = UploadLimits(body_bytes=3_000_000, image_pixels=4_000_000, audio_seconds=5.0, cpu_seconds=20)


def picture(width: int = 160, height: int = 96, form: str = "PNG") -> bytes:
    """A picture file."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, format=form)
    return file.getvalue()


def voice(seconds: float = 0.5, form: str = "WAV") -> bytes:
    """A sound file."""
    file = io.BytesIO()
    soundfile.write(file, 0.2 * np.sin(np.arange(int(16_000 * seconds)) / 5), 16_000, format=form)
    return file.getvalue()


def client(root: Path, settings: ServiceSettings = SETTINGS, limits: Limits | None = None) -> TestClient:
    """A client of an application of its own, in this process."""
    store = JobStore(root / "queue", limits or Limits(free_bytes=0))
    app = create_app(replace(settings, uploads=LIMITS), store)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


SPEAKERS = [
    {"name": "Ana", "audio": "attach://ana", "region": {"box": [0, 0, 80, 96]}},
    {"name": "Ben", "audio": "attach://ben", "region": {"box": [80, 0, 160, 96]}},
]


def form(**changes: Any) -> dict[str, Any]:
    """Arguments of `client.post` for a two-person video."""
    fields = {"prompt": "two talk", "speakers": json.dumps(SPEAKERS), "turns": "in_turn", "consent": "drawn"} | changes
    files = {"input_reference": ("p.png", picture()), "ana": ("a.wav", voice()), "ben": ("b.wav", voice(0.4))}
    return {"data": {name: value for name, value in fields.items() if value is not None}, "files": files}


def everything_below(folder: Path) -> set[str]:
    """Files below a folder but for the queue's own."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("queue.sqlite3")
    }
