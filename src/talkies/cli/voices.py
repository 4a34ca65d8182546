"""Texts spoken by whatever synthetic voice the machine has: Kokoro, flite or espeak-ng."""

from __future__ import annotations

from pathlib import Path

from talkies.domain.conversation import Speaker
from talkies.domain.errors import InputError, MissingDependencyError

_FLITE = ("slt", "rms", "awb", "kal16", "kal")
#: espeak-ng variants by turns, so that two people do not sound alike.
_VARIANTS = ("f3", "m3", "f2", "m7")
_KOKORO_PREFIXES = ("jf_", "jm_")


def speak(text: str, speaker: Speaker, person: int, path: Path) -> tuple[Path, str]:
    """Speaks a text into a wav file.

    Args:
        text: What to say.
        speaker: Their voice and language count.
        person: Their position, which chooses a voice where none is named.
        path: The file to write.

    Returns:
        The file, and a note for the user when another voice than the one named had to speak.

    Raises:
        InputError: The voice or the language is unknown.
        MissingDependencyError: No speech engine is installed.
    """
    import soundfile

    from talkies.stage import engines

    wanted = (speaker.voice or "").lower()
    english = speaker.language.lower().startswith("en")
    note = ""
    if wanted.startswith(_KOKORO_PREFIXES) and english and engines.kokoro_available():
        samples, rate = engines.kokoro(text, ((wanted, 1.0),), 1.0)
    elif wanted in _FLITE and english and engines.flite_available():
        samples, rate = engines.flite(text, wanted, 120.0 if wanted != "slt" else 170.0, 1.0)
    else:
        variant = _variant(wanted, person, engines.espeak_variants())
        base = f"{speaker.language.lower().replace('_', '-')}+{variant}"
        if wanted and wanted not in (variant, base):
            note = f"The voice {speaker.voice!r} is not installed here: espeak-ng speaks as {base}."
        try:
            samples, rate = engines.espeak(text, base, 50, 1.0)
        except InputError as error:
            raise InputError(
                f"The text of {speaker.name!r} cannot be spoken: {error.args[0]}",
                f"Is {speaker.language!r} a language espeak-ng knows (`espeak-ng --voices`)?",
            ) from None
    soundfile.write(path, samples, round(rate))
    return path, note


def _variant(wanted: str, person: int, known: frozenset[str]) -> str:
    if not known:
        raise MissingDependencyError(
            "There is no speech engine to speak a text.",
            "apt-get install espeak-ng (brew install espeak-ng), or give recordings.",
        )
    name = wanted.rpartition("+")[2]
    if name in known:
        return name
    # Many names tell a woman's voice from a man's: af_heart, am_adam.
    sex = {"f": "f3", "m": "m3"}.get(wanted[1:2] if wanted[2:3] == "_" else "")
    return sex or _VARIANTS[person % len(_VARIANTS)]
