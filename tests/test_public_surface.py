"""The public names are a promise: changing this list is changing the promise."""

from __future__ import annotations

import subprocess
import sys

import talkies

PUBLIC = {
    "AutoencoderReference", "Conversation", "InputError", "MultiTalkPipeline", "MultiTalkTransformer3DModel",
    "RuntimeProfile", "Speaker", "TalkiesError", "Wav2Vec2SpeechEncoder", "WhisperSpeechEncoder", "__version__",
    "load_lora", "load_official", "open_transformer", "to_official",
}  # fmt: skip
VERBS = {
    "caption", "data", "doctor", "evaluate", "generate", "keys", "models", "nano", "people", "schema", "serve", "stage",
    "studio", "train", "verify", "voices", "worker",
}  # fmt: skip


def test_public_names() -> None:
    assert set(talkies.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(talkies, name) is not None


def test_importing_the_package_and_its_command_reads_no_torch() -> None:
    code = "import sys, talkies, talkies.cli.main; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_verbs_of_the_command() -> None:
    from talkies.cli.main import app

    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    groups = {g.name for g in app.registered_groups}
    assert commands | groups == VERBS
