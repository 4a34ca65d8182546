"""What a speech engine is, and what the engines share."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError

#: A sentence takes an engine a second or two; one that takes longer than this hangs.
SECONDS_LIMIT = 120
#: What is below this at either end of an utterance is silence of the engine's own, full scale 1.
_SILENCE = 0.004
#: Silence left at both ends, in seconds.
_MARGIN = 0.03

Gender = Literal["woman", "man", ""]


@dataclass(frozen=True)
class Voice:
    """A synthetic voice.

    Attributes:
        name: How conversations call it, as in `jf_alpha` or `f3`.
        engine: Name of the engine that has it.
        label: For people to read.
        gender: What it sounds like.
    """

    name: str
    engine: str
    label: str
    gender: Gender = ""


@dataclass(frozen=True)
class Speech:
    """Something said.

    Attributes:
        samples: `[n]` float32, full scale 1.
        rate: In Hz.
    """

    samples: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate

    def trimmed(self) -> Speech:
        """Without the silence around it, so that a pause is as long as it is written."""
        loud = np.flatnonzero(np.abs(self.samples) > _SILENCE)
        if len(loud) == 0:
            return self
        margin = round(_MARGIN * self.rate)
        return Speech(self.samples[max(0, loud[0] - margin) : loud[-1] + 1 + margin], self.rate)


class SpeechEngine(Protocol):
    """A program or library that speaks texts."""

    name: str

    def languages(self) -> Mapping[str, str]:
        """Codes (`en-gb`, `ja`) and names of what it speaks; empty when it is not installed."""
        ...

    def voices(self, language: str) -> Sequence[Voice]:
        """Its voices for a language, the best first; empty for one it does not speak."""
        ...

    def speak(self, text: str, voice: Voice, language: str) -> Speech:
        """Speaks a text.

        Raises:
            InputError: It cannot be spoken.
        """
        ...


def match(language: str, known: Mapping[str, str]) -> str | None:
    """The known language that is meant: `en_GB` is `en-gb`, `de-at` falls back on `de`, `fr` finds `fr-fr`."""
    code = language.lower().replace("_", "-")
    while code:
        if code in known:
            return code
        code = code.rpartition("-")[0]
    start = language.lower().replace("_", "-").split("-")[0]
    return next((entry for entry in sorted(known) if entry.split("-")[0] == start), None)


def run(arguments: Sequence[str], stdin: str = "") -> bytes:
    """Runs a speech program without a shell; returns what it wrote to its standard output.

    Raises:
        InputError: It failed, hangs, or is not there.
    """
    name = arguments[0]
    try:
        finished = subprocess.run(
            list(arguments), input=stdin.encode(), capture_output=True, timeout=SECONDS_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{name} did not finish within {SECONDS_LIMIT} s.", "Give shorter lines.") from None
    except OSError as error:
        raise InputError(f"{name} cannot be started: {error.strerror or error}.") from None
    if finished.returncode:
        reason = " ".join(finished.stderr.decode("utf-8", "replace").split())[-200:]
        raise InputError(f"{name} failed: {reason or f'exit code {finished.returncode}'}.")
    return finished.stdout
