"""The server is light: it starts without torch and stays small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from served import served

_IMPORTS = """
import sys
from pathlib import Path
from talkies.cli import serve, keys, worker
from talkies.jobs.executors import local, ray
from talkies.serving.app import create_app
from talkies.serving.settings import ModelInfo, ServiceSettings
from talkies.jobs.store import JobStore
create_app(ServiceSettings((ModelInfo("m"),)), JobStore(Path(sys.argv[1]))).openapi()
heavy = {"torch", "diffusers", "transformers", "ray", "numpy", "av", "PIL", "scipy"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or None)
"""


def test_the_application_is_made_without_heavy_libraries(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", _IMPORTS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_idle_server_stays_below_200_megabytes(tmp_path: Path) -> None:
    with served(tmp_path / "queue") as running:
        assert psutil.Process(running.process.pid).memory_info().rss < 200_000_000
