"""Openings from phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from talkies.domain.errors import InputError
from talkies.evaluation.lips import closed_lips
from talkies.evaluation.phones import OPENNESS, phone_opening, read_phones


def test_vowels_open_and_bilabials_close() -> None:
    phones = (("AA1", 0.2, 0.4), ("M", 0.4, 0.56), ("AE", 0.56, 0.8))
    opening = phone_opening(phones, 30)
    assert opening.shape == (30,) and opening.min() >= 0 and opening.max() <= 1
    assert opening[7] > 0.9 and opening[17] > 0.85 and opening[12] < 0.1
    assert opening[0] < 0.01 and opening[-1] < 0.01
    assert np.allclose(phone_opening((), 5), 0)
    assert {OPENNESS[label] for label in "PBM"} == {0.0}


def test_label_files(tmp_path: Path) -> None:
    path = tmp_path / "a.lab"
    path.write_text("0.00\t0.10\tSIL\n0.10 0.25 aa1\n")
    assert read_phones(path) == (("SIL", 0.0, 0.1), ("aa1", 0.1, 0.25))
    path.write_text("0.0 0.1\n")
    with pytest.raises(InputError, match="holds no phones"):
        read_phones(path)
    with pytest.raises(InputError, match="is no phone"):
        phone_opening((("QQ", 0.0, 1.0),), 10)


def test_lips_that_never_rest_are_not_called_closed() -> None:
    talking = np.tile([0.02, 0.02, 0.2, 0.4, 0.2], 8)
    assert closed_lips(talking).tolist() == [1, 1, 0, 0, 0] * 8
    assert (closed_lips(np.full(40, 0.03)) == 1).all()
    assert np.isnan(closed_lips(np.full(40, 0.3))).all()
