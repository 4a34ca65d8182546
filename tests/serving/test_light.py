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
from talkies.cli import keys, worker
from talkies.cli.serve import ServeOptions, assemble
from talkies.jobs.executors import ray
root = Path(sys.argv[1])
app, executor = assemble(ServeOptions(root / "root", models=(str(root / "model"),)))
app.openapi()
heavy = {"torch", "diffusers", "transformers", "ray", "numpy", "av", "PIL", "scipy"} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or None)
"""


def test_the_application_is_made_without_heavy_libraries(tmp_path: Path) -> None:
    (tmp_path / "model" / "transformer").mkdir(parents=True)
    (tmp_path / "model" / "model_index.json").write_text('{"_class_name": "MultiTalkPipeline"}')
    (tmp_path / "model" / "transformer" / "weights.safetensors").touch()
    run = subprocess.run([sys.executable, "-c", _IMPORTS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_idle_server_stays_below_200_megabytes(tmp_path: Path) -> None:
    with served(tmp_path / "queue") as running:
        assert psutil.Process(running.process.pid).memory_info().rss < 200_000_000
