"""The contract: the real `openai` client makes, polls and downloads a two-person video."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

openai = pytest.importorskip("openai")
pytest.importorskip("fastapi", reason="needs talkies[serve]")
sys.path.append(str(Path(__file__).parents[1] / "serving"))

from served import Served, served  # noqa: E402
from service_cases import picture, voice  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the client warns of the end of somebody else's service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a drawing worker, in processes of its own."""
    with served(tmp_path_factory.mktemp("contract") / "queue") as running:
        yield running


@pytest.fixture
def client(service: Served) -> openai.OpenAI:
    """The client, pointed at it."""
    return openai.OpenAI(base_url=service.url, api_key="not needed here", max_retries=0, timeout=120)


def test_two_people_talk(client: openai.OpenAI, tmp_path: Path) -> None:
    voices = [client.files.create(file=("v.wav", voice(length)), purpose="user_data") for length in (0.5, 0.4)]
    assert client.files.retrieve(voices[0].id) == voices[0]
    video = client.videos.create_and_poll(
        prompt="Two friends talk.",
        model="tiny",
        input_reference=("photo.png", picture(), "image/png"),
        extra_body={
            "speakers": json.dumps(
                [
                    {"name": "Ana", "audio": voices[0].id, "region": {"box": [0, 0, 80, 96]}},
                    {"name": "Ben", "audio": voices[1].id, "region": {"box": [80, 0, 160, 96]}},
                ]
            ),
            "turns": json.dumps([{"speaker": "Ana"}, {"speaker": "Ben", "start": 0.6}]),
            "audio_guidance_scale": 4,
            "num_inference_steps": 8,
            "seed": 7,
            "fps": 25,
            "consent": "drawn",
        },
    )
    assert video.status == "completed" and video.progress == 100 and video.error is None, video
    assert (video.seconds, video.size, video.model, video.prompt) == ("1", "64x48", "tiny", "Two friends talk.")
    assert video.completed_at is not None and video.expires_at is not None
    content = client.videos.download_content(video.id)
    content.write_to_file(tmp_path / "video.mp4")
    with av.open(str(tmp_path / "video.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == 25 and len(file.streams.audio) == 1
    assert client.videos.download_content(video.id, variant="thumbnail").read()[8:12] == b"WEBP"
    assert client.videos.download_content(video.id, variant="spritesheet").read()[:3] == b"\xff\xd8\xff"


def test_references_by_object(client: openai.OpenAI) -> None:
    image = client.files.create(file=io.BytesIO(picture()), purpose="vision")
    spoken = client.files.create(file=io.BytesIO(voice()), purpose="user_data")
    video = client.videos.create(
        prompt="x",
        extra_body={
            "input_reference": {"file_id": image.id},  # as an argument the client takes files only
            "speakers": json.dumps([{"audio": spoken.id}]),
            "consent": "drawn",
        },
        extra_headers={"Idempotency-Key": "references"},
    )
    assert client.videos.poll(video.id).status == "completed"
    for file in (image, spoken):
        assert client.files.delete(file.id).deleted


def test_lists_deletes_and_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "other"]
    assert client.models.retrieve("tiny").id == "tiny"
    seen = [video.id for video in client.videos.list(limit=1)]  # over all pages
    assert len(seen) == len(set(seen))
    for video_id in seen:
        assert client.videos.delete(video_id).deleted
    assert list(client.videos.list()) == []


def test_errors_are_the_client_s_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.videos.retrieve("video_0")
    assert missing.value.code == "not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.videos.create(prompt="x", model="sora-2")
    assert refused.value.code == "model_not_found" and refused.value.param == "model"
    with pytest.raises(openai.BadRequestError) as broken:
        client.files.create(file=b"nothing", purpose="vision")
    assert broken.value.code == "invalid_file"
    spoken = client.files.create(file=("v.wav", voice(0.04)), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="JSON text"):
        client.videos.create(prompt="x", extra_body={"speakers": [{"audio": spoken.id}]})
