"""How tests run the command: the call and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The last line of the errors: where the reason stands."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


Talkies = Callable[..., Result]
