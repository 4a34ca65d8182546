"""Who may ask, and what they see."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service_cases import SETTINGS, form, picture
from service_cases import client as make_client
from talkies.domain.errors import InputError
from talkies.serving.keys import Keys


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_keys_are_kept_as_hashes_and_can_be_taken_back(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    ana, ben = keys.add("ana"), keys.add("ben")
    text = keys.path.read_text()
    assert ana not in text and ben not in text and keys.path.stat().st_mode & 0o077 == 0
    assert keys.owner(ana) == keys.all()[0].id != keys.owner(ben)
    for wrong in ("", ana[:-1], ana + "x", keys.all()[0].sha256, "é", "\ud800"):
        assert keys.owner(wrong) is None
    keys.remove("ana")
    assert Keys(keys.path).owner(ana) is None and keys.owner(ben) is not None
    for name in ("ben", "", "a b", "../x"):
        with pytest.raises(InputError):
            keys.add(name)
    with pytest.raises(InputError):
        keys.remove("ana")
    keys.path.write_text("{}x")
    with pytest.raises(InputError, match="damaged"):
        keys.all()


def test_every_route_but_health_needs_a_key_and_nobody_sees_another_s(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    ana, ben = _bearer(keys.add("ana")), _bearer(keys.add("ben"))
    with make_client(tmp_path, replace(SETTINGS, keys=keys.path)) as client:
        video = client.post("/v1/videos", headers=ana, **form()).json()["id"]
        file = client.post("/v1/files", headers=ana, files={"file": picture()}).json()["id"]
        routes = [
            ("GET", f"/v1/videos/{video}"),
            ("GET", f"/v1/videos/{video}/content"),
            ("GET", f"/v1/videos/{video}/events"),
            ("POST", f"/v1/videos/{video}/cancel"),
            ("POST", f"/v1/videos/{video}/retry"),
            ("DELETE", f"/v1/videos/{video}"),
            ("GET", f"/v1/videos?after={video}"),
            ("GET", f"/v1/files/{file}"),
            ("DELETE", f"/v1/files/{file}"),
        ]
        for method, url in routes:
            theirs = client.request(method, url, headers=ben)
            nobody_s = client.request(
                method, url.replace(video, "video_" + "0" * 32).replace(file, "file-0"), headers=ben
            )
            assert theirs.status_code == nobody_s.status_code == 404, (method, url, theirs.text)
        speakers = json.dumps([{"audio": file}])
        assert client.post("/v1/videos", headers=ben, **form(speakers=speakers)).status_code == 400
        assert client.get("/v1/videos", headers=ben).json()["data"] == []
        assert client.get("/v1/files", headers=ben).json()["data"] == []
        for method, url in [*routes, ("POST", "/v1/videos"), ("GET", "/v1/models"), ("GET", "/metrics")]:
            for headers in ({}, _bearer("sk-wrong"), {"Authorization": "Basic eA=="}, {"Authorization": "Bearer"}):
                assert client.request(method, url, headers=headers).status_code == 401, (method, url)
        assert client.get("/health").status_code == 200
        assert client.get(f"/v1/videos/{video}", headers=ana).status_code == 200
        keys.remove("ana")
        assert client.get(f"/v1/videos/{video}", headers=ana).status_code == 401


def test_other_sites_pages_are_not_answered(client: TestClient) -> None:
    assert client.get("/v1/videos", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/v1/videos", headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/v1/videos", headers={"Host": "[::1]:8000"}).status_code == 200
    refused = client.post("/v1/videos", headers={"Origin": "http://evil.example"}, **form())
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "wrong_origin"
    assert client.post("/v1/videos", headers={"Origin": "null"}, **form()).status_code == 403
    assert client.post("/v1/videos", headers={"Origin": "http://["}, **form()).status_code == 403
    assert client.post("/v1/videos", headers={"Origin": "http://localhost"}, **form()).status_code == 200
    assert "access-control-allow-origin" not in client.get("/v1/videos", headers={"Origin": "http://x"}).headers


def test_large_bodies_are_refused_by_length_and_by_count(client: TestClient) -> None:
    assert client.post("/v1/videos", content=b"x" * 4_000_000).status_code == 413

    async def too_much() -> list[int]:
        """Without a length, in pieces without end; the statuses answered."""
        statuses = []
        for kind in (b"application/json", b"multipart/form-data; boundary=b"):
            scope = {
                "type": "http", "method": "POST", "path": "/v1/videos", "raw_path": b"/v1/videos", "query_string": b"",
                "headers": [(b"host", b"localhost"), (b"content-type", kind)], "scheme": "http", "root_path": "",
                "server": ("localhost", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
            }  # fmt: skip

            start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            pieces = itertools.chain([start], itertools.repeat(b"x" * 100_000))

            async def receive(pieces: Iterator[bytes] = pieces) -> dict[str, object]:
                return {"type": "http.request", "body": next(pieces), "more_body": True}

            async def send(message: dict[str, object]) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            await client.app(scope, receive, send)
        return statuses

    assert asyncio.run(too_much()) == [413, 413]


def test_models_health_metrics_and_unknown_routes(client: TestClient) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny", "other"]
    assert client.get("/v1/models/other").json()["object"] == "model"
    assert client.get("/v1/models/a/b").status_code == 404
    assert client.get("/health").json()["status"] == "ok"
    text = client.get("/metrics").text
    assert 'talkies_videos{state="queued"} 0.0' in text
    assert 'talkies_requests_total{method="GET",route="/v1/models",status="200"} 1.0' in text

    def broken() -> int:
        raise RuntimeError

    client.request("X1", "/v1/models"), client.request("X2", "/v1/models")
    client.get("/v1/models", headers={"Host": "evil.example"})
    client.app.state.service.workers = broken  # type: ignore[attr-defined]
    assert client.get("/health").status_code == 500
    client.app.state.service.workers = lambda: None  # type: ignore[attr-defined]
    text = client.get("/metrics").text
    assert "X1" not in text
    for labels, count in (
        ('method="other",route="/v1/models",status="405"', 2),
        ('method="GET",route="other",status="421"', 1),
        ('method="GET",route="/health",status="500"', 1),
    ):
        assert f"talkies_requests_total{{{labels}}} {count}.0" in text
    for method, url, status in (("GET", "/nothing", 404), ("PUT", "/v1/videos", 405)):
        answer = client.request(method, url)
        assert answer.status_code == status and answer.json()["error"]["message"]


def test_health_says_when_nobody_works(tmp_path: Path) -> None:
    with make_client(tmp_path) as client:
        client.app.state.service.workers = lambda: 0  # type: ignore[attr-defined]
        assert client.get("/health").json()["status"] == "no_worker"
        assert "talkies_workers 0.0" in client.get("/metrics").text


#: The routes are a promise: changing this list is changing the promise.
ROUTES = {
    "GET /health", "GET /metrics", "GET /v1/files", "GET /v1/files/{file_id}", "POST /v1/files",
    "DELETE /v1/files/{file_id}", "GET /v1/models", "GET /v1/models/{model_id}", "GET /v1/videos", "POST /v1/videos",
    "GET /v1/videos/{video_id}", "DELETE /v1/videos/{video_id}", "GET /v1/videos/{video_id}/content",
    "GET /v1/videos/{video_id}/events", "POST /v1/videos/{video_id}/cancel", "POST /v1/videos/{video_id}/retry",
}  # fmt: skip


def test_the_routes_and_fields_promised(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods} == ROUTES
    fields = schema["paths"]["/v1/videos"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert set(fields) == {
        "audio_guidance_scale", "consent", "directions", "fps", "input_reference", "model", "negative_prompt",
        "num_inference_steps", "prompt", "seconds", "seed", "size", "speakers", "text_guidance_scale", "turns",
    }  # fmt: skip
    parts = schema["components"]["schemas"]
    assert {"SpeakerIn", "TurnIn", "RegionIn", "FileReference", "Video", "ErrorAnswer"} <= set(parts)
