"""`talkies serve`, `worker` and `keys`: the commands, and a real pipeline of tiny parts behind them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import httpx2
import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from queue_cases import submit
from service_cases import form
from talkies.cli.serve import ServeOptions, assemble, is_loopback
from talkies.cli.studio import studio
from talkies.domain.errors import InputError
from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore, Limits
from talkies.jobs.work import PREVIEW, VIDEO, do
from talkies.serving.keys import Keys


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder: configuration and one weight."""
    folder = tmp_path / "model"
    for part in ("vae", "transformer"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text("{}")
    save_file({"w": np.zeros(1, np.float32)}, folder / "transformer" / "weights.safetensors")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "MultiTalkPipeline"}))
    return folder


def test_the_network_is_served_only_with_keys(tmp_path: Path, model: Path) -> None:
    options = ServeOptions(tmp_path / "root", models=(str(model),), devices=())
    app, executor = assemble(options)
    assert executor is None and app.state.keys is None and app.state.service.settings.models[0].id == "model"
    for reachable in (replace(options, host="0.0.0.0"), replace(options, names=("talkies.example.org",))):  # noqa: S104
        with pytest.raises(InputError, match="talkies keys add"):
            assemble(reachable)
    Keys(tmp_path / "root" / "keys.json").add("ana")
    app, _ = assemble(replace(options, names=("talkies.example.org",)))
    assert app.state.keys is not None and "talkies.example.org" in app.state.service.settings.hosts
    assert assemble(options)[0].state.keys is not None
    with pytest.raises(InputError, match="no model"):
        assemble(replace(options, models=("nowhere",)))


def test_the_studio_can_be_reached_by_another_name(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ServeOptions] = []
    monkeypatch.setattr("talkies.cli.serve.run", lambda app, executor, options: seen.append(options))
    (tmp_path / "root").mkdir()
    Keys(tmp_path / "root" / "keys.json").add("ana")
    studio([str(model)], tmp_path / "root", name=["talkies.example.org"], no_browser=True)
    assert seen[0].names == ("talkies.example.org",)


def test_which_addresses_are_this_machine_s_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))  # noqa: S104


def test_keys_on_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "talkies.cli.main", "keys", *words, "--root", str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    secret = run("add", "ana").stdout.strip()
    assert Keys(tmp_path / "keys.json").owner(secret) is not None
    assert run("list").stdout.startswith("ana ") and secret not in run("list").stdout
    twice = run("add", "ana")
    assert twice.returncode == 2 and "already" in twice.stderr and "Traceback" not in twice.stderr


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the 14B model's kinds of parts, tiny and untrained."""
    import torch

    path = Path(__file__).parents[1] / "pipelines" / "tiny_pipeline.py"
    spec = importlib.util.spec_from_file_location("tiny_pipeline", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    module.wan_pipeline().save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_the_pipeline_makes_a_job_s_video_and_resumes_it(tmp_path: Path, tiny: Path) -> None:
    from talkies.cli.making import Maker, MakingOptions
    from talkies.cli.planning import MachineOptions
    from talkies.jobs.job import Task

    store = JobStore(tmp_path / "queue", Limits(free_bytes=0))
    maker = Maker(MakingOptions((str(tiny),), MachineOptions(device="cpu"), credentials=False))
    whole, broken = submit(store), submit(store)
    with store.database.write() as connection:  # a second, which takes several segments
        longer = whole.task.model_copy(update={"seconds": None, "size": "64x64"}).model_dump_json(exclude_none=True)
        connection.execute("UPDATE jobs SET task = ?", (longer,))
    for job in (whole, broken):
        soundfile.write(store.folder(job.id) / "inputs" / "ana.wav", 0.2 * np.sin(np.arange(16_000) / 5), 16_000)
    leases = Leases(store)

    def one(generate) -> None:
        claim = leases.claim("w")
        assert claim is not None
        do(store, leases, claim, generate, threading.Event())

    one(maker)
    job = store.get(whole.id)
    assert job.state == "done", job.error
    folder = store.folder(whole.id)
    assert (folder / PREVIEW).is_file() and job.size == "64x64" and job.seconds == pytest.approx(1.0, abs=0.01)

    def interrupted(task: Task, folder: Path, report) -> None:
        def listen(progress: float, doing: str) -> None:
            report(progress, doing)
            if "2/" in doing:
                raise KeyboardInterrupt

        listen.describe = report.describe  # type: ignore[attr-defined]
        maker(task, folder, listen)

    with pytest.raises(KeyboardInterrupt):
        one(interrupted)
    leases.lose("w")
    assert (store.folder(broken.id) / f"{VIDEO}.unfinished" / "frames-000000.mkv").is_file()
    one(maker)
    assert store.get(broken.id).state == "done"
    assert _frames(folder / VIDEO) == _frames(store.folder(broken.id) / VIDEO)


def _frames(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in file.decode(video=0)]


@pytest.mark.slow
def test_the_whole_service_with_a_real_pipeline(tmp_path: Path, tiny: Path) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-m", "talkies.cli.main", "serve", "--root", str(tmp_path / "root"), "--port", "0"]
    with said.open("wb") as target:
        process = subprocess.Popen([*command, "--model", str(tiny), "--device", "cpu"], stderr=target)
    try:
        deadline = time.monotonic() + 600
        while "http://" not in said.read_text():
            assert time.monotonic() < deadline and process.poll() is None, said.read_text()
            time.sleep(0.2)
        url = said.read_text().split()[0]
        with httpx2.Client(base_url=url, timeout=120, transport=httpx2.HTTPTransport(retries=20)) as client:
            video = client.post("/videos", **form(size="64x64")).json()
            while video["status"] in ("queued", "in_progress"):
                assert time.monotonic() < deadline
                time.sleep(0.5)
                video = client.get(f"/videos/{video['id']}").json()
            assert video["status"] == "completed", (video["error"], said.read_text())
            (tmp_path / "video.mp4").write_bytes(client.get(f"/videos/{video['id']}/content").content)
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert len(_frames(tmp_path / "video.mp4")) == pytest.approx(0.9 * 25, abs=1)
    with av.open(str(tmp_path / "video.mp4")) as file:
        assert json.loads(file.metadata["comment"])["ai_generated"] is True
