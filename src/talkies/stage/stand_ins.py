"""Test people who look too much like somebody of training, and who takes their places.

`python benchmarks/stage_identities.py --people 500 --choose --assets ASSETS` prints this list: a test person is passed
over when a face recogniser (dlib's) finds them nearer to one of the first 500 training people than 95 % of these are to
their nearest. Compared are the people of the test sets and the first 100 test seeds. Nobody has been chosen yet.
"""

from __future__ import annotations

#: Seeds of stand-ins are this far from the seeds they replace, or a multiple of it: no set reaches so far.
APART = 10_000_000
#: Seed that is passed over: seed of the stand-in.
STAND_INS: dict[int, int] = {}


def stand_in(seed: int) -> int:
    """Whom to film for a seed: the person of the seed, or another one."""
    return STAND_INS.get(seed, seed)
