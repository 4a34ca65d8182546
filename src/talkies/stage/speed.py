"""How fast the stage draws, measured on the spot."""

from __future__ import annotations

import time

import numpy as np

from talkies.runtime.workers import worker_processes
from talkies.stage.background import Background
from talkies.stage.figure import Figure
from talkies.stage.identity import Identity
from talkies.stage.light import SETUPS
from talkies.stage.renderer import Actor
from talkies.stage.scene import Scene, arrange, shoot
from talkies.stage.tracks import listen


def frames_per_second(people: int, height: int, width: int, assets: str, seed: int = 0) -> tuple[float, float, float]:
    """Draws one scene of `people` once to warm up and once on the clock.

    Returns:
        Frames per second of wall time, frames per second of processor time, and seconds to build one figure.
    """
    from pathlib import Path

    frames = 50
    rng = np.random.default_rng(seed)
    layout = arrange(people, "head and shoulders", height, width, rng)
    Figure.build(Identity.sample(seed), Path(assets) if assets else None, texture=512)  # compiles and fills caches
    began = time.process_time()
    figures = [
        Figure.build(Identity.sample(seed + 1 + k), Path(assets) if assets else None, texture=512)
        for k in range(people)
    ]
    build = (time.process_time() - began) / people
    actors = tuple(
        Actor(figure, listen(seed + k, frames, "listener", 20.0).performance, layout.placements[k])
        for k, figure in enumerate(figures)
    )
    scene = Scene(actors, layout.camera, SETUPS[0], Background.sample(rng, height, width, "wall"))
    shoot(scene)
    wall, processor = time.perf_counter(), time.process_time()
    shoot(scene)
    return frames / (time.perf_counter() - wall), frames / (time.process_time() - processor), build


def together(workers: int, people: int, height: int, width: int, assets: str) -> list[tuple[float, float, float]]:
    """`frames_per_second` of several processes at the same time, all drawing the same scene."""
    with worker_processes(workers) as submit:
        jobs = [submit(frames_per_second, people, height, width, assets) for _ in range(workers)]
        return [job.result() for job in jobs]
