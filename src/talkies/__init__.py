"""Talkies: a picture of people, one voice per person and a prompt become a video in which they talk to each other.

Names below are loaded when they are used: `import talkies` itself reads neither torch nor diffusers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from talkies.version import __version__

if TYPE_CHECKING:
    from talkies.checkpoints import load_official, open_transformer, to_official
    from talkies.checkpoints.lora import load_lora
    from talkies.domain.conversation import Conversation, Speaker
    from talkies.domain.errors import InputError, TalkiesError
    from talkies.models.audio_encoder import Wav2Vec2SpeechEncoder
    from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
    from talkies.models.autoencoder_reference import AutoencoderReference
    from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
    from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
    from talkies.runtime.profile import RuntimeProfile

_HOMES = {
    "AutoencoderReference": "talkies.models.autoencoder_reference",
    "Conversation": "talkies.domain.conversation",
    "InputError": "talkies.domain.errors",
    "MultiTalkPipeline": "talkies.pipelines.pipeline_multitalk",
    "MultiTalkTransformer3DModel": "talkies.models.transformer_multitalk",
    "RuntimeProfile": "talkies.runtime.profile",
    "Speaker": "talkies.domain.conversation",
    "TalkiesError": "talkies.domain.errors",
    "Wav2Vec2SpeechEncoder": "talkies.models.audio_encoder",
    "WhisperSpeechEncoder": "talkies.models.audio_encoder_whisper",
    "load_lora": "talkies.checkpoints.lora",
    "load_official": "talkies.checkpoints",
    "open_transformer": "talkies.checkpoints",
    "to_official": "talkies.checkpoints",
}

__all__ = [
    "AutoencoderReference",
    "Conversation",
    "InputError",
    "MultiTalkPipeline",
    "MultiTalkTransformer3DModel",
    "RuntimeProfile",
    "Speaker",
    "TalkiesError",
    "Wav2Vec2SpeechEncoder",
    "WhisperSpeechEncoder",
    "__version__",
    "load_lora",
    "load_official",
    "open_transformer",
    "to_official",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'talkies' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
