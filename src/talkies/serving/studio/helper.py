"""A process beside the server that finds people, speaks texts and reads credentials; started by `studio.process`.

The server itself stays small: what these need (a voice model of 100 MB, say) is in memory only while somebody works.
Orders come as lines of JSON on standard input, answers go back as lines of JSON on standard output; after a minute
without an order the process ends.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talkies.media.speech_synthesis.synthesizer import Synthesizer

Order = dict[str, Any]
#: Seconds without an order after which the process ends.
IDLE = 60.0
_MEMORY, _FILE = 6_000_000_000, 400_000_000
#: Regions are measured on a grid of about this many rows and columns.
_GRID = 400


def people(order: Order) -> Order:
    """Who is in a picture: boxes and faces' centres in its pixels, left to right."""
    import numpy as np

    from talkies.media.image import load_image
    from talkies.media.people import Person, find_everybody, masks_at

    picture = load_image(Path(order["image"]))
    faces = find_everybody(picture)
    rows, columns = (np.linspace(0, side - 1, min(side, _GRID)).round() for side in (picture.height, picture.width))
    found = []
    for face, mask in zip(faces, masks_at([Person("", face=face) for face in faces], rows, columns), strict=True):
        inside_rows, inside_columns = rows[mask.any(axis=1)], columns[mask.any(axis=0)]
        box = [inside_columns[0], inside_rows[0], inside_columns[-1] + 1, inside_rows[-1] + 1]
        found.append({"box": [int(value) for value in box], "face": [round(value, 1) for value in face.centre]})
    return {"people": found}


def speech(order: Order) -> Order:
    """Speaks a text into a wav file."""
    engines = _engines(order["command"])
    voice, note = engines.choose(order["voice"], order["language"], order["person"])
    spoken = engines.write(order["text"], voice, order["language"], Path(order["output"]))
    return {"seconds": spoken.seconds, "voice": voice.name, "note": note}


def languages(order: Order) -> Order:
    """What can be spoken."""
    return {"languages": dict(_engines(order["command"]).languages())}


def voices(order: Order) -> Order:
    """The voices for a language, the best first."""
    return {"voices": [asdict(voice) for voice in _engines(order["command"]).voices(order["language"])]}


def credentials(order: Order) -> Order:
    """What a video says about where it comes from."""
    from talkies.provenance.credentials import read

    found = read(Path(order["video"]))
    return {"credentials": None if found is None else asdict(found)}


@cache
def _engines(command: str | None) -> Synthesizer:
    from talkies.media.speech_synthesis.synthesizer import Synthesizer

    return Synthesizer.of_machine(command)


_WORK: dict[str, Callable[[Order], Order]] = {
    work.__name__: work for work in (people, speech, languages, voices, credentials)
}


def _answer(line: bytes) -> Order:
    from talkies.domain.errors import TalkiesError

    try:
        order = json.loads(line)
        return _WORK[order["do"]](order)
    except TalkiesError as error:
        return {"error": str(error)}
    except Exception as error:  # the order is at fault, not the process: it goes on
        return {"error": f"That cannot be done ({type(error).__name__})."}


def main() -> None:
    """Takes orders until there are none."""
    for kind, value in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_FSIZE, _FILE), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints is no answer
    orders = b""
    while select.select([sys.stdin.fileno()], [], [], IDLE)[0]:
        piece = os.read(sys.stdin.fileno(), 65_536)
        if not piece:
            return
        *lines, orders = (orders + piece).split(b"\n")
        for line in lines:
            answers.write(json.dumps(_answer(line)).encode() + b"\n")


if __name__ == "__main__":
    main()
