"""A clip as a film: picture and sound in one file, bad requests refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba")
pytest.importorskip("anny")

from talkies.domain.errors import InputError
from talkies.stage.screening import screen


def test_unknown_set_and_impossible_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no set"):
        screen("test-crowd", 0, 1.0, tmp_path / "film.mp4", None)
    with pytest.raises(InputError, match="cannot be filmed"):
        screen("test-dual", 0, 100.0, tmp_path / "film.mp4", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_film_has_picture_and_sound(tmp_path: Path) -> None:
    import av

    clip = screen("test-dual", 3, 0.5, tmp_path / "film.mp4", None, texture=256)
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == clip.plan.frames
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert film.streams.audio
