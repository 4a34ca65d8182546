"""Why a clip is left out: one word for counting, one line for reading."""

from __future__ import annotations

from typing import Literal, get_args

Reason = Literal[
    "broken video", "duplicate", "process died",
    "no sound", "too quiet", "clipped sound", "no speech", "noisy sound",
    "no face", "too many people", "somebody comes or goes", "people do not fit", "too small", "hidden person",
    "small face", "unsure face", "turned away", "blurred", "too dark", "too bright", "still picture",
    "who speaks is unknown", "voices and faces differ", "caption failed",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)


class LeftOutError(Exception):
    """This clip (or video) cannot be used.

    Args:
        reason: For counting. detail: What was measured, in a few words.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: Reason = reason
        self.detail = detail
