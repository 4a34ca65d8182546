"""Test people who look too much like somebody of training, and who takes their places.

`python benchmarks/stage_identities.py --people 500 --choose --assets ASSETS` prints this list: a test person is passed
over when a face recogniser (dlib's) finds them nearer to one of the first 500 training people than 95 % of these are to
their nearest. Compared are the people of the test sets and the first 100 test seeds.
"""

from __future__ import annotations

#: Seeds of stand-ins are this far from the seeds they replace, or a multiple of it: no set reaches so far.
APART = 10_000_000
#: Seed that is passed over: seed of the stand-in.
STAND_INS: dict[int, int] = {
    1000021: 11000021,
    1000023: 11000023,
    1000027: 11000027,
    1000062: 21000062,
    1000073: 11000073,
    1000079: 11000079,
    1000092: 11000092,
    1400011: 11400011,
    1400023: 11400023,
    1400032: 11400032,
    1400035: 11400035,
    1400038: 11400038,
    1400048: 11400048,
    1400072: 11400072,
    1400090: 11400090,
    1400095: 11400095,
    1500003: 11500003,
    1500022: 11500022,
    1500058: 11500058,
    1500072: 11500072,
    1600004: 11600004,
    1600007: 11600007,
    1600032: 11600032,
    1600035: 11600035,
    1600058: 11600058,
    1600059: 11600059,
    1700018: 11700018,
    1700019: 11700019,
    1700029: 21700029,
    1700053: 11700053,
    1700054: 11700054,
    1800037: 11800037,
    1800049: 11800049,
    1800065: 11800065,
    1800076: 11800076,
    2000042: 12000042,
    2000056: 12000056,
    2100008: 12100008,
    2100045: 12100045,
    2100048: 12100048,
    2100058: 12100058,
    2100063: 12100063,
    2100069: 12100069,
    2100073: 12100073,
}


def stand_in(seed: int) -> int:
    """Whom to film for a seed: the person of the seed, or another one."""
    return STAND_INS.get(seed, seed)
