"""Laws of the mouth: closures close, shapes stay in range, what comes next shows early, louder is wider."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.domain.errors import InputError
from talkies.stage.alignment import SILENCE, Phone
from talkies.stage.curves import GRID_RATE, grid_length
from talkies.stage.performance import FACE_UNITS
from talkies.stage.visemes import BILABIAL, LABIODENTAL, VISEMES, mouth_shapes

COLUMN = {name: k for k, name in enumerate(FACE_UNITS)}
LABELS = sorted((set(VISEMES) - {"OH"}) | {"AY", "AW", "EY", "OW", "OY"})


def lay(labels_and_lengths) -> tuple[Phone, ...]:
    phones, now = [], 0.0
    for label, length in labels_and_lengths:
        phones.append(Phone(label, now, now + length))
        now += length
    return tuple(phones)


def parting(units: np.ndarray) -> np.ndarray:
    """What drives the lips apart, after what closes them: 0 means shut."""
    names = ("mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
    return units[:, COLUMN["jawOpen"]] - units[:, COLUMN["mouthClose"]] + sum(units[:, COLUMN[name]] for name in names)


speech = st.lists(st.tuples(st.sampled_from(LABELS), st.floats(0.03, 0.3)), min_size=1, max_size=25).map(lay)


@settings(deadline=None, max_examples=60)
@given(speech, st.floats(0.8, 1.3), st.floats(0, 0.04))
def test_lips_are_shut_at_the_frame_nearest_to_every_bilabial(phones, strength, shift) -> None:
    phones = tuple(phone.shifted(shift) for phone in phones)
    units = mouth_shapes(phones, phones[-1].end, strength=strength)
    assert units.min() >= 0
    assert units.max() <= 1
    at_frames = units[4::8]  # (f + 0.5) / 25 s
    for phone in phones:
        frame = int(phone.centre * 25)
        if phone.label in BILABIAL and frame < len(at_frames):
            assert parting(at_frames[frame : frame + 1])[0] < 1e-6
        if phone.label in LABIODENTAL and frame < len(at_frames):
            assert at_frames[frame, COLUMN["mouthRollLower"]] > 0.1


@settings(deadline=None, max_examples=25)
@given(speech)
def test_no_jumps(phones) -> None:
    units = mouth_shapes(phones, phones[-1].end)
    assert np.abs(np.diff(units, axis=0)).max() < 0.2  # per 5 ms


@pytest.mark.parametrize("vowel", ["AA", "AE", "AO", "EH", "AY", "OW"])
def test_open_vowels_open_between_closures(vowel) -> None:
    phones = lay([(SILENCE, 0.3), ("M", 0.08), (vowel, 0.16), ("P", 0.09), (SILENCE, 0.3)])
    units = mouth_shapes(phones, phones[-1].end, np.ones(grid_length(phones[-1].end)))
    assert units[round(0.45 * GRID_RATE), COLUMN["jawOpen"]] > 0.2
    assert parting(units)[round(0.45 * GRID_RATE)] > 0.3


def test_rounding_comes_before_the_rounded_vowel() -> None:
    plain = lay([("AH", 0.2), ("S", 0.1), ("T", 0.08), ("IY", 0.2)])
    rounded = lay([("AH", 0.2), ("S", 0.1), ("T", 0.08), ("UW", 0.2)])
    moment = round(0.30 * GRID_RATE)  # 80 ms before the vowel
    early = mouth_shapes(rounded, 0.6)[moment] - mouth_shapes(plain, 0.6)[moment]
    assert early[COLUMN["mouthPucker"]] > 0.05


def test_silence_shuts_the_mouth() -> None:
    assert np.abs(parting(mouth_shapes((), 1.0))).max() < 1e-9
    phones = lay([("AA", 0.2), (SILENCE, 0.6), ("IY", 0.2)])
    assert parting(mouth_shapes(phones, 1.0))[round(0.5 * GRID_RATE)] < 0.01
    after = mouth_shapes(lay([("AA", 0.2)]), 2.0)
    assert np.abs(parting(after[-100:])).max() < 0.01


def test_louder_and_clearer_open_wider() -> None:
    phones = lay([("D", 0.1), ("AA", 0.2), ("D", 0.1)])
    count = grid_length(phones[-1].end)
    quiet, loud = (mouth_shapes(phones, 0.4, np.full(count, level)) for level in (0.0, 1.0))
    mumbled, clear = (mouth_shapes(phones, 0.4, strength=strength) for strength in (0.6, 1.3))
    for small, large in ((quiet, loud), (mumbled, clear)):
        assert large[40, COLUMN["jawOpen"]] > 1.2 * small[40, COLUMN["jawOpen"]]


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="XX"):
        mouth_shapes((Phone("XX", 0, 1),), 1.0)
    with pytest.raises(InputError, match="strength"):
        mouth_shapes((), 1.0, strength=3)
