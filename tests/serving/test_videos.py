"""/v1/videos: create, look, cancel, retry, delete, content, events."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service_cases import client as make_client
from service_cases import everything_below, form, picture, voice
from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore, Limits
from talkies.jobs.work import do
from talkies.serving.schemas import VideoCreate
from tiny_generator import Tiny


def _work(store: JobStore) -> None:
    leases = Leases(store)
    while (claim := leases.claim("w")) is not None:
        do(store, leases, claim, Tiny(segments=2, pause=0), threading.Event())


def _store(client: TestClient) -> JobStore:
    store: JobStore = client.app.state.service.store  # type: ignore[attr-defined]
    return store


def test_from_form_to_video(client: TestClient) -> None:
    created = client.post("/v1/videos", **form(seed="3", fps="12.5", num_inference_steps="4", size="160x96"))
    assert created.status_code == 200, created.text
    video = created.json()
    assert video["status"] == "queued" and video["seconds"] == "0.9" and video["size"] == "160x96"
    assert video["model"] == "tiny" and int(created.headers["openai-poll-after-ms"]) > 0
    task = _store(client).get(video["id"]).task
    assert (task.seed, task.fps, task.num_inference_steps) == (3, "25/2", 4)
    names = {path.name for path in (_store(client).folder(video["id"]) / "inputs").iterdir()}
    assert names == {"image-0.png", "audio-1.flac", "audio-2.flac"}
    url = f"/v1/videos/{video['id']}"
    assert client.get(f"{url}/content").status_code == 404
    _work(_store(client))
    done = client.get(url).json()
    assert done["status"] == "completed" and done["progress"] == 100 and done["completed_at"] >= done["created_at"]
    content = client.get(f"{url}/content")
    assert content.headers["content-type"] == "video/mp4" and content.content[4:8] == b"ftyp"
    assert content.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"{url}/content", headers={"Range": "bytes=4-7"}).content == b"ftyp"
    assert client.get(f"{url}/content?variant=thumbnail").content[8:12] == b"WEBP"
    assert client.get(f"{url}/content?variant=spritesheet").content[:3] == b"\xff\xd8\xff"
    assert client.get(f"{url}/content?variant=preview").content[:3] == b"\xff\xd8\xff"
    assert client.get(f"{url}/content?variant=other").status_code == 400
    assert client.delete(url).json() == {"id": video["id"], "object": "video.deleted", "deleted": True}
    assert client.get(url).status_code == 404
    assert everything_below(_store(client).root) == set()


def test_null_is_as_good_as_nothing(client: TestClient) -> None:
    for name in VideoCreate.model_fields:
        answer = client.post("/v1/videos", json={"consent": "drawn", name: None})
        assert answer.status_code == 400, (name, answer.text)


def test_json_with_data_urls_and_uploaded_files(client: TestClient) -> None:
    uploaded = client.post("/v1/files", files={"file": ("x", picture())}, data={"purpose": "vision"}).json()
    assert uploaded["kind"] == "image" and (uploaded["width"], uploaded["height"]) == (160, 96)
    spoken = "data:audio/wav;base64," + base64.b64encode(voice()).decode()
    body = {
        "input_reference": {"file_id": uploaded["id"]},
        "speakers": [{"name": "Ana", "audio": spoken}, {"name": "Ben", "text": "Hello."}],
        "turns": [{"speaker": "Ana"}, {"speaker": "Ben", "start": 1.5}],
        "consent": "drawn",
    }
    created = client.post("/v1/videos", json=body)
    assert created.status_code == 200, created.text
    assert created.json()["seconds"] == "0" and created.json()["size"] == "auto"  # a text's length is not known yet
    assert client.delete(f"/v1/files/{uploaded['id']}").json()["deleted"]
    assert client.get(f"/v1/files/{uploaded['id']}").status_code == 404
    conversation = _store(client).get(created.json()["id"]).task.conversation
    assert (_store(client).folder(created.json()["id"]) / conversation.image).is_file()


@pytest.mark.parametrize(("pause", "seconds"), [(0.5, "1.4"), (-0.2, "0.7"), (0, "0.9")])
def test_a_turn_comes_after_a_pause_or_before_the_one_before_ends(
    client: TestClient, pause: float, seconds: str
) -> None:
    turns = json.dumps([{"speaker": "Ana"}, {"speaker": "Ben", "pause": pause}])
    created = client.post("/v1/videos", **form(turns=turns))
    assert created.status_code == 200, created.text
    assert created.json()["seconds"] == seconds
    second = _store(client).get(created.json()["id"]).task.conversation.turn_list()[1]
    assert (second.start, second.pause) == (None, pause)


def test_directions_reach_the_conversation(client: TestClient) -> None:
    turns = json.dumps([{"speaker": "Ana", "does": "nods"}, {"speaker": "Ben"}])
    directions = json.dumps([{"speaker": "Ben", "does": "smiles", "start": 0.2}])
    created = client.post("/v1/videos", **form(turns=turns, directions=directions))
    assert created.status_code == 200, created.text
    conversation = _store(client).get(created.json()["id"]).task.conversation
    assert [turn.does for turn in conversation.turn_list()] == ["nods", None]
    assert [(each.speaker, each.does, each.start, each.end) for each in conversation.directions] == [
        ("Ben", "smiles", 0.2, None)
    ]


def test_a_listener_reacts_without_words(client: TestClient) -> None:
    """The video lasts until the reaction is over."""
    speakers = json.dumps([{"name": "Ana", "audio": "attach://ana"}, {"name": "Ben"}])
    turns = json.dumps([{"speaker": "Ana"}, {"speaker": "Ben", "does": "nods", "start": 0.25}])
    created = client.post("/v1/videos", **form(speakers=speakers, turns=turns))
    assert created.status_code == 200, created.text
    assert created.json()["seconds"] == "2.25"
    reaction = _store(client).get(created.json()["id"]).task.conversation.turn_list()[1]
    assert (reaction.speaker, reaction.does, reaction.says_something) == ("Ben", "nods", False)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"consent": None}, "consent_missing", "consent"),
        ({"speakers": None, "turns": None}, "missing_speakers", "Who speaks?"),
        ({"speakers": '[{"name": "Ana"}]', "turns": None}, "invalid_input", "nobody speaks"),
        ({"speakers": '[{"audio": "attach://zoe"}]'}, "invalid_reference", "no file part"),
        ({"speakers": '[{"audio": "/etc/passwd"}]'}, "invalid_reference", "not read"),
        ({"speakers": '[{"audio": "http://127.0.0.1/x.wav"}]'}, "invalid_reference", "not read"),
        ({"speakers": '[{"audio": "file-00000000000000000000000000000000"}]'}, "invalid_reference", "no file"),
        ({"speakers": '[{"audio": "file-../../../etc"}]'}, "invalid_reference", "no file"),
        ({"speakers": '[{"audio": "data:audio/wav;base64,!!!"}]'}, "invalid_reference", "base64"),
        ({"speakers": "[{"}, "invalid_value", "JSON"),
        ({"speakers": "[" * 100_000}, "invalid_value", "JSON"),
        ({"speakers": '[{"audio": "attach://ana", "box": [1]}]'}, "invalid_value", "box"),
        ({"speakers": '[{"audio": "attach://ana", "region": {"box": [9, 0, 3, 4]}}]'}, "invalid_input", "empty"),
        ({"turns": '[{"speaker": "Zoe"}]'}, "invalid_input", "Zoe"),
        ({"turns": "sometimes"}, "invalid_value", "turns"),
        ({"turns": '[{"speaker": "Ana"}, {"speaker": "Ben", "pause": -61}]'}, "invalid_value", "turns[1].pause"),
        ({"turns": '[{"speaker": "Ana", "x-y": 1}]'}, "invalid_value", "turns[0].x-y"),
        ({"turns": "[{}]"}, "invalid_value", "turns[0].speaker"),
        ({"directions": '[{"speaker": "Zoe", "does": "nods", "start": 0}]'}, "invalid_input", "Zoe"),
        ({"directions": '[{"does": "nods"}]'}, "invalid_value", "directions[0].start"),
        ({"turns": '[{"speaker": "Ana", "start": 1, "pause": 1}, {"speaker": "Ben"}]'}, "invalid_input", "not both"),
        ({"model": "sora-2"}, "model_not_found", "only tiny, other"),
        ({"size": "161x96"}, "invalid_size", "multiples of 16"),
        ({"size": "9999x96"}, "invalid_size", "4096"),
        ({"seconds": "-1"}, "invalid_value", "seconds"),
        ({"seconds": "nan"}, "invalid_value", "seconds"),
        ({"fps": "1e9"}, "invalid_value", "fps"),
        ({"seed": str(2**63)}, "invalid_value", "seed"),
        ({"path": "../x"}, "invalid_value", "path"),
        ({"prompt": "x" * 5_000}, "invalid_value", "prompt"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(
    client: TestClient, changes: dict[str, str | None], code: str, words: str
) -> None:
    refused = client.post("/v1/videos", **form(**changes))
    error = refused.json()["error"]
    assert refused.status_code == 400 and error["code"] == code and words in error["message"], refused.text
    assert client.get("/v1/videos").json()["data"] == []
    assert everything_below(_store(client).root) == set()


def test_bodies_that_are_no_requests(client: TestClient) -> None:
    for content, kind, status in (
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data; boundary=y", 400),
        (b"x", "multipart/form-data", 400),
        (b"[" * 200_000, "application/json", 400),
    ):
        refused = client.post("/v1/videos", content=content, headers={"content-type": kind})
        assert refused.status_code == status and refused.json()["error"]["message"], (content[:10], refused.text)


def test_what_is_given_twice_is_refused(client: TestClient) -> None:
    arguments = form()
    files = [*arguments["files"].items(), ("ana", ("other.wav", voice(0.3)))]
    twice = client.post("/v1/videos", data=arguments["data"], files=files).json()["error"]
    assert twice["code"] == "invalid_form" and twice["message"] == "ana is given twice."
    arguments = form(**{"input_reference[file_id]": "file-0"})
    assert "twice" in client.post("/v1/videos", **arguments).json()["error"]["message"]


def test_files_come_in_pages_by_their_names(client: TestClient) -> None:
    names = ["a.wav", "Ána.wav", r"C:\voices\b.wav"]
    made = [client.post("/v1/files", files={"file": (name, voice(0.1))}) for name in names]
    assert [answer.json()["filename"] for answer in made] == ["a.wav", "Ána.wav", "b.wav"]
    ids = [answer.json()["id"] for answer in made]
    for order, wanted in (("asc", ids), ("desc", ids[::-1])):
        found, after, more = [], {}, True
        while more:
            page = client.get("/v1/files", params={"limit": 2, "order": order, **after}).json()
            found += [file["id"] for file in page["data"]]
            after, more = {"after": found[-1]}, page["has_more"]
        assert found == wanted
    assert client.get("/v1/files", params={"after": "file-0"}).status_code == 404


def test_the_same_idempotency_key_gives_the_same_video(client: TestClient) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/videos", headers=headers, **form()).json()
    assert client.post("/v1/videos", headers=headers, **form()).json()["id"] == first["id"]
    assert client.post("/v1/videos", headers=headers, **form(seed="9")).status_code == 409
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_pages(client: TestClient) -> None:
    from queue_cases import insert

    insert(_store(client), 5)
    first = client.get("/v1/videos?limit=3").json()
    assert len(first["data"]) == 3 and first["has_more"] and first["last_id"] == first["data"][-1]["id"]
    rest = client.get(f"/v1/videos?limit=3&after={first['last_id']}").json()
    assert len(rest["data"]) == 2 and not rest["has_more"]
    assert client.get("/v1/videos?order=asc").json()["data"][0]["id"] == rest["last_id"]
    assert client.get("/v1/videos?limit=0").status_code == 400
    assert client.get("/v1/videos?after=video_x").status_code == 404


def test_cancel_retry_and_events(client: TestClient) -> None:
    video = client.post("/v1/videos", **form()).json()
    url = f"/v1/videos/{video['id']}"
    assert client.delete(f"{url}x").status_code == 404
    cancelled = client.post(f"{url}/cancel").json()
    assert cancelled["status"] == "failed" and cancelled["error"]["code"] == "cancelled"
    assert client.post(f"{url}/retry").json()["status"] == "queued"
    assert client.post(f"{url}/retry").status_code == 409
    thread = threading.Thread(target=_work, args=(_store(client),))
    thread.start()
    with client.stream("GET", f"{url}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    thread.join()
    assert lines[-2] == "event: video.completed" and json.loads(lines[-1].removeprefix("data: "))["progress"] == 100
    assert client.get("/v1/videos/video_x/events").status_code == 404


def test_a_full_queue_answers_429_and_when_to_come_back(tmp_path: Path) -> None:
    with make_client(tmp_path, limits=Limits(free_bytes=0, active_per_owner=1)) as client:
        assert client.post("/v1/videos", **form()).status_code == 200
        full = client.post("/v1/videos", **form())
        assert full.status_code == 429 and int(full.headers["retry-after"]) >= 1
        assert full.json()["error"] | {"message": ""} == {
            "message": "", "type": "rate_limit_error", "param": None, "code": "quota_exceeded",
        }  # fmt: skip
    with make_client(tmp_path, limits=Limits(free_bytes=1 << 60)) as client:
        assert client.post("/v1/videos", **form()).json()["error"]["code"] == "disk_full"
        assert client.get("/health").status_code == 503
