"""Content credentials, consent and the record."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError, TalkiesError
from talkies.media.staging import staged
from talkies.media.video import Format, VideoSettings, VideoWriter
from talkies.provenance import consent, credentials
from talkies.provenance.record import GenerationRecord, Source, mark_identity, sha256_of, source, weights_source


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALKIES_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


RECORD = GenerationRecord(
    model="tiny", model_files=(Source("w.safetensors", "0" * 64),), sources=(Source("p.png", "1" * 64),),
    prompt="two talk", negative_prompt="", people=("a: whole picture",), seed=3, settings={"steps": 2},
    consent=consent.Consent("they agreed", "option", "2026-11-22"), credentials="embedded", mark="beef", device="cpu",
)  # fmt: skip


def video(path: Path, kind: Format = "mp4") -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 96, 3), dtype=np.uint8)
    with (
        staged(path) as temporary,
        VideoWriter(temporary, FrameSize(96, 64), VideoSettings(kind, metadata=RECORD.tags())) as writer,
    ):
        writer.write(noise)
    return path


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_signed_files_say_what_they_are(tmp_path: Path, kind: Format) -> None:
    path = video(tmp_path / f"a.{kind}", kind)
    credentials.sign(path, RECORD, credentials.load_key())
    found = credentials.read(path)
    assert found is not None
    assert found.intact
    assert not found.trusted
    assert found.ai_generated
    assert found.generator.startswith("Talkies")
    assert found.record is not None
    assert found.record["consent"]["statement"] == "they agreed"
    assert found.problems == ()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"a.{kind}", "home"]


def test_a_changed_file_is_found_out(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4")
    credentials.sign(path, RECORD, credentials.load_key())
    data = bytearray(path.read_bytes())
    data[data.find(b"mdat") + 400] ^= 0xFF
    path.write_bytes(data)
    found = credentials.read(path)
    assert found is not None
    assert not found.intact
    assert found.problems


def test_unsigned_and_unsignable_files_have_none(tmp_path: Path) -> None:
    assert credentials.read(video(tmp_path / "a.mp4")) is None
    assert credentials.read(video(tmp_path / "a.webm", "webm")) is None
    assert credentials.media_type(tmp_path / "frames") is None
    (tmp_path / "text.mp4").write_text("hello")
    found = credentials.read(tmp_path / "text.mp4")
    assert found is None or not found.intact


def test_the_self_made_key_is_kept_private_and_used_again(home: Path) -> None:
    first = credentials.load_key()
    assert credentials.load_key() == first
    assert stat.S_IMODE((home / "key.pem").stat().st_mode) == 0o600


def test_own_keys(tmp_path: Path) -> None:
    made, other = credentials.make_key(), credentials.make_key()
    (tmp_path / "c.pem").write_bytes(made.certificates)
    (tmp_path / "k.pem").write_bytes(made.key)
    (tmp_path / "other.pem").write_bytes(other.key)
    (tmp_path / "junk.pem").write_text("junk")
    key = credentials.load_key(tmp_path / "c.pem", tmp_path / "k.pem")
    path = video(tmp_path / "a.mp4")
    credentials.sign(path, RECORD, key)
    assert credentials.read(path) is not None
    for pair in ((tmp_path / "c.pem", None), (None, tmp_path / "k.pem"), (tmp_path / "junk.pem", tmp_path / "k.pem"),
                 (tmp_path / "c.pem", tmp_path / "c.pem"), (tmp_path / "no.pem", tmp_path / "k.pem")):  # fmt: skip
        with pytest.raises(InputError):
            credentials.load_key(*pair)
    before = video(tmp_path / "b.mp4").read_bytes()
    with pytest.raises(TalkiesError, match="could not be written"):
        credentials.sign(tmp_path / "b.mp4", RECORD, credentials.load_key(tmp_path / "c.pem", tmp_path / "other.pem"))
    assert (tmp_path / "b.mp4").read_bytes() == before


def test_consent_is_asked_once(home: Path) -> None:
    assert consent.find(False, None) is None
    assert consent.find(True, None) == consent.Consent(consent.STATEMENT, "option", consent.today())
    assert consent.find(False, "they are drawn") == consent.Consent("they are drawn", "conversation", consent.today())
    consent.remember(consent.Consent(consent.STATEMENT, "asked", "2026-11-22"))
    assert consent.find(False, None) == consent.Consent(consent.STATEMENT, "remembered", "2026-11-22")
    (home / "consent.json").write_text("{broken")
    assert consent.find(False, None) is None
    assert consent.missing().exit_code == 2


def test_names_that_are_no_text_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(b"x")
    record = dataclasses.replace(RECORD, sources=(source(path),))
    assert "caf?.wav" in record.sidecar(None).encode().decode()


def test_hashes_of_fetched_weights_are_not_computed_anew(tmp_path: Path) -> None:
    for name in ("f" * 64, "blob"):
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "fetched.safetensors").symlink_to(tmp_path / ("f" * 64))
    (tmp_path / "own.safetensors").symlink_to(tmp_path / "blob")
    assert weights_source(tmp_path / "fetched.safetensors").sha256 == "f" * 64
    assert weights_source(tmp_path / "own.safetensors").sha256 == sha256_of(tmp_path / "blob")
    assert source(tmp_path / "fetched.safetensors").sha256 == sha256_of(tmp_path / "blob")


def test_the_record_tells_everything() -> None:
    data = json.loads(RECORD.sidecar("f" * 64))
    assert data["ai_generated"] is True
    assert data["seed"] == 3
    assert data["versions"]["torch"]
    assert json.loads(RECORD.tags()["comment"])["model_files"] == ["0" * 16]
    assert 0 <= mark_identity(0, RECORD.sources, "a") < 2**16
    assert mark_identity(0, RECORD.sources, "a") != mark_identity(1, RECORD.sources, "a")
