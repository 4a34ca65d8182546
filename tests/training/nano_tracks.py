"""Drawn performers, as the stage would write them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from talkies.domain.face_units import FACE_UNITS

FILMED, SIDE = 45, 96
JAW = FACE_UNITS.index("jawOpen")


def draw_track(folder: Path, person: int) -> None:
    """A disc with eyes and a mouth that opens and shuts, swaying a little."""
    rng = np.random.default_rng(person)
    skin = tuple(int(v) for v in rng.integers(90, 240, 3))
    frames = np.zeros((FILMED, SIDE, SIDE, 4), np.uint8)
    points, units = np.zeros((FILMED, 8, 2), np.float32), np.zeros((FILMED, 52), np.float32)
    skin_x, skin_y = (v.ravel() for v in np.meshgrid(np.arange(-20, 21, 2.0), np.arange(-24, 29, 2.0)))
    mesh = np.full((FILMED, len(skin_x), 3), 10, np.float32)
    for k in range(FILMED):
        x, y = 48 + 3 * np.sin(k / 7 + person), 44.0
        units[k, JAW] = jaw = 0.25 + 0.25 * np.sin(k / 2 + person)
        picture = np.ascontiguousarray(frames[k])
        cv2.rectangle(picture, (int(x) - 30, 80), (int(x) + 30, SIDE), (*skin[::-1], 255), -1)
        cv2.ellipse(picture, (int(x), int(y)), (22, 28), 0, 0, 360, (*skin, 255), -1)
        for eye in (-9, 9):
            cv2.circle(picture, (int(x + eye), int(y - 6)), 3, (20, 20, 20, 255), -1)
        cv2.ellipse(picture, (int(x), int(y + 14)), (8, max(1, int(10 * jaw))), 0, 0, 360, (60, 10, 20, 255), -1)
        frames[k] = picture
        spots = ((9, -6), (-9, -6), (0, 4), (8, 14), (-8, 14), (0, 12), (0, 16), (0, 26))
        points[k] = np.array([(x + dx, y + dy) for dx, dy in spots])
        below = skin_y > 14  # below the lips the skin goes down with the jaw
        mesh[k, :, :2] = np.stack([x + skin_x, y + skin_y + np.where(below, 10 * jaw, 0)], 1)
    low = points.min(1)
    path = folder / f"person-{person:07d}-take-00.npy"
    np.save(path, frames)
    words = {"role": "speaker", "mood": "happy"}
    np.savez(
        path.with_suffix(".npz"),
        face_units=units,
        points=points,
        face_mesh=mesh,
        mouth_box=np.concatenate([points[:, 4] - 4, points[:, 3] + 5], 1),
        face_box=np.concatenate([low - 10, points.max(1) + 6], 1),
        waveform=(rng.standard_normal(FILMED * 640) * 2000).astype(np.int16),
        gesture=np.repeat([0, 3, 0], FILMED // 3).astype(np.uint8),
        meta=np.array(json.dumps({"person": person, "style": {"mood": "happy", "mood_onset": 1.0}, "words": words})),
    )
