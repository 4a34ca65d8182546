"""What the studio's page asks the server for; and what the page itself may not do."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from PIL import Image

from talkies.domain.errors import InputError
from talkies.jobs.store import JobStore, Limits
from talkies.serving.app import create_app
from talkies.serving.keys import Keys
from talkies.serving.settings import ModelInfo, ServiceSettings
from talkies.serving.studio.process import Helper
from talkies.serving.studio.routes import MAX_BYTES, POLICY, STATIC, mount_studio

EXAMPLES = Path(__file__).parents[4] / "shared" / "examples"
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def client_for(folder: Path, keys: Path | None = None) -> TestClient:
    app = create_app(ServiceSettings((ModelInfo("m"),), keys=keys), JobStore(folder, Limits(free_bytes=1)))
    mount_studio(app)
    return TestClient(app, base_url="http://localhost")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    made = client_for(tmp_path_factory.mktemp("service"))
    yield made
    made.app.state.studio.helper.close()  # type: ignore[attr-defined]


def upload(client: TestClient, image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    answer = client.post("/v1/files", files={"file": ("p.png", data.getvalue())})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_the_page_keeps_to_itself(client: TestClient) -> None:
    page = client.get("/", follow_redirects=True)
    assert page.url.path == "/studio/"
    assert page.headers["content-security-policy"] == POLICY
    assert client.get("/studio/app.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/studio/../routes.py").status_code == 404
    for path in STATIC.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|eval\(|document\.write", text), path.name
        assert not re.search(r"\son\w+=\"|<style|style=\"|<script(?! type=\"module\" src)", text), path.name


def test_scripts_and_page_agree_on_names() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    known = set(re.findall(r'id="([\w-]+)"', page))
    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        assert set(re.findall(r'\$\("([\w-]+)"\)', text)) <= known, path.name
        for names, module in re.findall(r'import (.+?) from "\./([\w.]+)"', text):
            exported = re.findall(
                r"^export (?:async )?(?:function\*?|const|let) (\w+)", (STATIC / module).read_text(), re.M
            )
            wanted = (
                re.findall(r"\$|\w+", names.split("{")[1])
                if "{" in names
                else re.findall(rf"\b{module[:-3]}\.(\w+)\(", text)
            )
            assert {name for name in wanted if name != "$"} <= set(exported), f"{path.name} from {module}"
    fields = re.search(r"FIELDS = \[(.*?)\]", (STATIC / "film.js").read_text("utf-8"))
    assert fields is not None
    assert set(re.findall(r'"(\w+)"', fields[1])) <= known


@needs_espeak
def test_languages_and_voices(client: TestClient) -> None:
    setup = client.get("/studio/api/setup").json()
    assert setup["models"] == [{"id": "m", "multiple": 1, "steps": 40}]
    assert setup["languages"]["de"] == "German"
    assert {"f3", "m3"} <= {voice["name"] for voice in client.get("/studio/api/voices/de").json()}
    assert client.get("/studio/api/voices/..%2fx").status_code == 404


@needs_espeak
def test_a_line_is_spoken_and_kept_as_an_upload(client: TestClient) -> None:
    line = {"text": "Guten Morgen!", "language": "de", "voice": "f3"}
    answer = client.post("/studio/api/speech", json=line)
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert file["kind"] == "audio"
    assert file["voice"] == "f3"
    samples, rate = soundfile.read(io.BytesIO(client.get(f"/studio/api/files/{file['id']}").content))
    assert len(samples) / rate == pytest.approx(file["seconds"], abs=0.01)
    assert np.abs(samples).max() > 0.05
    for wrong in ({"text": ""}, {"text": "a" * 2001}, {"text": "a", "language": "x; y"}, {"text": "a", "x": 1}):
        assert client.post("/studio/api/speech", json=wrong).status_code == 400
    silent = client.post("/studio/api/speech", json={"text": "..."})
    assert silent.status_code == 400
    assert "nothing to say" in silent.json()["error"]["message"]


def test_nobody_is_found_where_nobody_is(client: TestClient) -> None:
    file = upload(client, Image.linear_gradient("L").convert("RGB"))
    assert client.post("/studio/api/people", json={"file": file}).json() == {"people": []}
    for unknown in ("file-" + "0" * 32, "../../etc/passwd", ""):
        assert client.post("/studio/api/people", json={"file": unknown}).status_code == 404


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the example photographs (../shared/examples) are not here")
def test_two_people_are_found(client: TestClient) -> None:
    with Image.open(EXAMPLES / "photo-two" / "photo.png") as image:
        file = upload(client, image.convert("RGB").resize((640, 360)))
    left, right = client.post("/studio/api/people", json={"file": file}).json()["people"]
    assert left["box"][0] <= left["face"][0] <= left["box"][2] <= right["box"][0] + 5
    assert 0 <= right["box"][1] < right["face"][1] < right["box"][3] <= 360


def test_dialogues_are_read(client: TestClient) -> None:
    fields = client.post("/studio/api/script", json={"text": "Ana: Hi.\nBen: [pause 1] Ho."}).json()
    assert [turn["pause"] for turn in fields["turns"]] == [0.0, 1.0]
    refused = client.post("/studio/api/script", json={"text": "hello"})
    assert refused.status_code == 400
    assert "Line 1" in refused.json()["error"]["message"]


def test_nothing_is_read_of_strangers_and_of_what_is_too_large(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    mine = {"Authorization": f"Bearer {keys.add('me')}"}
    client = client_for(tmp_path / "service", keys.path)
    read = 0

    def pieces() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 1_000_000

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": next(endless), "more_body": True}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    endless, statuses = pieces(), []
    for path in ("people", "speech", "script"):
        for headers in ({}, mine):
            given = {"host": "localhost", "content-type": "application/json", **headers}
            scope = {
                "type": "http", "method": "POST", "path": f"/studio/api/{path}", "query_string": b"", "root_path": "",
                "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()], "scheme": "http",
                "server": ("localhost", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
            }  # fmt: skip
            read = 0
            asyncio.run(client.app(scope, receive, send))
            assert (statuses.pop(), read) == ((413, MAX_BYTES // 1_000_000 + 1) if headers else (401, 0))
        declared = {**mine, "Content-Length": str(MAX_BYTES + 1), "Content-Type": "application/json"}
        assert client.post(f"/studio/api/{path}", headers=declared, content=b"{}").status_code == 413
        assert client.post(f"/studio/api/{path}", headers=mine, content=b"{}").status_code == 415


def test_white_letters_can_be_read_on_every_person_s_colour() -> None:
    def light(colour: str) -> float:
        parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    colours = re.findall(r'"(#[0-9a-f]{6})"', (STATIC / "state.js").read_text("utf-8"))
    assert len(colours) == 8
    assert all(1.05 / (light(colour) + 0.05) >= 4.5 for colour in colours)


def test_everybody_sees_their_own_only(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    first, second = keys.add("first"), keys.add("second")
    client = client_for(tmp_path / "service", keys.path)
    assert client.get("/studio/").status_code == 200
    for path in ("setup", "voices/en", "files/file-" + "0" * 32, "videos/video_" + "0" * 32 + "/credentials"):
        assert client.get(f"/studio/api/{path}").status_code == 401
    data = io.BytesIO()
    Image.new("RGB", (64, 64)).save(data, "PNG")
    mine, other = {"Authorization": f"Bearer {first}"}, {"Authorization": f"Bearer {second}"}
    file = client.post("/v1/files", files={"file": data.getvalue()}, headers=mine).json()["id"]
    assert client.get(f"/studio/api/files/{file}", headers=mine).status_code == 200
    assert client.get(f"/studio/api/files/{file}", headers=other).status_code == 404
    assert client.post("/studio/api/people", json={"file": file}, headers=other).status_code == 404
    assert client.get(f"/studio/api/videos/video_{'0' * 32}/credentials", headers=mine).status_code == 404


@needs_espeak
def test_a_helper_that_dies_is_replaced() -> None:
    helper = Helper(seconds=30)
    try:
        helper.ask("languages", command=None)
        first = helper.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        time.sleep(0.1)
        assert helper.ask("voices", command=None, language="de")["voices"]
        assert helper.process_id not in (None, first)
        with pytest.raises(InputError, match="cannot be done"):
            helper.ask("nothing it knows")
        os.kill(helper.process_id, signal.SIGSTOP)  # it will not answer in time
        helper._seconds = 0.2
        with pytest.raises(InputError, match="longer than"):
            helper.ask("languages", command=None)
        assert helper.process_id is None
    finally:
        helper.close()


def test_the_studio_starts_without_torch() -> None:
    code = (
        "import sys, talkies.serving.app, talkies.serving.studio.routes; "
        "sys.exit(bool({'torch', 'onnxruntime', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_brings_the_page() -> None:
    assert importlib.util.find_spec("talkies.serving.studio") is not None
    assert {"index.html", "style.css", "app.js", "icon.svg"} <= {path.name for path in STATIC.iterdir()}
