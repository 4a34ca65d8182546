"""How a sample is cut into what metrics see: the paper's halves, or everybody where they are.

- `tracks`: every person by their own face track, any number, any placement. For one person this is the usual protocol
  of talking heads and talking bodies.
- `halves`: two people; the left and the right half of the picture are videos of one person with that person's voice,
  and their numbers are averaged (the paper's protocol for its dual-human set).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.faces import Blocks
from talkies.evaluation.sample import Person, Sample

Protocol = Callable[[Sample], tuple[Sample, ...]]


@dataclass(frozen=True)
class Half:
    """The left or right half of a video; the middle column of an odd width belongs to the right one."""

    video: Blocks
    right: bool

    def blocks(self, size: int = 64) -> Iterator[NDArray[np.uint8]]:
        """See `VideoFile.blocks`."""
        for block in self.video.blocks(size):
            yield half_of(block, self.right)


def half_of(pictures: NDArray[np.uint8], right: bool) -> NDArray[np.uint8]:
    """Half of `[..., H, W, 3]`."""
    middle = pictures.shape[-2] // 2
    return pictures[..., middle:, :] if right else pictures[..., :middle, :]


def tracks(sample: Sample) -> tuple[Sample, ...]:
    """The sample as it is."""
    return (sample,)


def halves(sample: Sample) -> tuple[Sample, ...]:
    """Left and right half, one person each.

    Raises:
        InputError: There are not two people.
    """
    if len(sample.people) != 2:
        reason = f"{sample.key} has {len(sample.people)} people; the protocol of halves needs two."
        raise InputError(sample.failure or reason)
    return tuple(
        replace(
            sample,
            key=f"{sample.key}#{'right' if right else 'left'}",
            video=Half(sample.video, right),
            people=(_in_half(sample.people[right], right),),
            reference=None if sample.reference is None else half_of(sample.reference, right),
        )
        for right in (False, True)
    )


def _in_half(person: Person, right: bool) -> Person:
    if person.face_box is None:
        return person
    left, top, end, bottom = person.face_box
    return replace(person, face_box=(2 * left - right, top, 2 * end - right, bottom))


PROTOCOLS: dict[str, Protocol] = {"tracks": tracks, "halves": halves}


def protocol(name: str) -> Protocol:
    """A protocol by its name.

    Raises:
        InputError: There is none.
    """
    if name not in PROTOCOLS:
        raise InputError(f"There is no protocol {name}.", f"Choose from {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
