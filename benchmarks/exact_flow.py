"""How far a measured optical flow falls short of what heads do, and what the exact one brings, on people of the stage.

    python benchmarks/exact_flow.py TRACKS --count 64

For every track (`talkies stage tracks`), each fourth frame against the first: the slope of the measured flow (Dense
Inverse Search) on the true motion of the face's vertices in sight, and its error relative to that motion; then the PSNR
within the performer of the first frame moved by each flow, as it is and averaged over cells of 16 pixels, which is what
latents carry.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch

from talkies.models.motion_latents import CELL, FLOW_UNIT, FRAMES, coarse_flow
from talkies.models.optical_flow import measure_flow, warp
from talkies.stage.gestures import GESTURES
from talkies.training.composites import find_tracks
from talkies.training.exact_flow import in_sight
from talkies.training.panels import compose_strip


def averaged(flow: torch.Tensor) -> torch.Tensor:
    """`[F, 2, H, W]` as latents tell it."""
    cells = torch.nn.functional.avg_pool2d(flow, CELL) / FLOW_UNIT
    return coarse_flow(cells.repeat(1, FRAMES, 1, 1))[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--count", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    names = ["none", *GESTURES]
    rows = defaultdict(list)
    for track in find_tracks(options.tracks)[: options.count]:
        strip = compose_strip(track, np.random.default_rng(0), mirrors=False)
        film = torch.from_numpy(strip.film)
        flows = {"measured": measure_flow(film[::4], film[0]), "exact": torch.from_numpy(strip.flow(0))[::4]}
        true, measured = [], []
        for k, flow in enumerate(flows["measured"].numpy()):
            vertices = strip.mesh[4 * k]
            seen = in_sight(vertices)
            x, y = vertices[seen, :2].astype(int).clip(0, [film.shape[3] - 1, film.shape[2] - 1]).T
            true.append((strip.mesh[0] - vertices)[seen, :2])
            measured.append(flow[:, y, x].T)
        t, m = np.concatenate(true), np.concatenate(measured)
        inside = torch.from_numpy(strip.alpha[::4])[:, None]
        still = film[:1].expand(len(inside), -1, -1, -1)
        shown = [f(flows[name]) for name in flows for f in (lambda flow: flow, averaged)]
        errors = [float(((warp(still, flow) - film[::4]).square() * inside).sum() / inside.sum() / 3) for flow in shown]
        gesture = names[int(track.gesture.max())]
        rows[gesture].append([(t * m).sum() / (t * t).sum(), np.sqrt(((t - m) ** 2).sum() / (t * t).sum()), *errors])
    print("gesture (tracks): slope, relative error; PSNR measured, measured in cells, exact, exact in cells")
    for gesture, found in rows.items():
        slope, error = np.median(found, 0)[:2]
        decibels = -10 * np.log10(np.mean(found, 0)[2:] / 4)
        print(f"{gesture} ({len(found)}): {slope:.2f}, {error:.2f}; {' '.join(f'{d:.2f}' for d in decibels)}")


if __name__ == "__main__":
    main()
