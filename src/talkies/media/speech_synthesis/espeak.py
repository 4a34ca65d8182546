"""espeak-ng: more than a hundred languages in a few megabytes; sounds like a machine, and says so."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Mapping, Sequence

import numpy as np

from talkies.domain.errors import InputError
from talkies.media.speech_synthesis.engine import Gender, Speech, Voice, match, run

PROGRAM = "espeak-ng"
#: Variants that are clearly understood and differ from one another, women and men by turns.
_CHOICE: tuple[tuple[str, Gender], ...] = (
    ("f3", "woman"), ("m3", "man"), ("f2", "woman"), ("m7", "man"), ("f5", "woman"), ("m1", "man"),
    ("f4", "woman"), ("m4", "man"), ("f1", "woman"), ("m8", "man"), ("Annie", "woman"), ("Andy", "man"),
)  # fmt: skip


class Espeak:
    """The Debian program, started with an argument list; the text goes in through standard input."""

    name = "espeak"

    def languages(self) -> Mapping[str, str]:
        """Read from the program once."""
        return _languages()

    def voices(self, language: str) -> Sequence[Voice]:
        """A dozen variants, then all others; every variant speaks every language."""
        if match(language, self.languages()) is None:
            return ()
        known = _variants()
        chosen = [(name, gender) for name, gender in _CHOICE if name in known]
        others = sorted(known.items() - dict(chosen).items())
        return [Voice(name, self.name, f"espeak {name}", gender) for name, gender in [*chosen, *others]]

    def speak(self, text: str, voice: Voice, language: str) -> Speech:
        """At 160 words a minute."""
        code = match(language, self.languages())
        if code is None:
            raise InputError(f"espeak-ng does not speak {language!r}.", "`talkies voices` lists the languages.")
        data = run([PROGRAM, "-v", f"{code}+{voice.name}", "-s", "160", "-b", "1", "--stdin", "--stdout"], text)
        return _read_wav(data)


def phones(word: str, language: str = "en-us") -> str:
    """A text's pronunciation in IPA with stress marks, sounds of two letters tied with `^`."""
    found = run([PROGRAM, "-v", language, "-q", "--ipa", "--tie=^", "-b", "1", "--stdin"], word)
    return " ".join(found.decode("utf-8", "replace").split())


@functools.cache
def _languages() -> Mapping[str, str]:
    if shutil.which(PROGRAM) is None:
        return {}
    rows = [line.split() for line in run([PROGRAM, "--voices"]).decode("utf-8", "replace").splitlines()[1:]]
    known = {row[1]: row[3].replace("_", " ").strip() for row in rows if len(row) > 4}
    aliases = {"en": "en-gb", "fr": "fr-fr", "zh": "cmn", "no": "nb"}
    return {code.lower(): name for code, name in known.items()} | {
        short: known[code] for short, code in aliases.items() if code in known and short not in known
    }


@functools.cache
def _variants() -> Mapping[str, Gender]:
    listing = run([PROGRAM, "--voices=variant"]).decode("utf-8", "replace")
    # Priority, language, age/gender, name (may hold spaces), file: "!v/" and the variant's name.
    found = re.findall(r"^\s*\d+\s+variant\s+\S+/([MF])\s.*?!v/(\S+)", listing, re.MULTILINE)
    return {name: "woman" if sex == "F" else "man" for sex, name in found}


def _read_wav(data: bytes) -> Speech:
    """Mono 16-bit wav from a pipe, whose size fields are wrong."""
    layout, start = data.find(b"fmt ", 12), data.find(b"data", 12)
    if start < 0 or layout < 0:
        raise InputError("espeak-ng returned no sound.", "Check its installation: espeak-ng hello")
    body = data[start + 8 :]
    samples = np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(np.float32) / 32768.0
    return Speech(samples, int.from_bytes(data[layout + 12 : layout + 16], "little"))
