"""Errors that say what is wrong, where, and how to mend it."""

from __future__ import annotations


class TalkiesError(Exception):
    """Base of every error a user may see.

    Args:
        message: What is wrong and where, in one line.
        hint: How to mend it, in one line, or an empty string.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]} {self.hint}".strip()


class InputError(TalkiesError, ValueError):
    """The user's input cannot be used: a file, a value, a region. Nothing was written."""

    exit_code = 2


class MissingDependencyError(TalkiesError, ImportError):
    """An optional part is not installed; the hint is the command that installs it."""

    exit_code = 3


class NumericalError(TalkiesError, ArithmeticError):
    """A NaN or infinity appeared; the message names the place."""

    exit_code = 4
