"""Sound at another rate: tones stay in place, what does not fit is dropped."""

from __future__ import annotations

import numpy as np
import pytest

from talkies.media.resampling import resample


@pytest.mark.parametrize("rate", [8000, 14400, 16000, 18400, 22050, 24000, 25920])
def test_resampling_keeps_tones_in_place_and_drops_what_does_not_fit(rate) -> None:
    times = np.arange(rate) / rate
    found = resample(np.sin(2 * np.pi * 440 * times).astype(np.float32), rate)
    wanted = np.sin(2 * np.pi * 440 * np.arange(len(found)) / 16000)
    assert abs(len(found) - 16000) <= 1
    assert np.abs(found - wanted)[400:-400].max() < 0.01  # the same phase: nothing is delayed
    if rate > 20000:
        high = resample(np.sin(2 * np.pi * 9500 * times).astype(np.float32), rate)
        assert np.abs(high)[400:-400].max() < 0.01
