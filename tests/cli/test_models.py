"""Fetching from a hub that runs here: sizes first, only safe files, hashes checked, damage found."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from talkies.cli.models import missing_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = save({"w": np.arange(4096, dtype=np.float32)})
FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle that must not be fetched",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's interface as fetching one repository needs; `broken` repositories lie about hashes."""

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repo = "/".join(parts[2:4])
            if not repo.startswith("test/"):
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                return
            self.answer(200, json.dumps(self.described(repo)).encode(), {"Content-Type": "application/json"})
            return
        name = parts[-1]
        data = FILES.get(name, b"")
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self.answer(200 if name in FILES else 404, data, headers)

    do_HEAD = do_GET  # noqa: N815 - the name http.server calls

    def described(self, repo: str) -> dict[str, object]:
        files = []
        for name, data in FILES.items():
            if repo == "test/pickled" and name.endswith(".safetensors"):
                continue
            sha256 = "f" * 64 if repo == "test/broken" else hashlib.sha256(data).hexdigest()
            lfs = {"sha256": sha256, "size": len(data), "pointerSize": 130} if not name.endswith(".json") else None
            files.append({"rfilename": name, "size": len(data), "blobId": "0" * 40, **({"lfs": lfs} if lfs else {})})
        return {
            "id": repo,
            "modelId": repo,
            "sha": COMMIT,
            "siblings": files,
            "tags": [],
            "private": False,
            "downloads": 0,
        }

    def answer(self, code: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(hub: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the Hub's client reads its settings once, when it is loaded."""
    settings = {"HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-m", "talkies.cli.main", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings, timeout=200)


def test_what_is_named_and_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.safetensors").write_bytes(WEIGHTS)
    (tmp_path / "part" / "w.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})
    )
    (tmp_path / "SHA256SUMS").write_text("0  part/a.safetensors\n0  c.json\n")
    assert [path.name for path in missing_files(tmp_path)] == ["c.json", "b.safetensors"]
    (tmp_path / "odd.index.json").write_text("[]")
    assert len(missing_files(tmp_path)) == 2


def test_fetch_then_verify_then_damage(hub: str, tmp_path: Path) -> None:
    fetched = run(hub, tmp_path, "fetch", "test/model", "--yes")
    assert fetched.returncode == 0, fetched.stderr
    assert "test/model: 2 files" in fetched.stderr
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert "model.safetensors" in names
    assert "pytorch_model.bin" not in names
    assert run(hub, tmp_path, "verify", "test/model").returncode == 0
    (blob,) = {path.resolve() for path in tmp_path.rglob("model.safetensors")}
    blob.write_bytes(WEIGHTS[:-1] + b"\x01")
    verified = run(hub, tmp_path, "verify", "test/model")
    assert verified.returncode == 1
    assert "changed" in verified.stdout


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("test/broken", "--yes"), "arrived damaged and was removed", 2),
        (("test/pickled", "--yes"), "no weights as .safetensors", 2),
        (("nobody/nothing", "--yes"), "has no model", 2),
        (("test/model",), "Nothing was fetched|stopped", None),
    ],
)
def test_what_is_not_fetched(hub: str, tmp_path: Path, arguments: tuple[str, ...], says: str, code: int | None) -> None:
    result = run(hub, tmp_path, "fetch", *arguments)
    assert result.returncode == code if code is not None else result.returncode != 0, result.stderr
    assert re.search(says, result.stderr), result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("model.safetensors"))


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    result = run("http://127.0.0.1:9", tmp_path, "fetch", "test/model", "--yes")
    assert result.returncode == 1
    assert "cannot be reached" in result.stderr
    assert "Traceback" not in result.stderr
