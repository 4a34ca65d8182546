"""A job of the queue becomes a video: what `talkies worker` does, through the same code as `talkies generate`."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talkies.cli.report import Report
from talkies.domain.errors import InputError
from talkies.jobs.work import PREVIEW, UNFINISHED, VIDEO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from talkies.cli.model_folder import ModelFolder
    from talkies.cli.planning import MachineOptions, Plan, RenderOptions
    from talkies.jobs.job import Task
    from talkies.jobs.work import Report as JobReport
    from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline


class MakingReport(Report):
    """Carries what `render` reports to the queue.

    Args:
        job: The queue's end.
        folder: Where the preview goes.
    """

    def __init__(self, job: JobReport, folder: Path) -> None:
        super().__init__(quiet=True)
        self._job, self._folder = job, folder

    def say(self, text: str) -> None:
        """Nobody reads along."""

    @contextmanager
    def progress(self, total: float) -> Iterator[Callable[[float, str], None]]:
        """Progress of the whole job: a little before and after the network's work."""

        def update(done: float, what: str) -> None:
            self._job(0.02 + 0.96 * done / max(total, 1e-9), what)

        update(0.0, "loading")
        yield update

    def preview(self, frames: NDArray[np.uint8]) -> None:
        """Keeps the last of `[n, height, width, 3]` frames as a picture."""
        from PIL import Image

        from talkies.media.staging import staged

        with staged(self._folder / PREVIEW) as temporary:
            Image.fromarray(frames[-1]).save(temporary, format="JPEG", quality=80)


@dataclass(frozen=True)
class MakingOptions:
    """How a worker makes videos; picklable, for workers far away.

    Attributes:
        models: As `--model` names them; None is the bundled one. The first is the default.
        machine: How to use the machine.
        credentials: Embed content credentials.
    """

    models: tuple[str | None, ...]
    machine: MachineOptions
    credentials: bool = True

    def __call__(self) -> Maker:
        """The generator; made on the machine that works."""
        return Maker(self)


class Maker:
    """A `talkies.jobs.work.Generator` over the pipeline. The model stays loaded between jobs that use it alike.

    Args:
        options: How.

    Raises:
        InputError: A model is not here.
    """

    def __init__(self, options: MakingOptions) -> None:
        from talkies.cli.model_folder import find_model

        self._options = options
        self._models = {model.name: model for model in map(find_model, options.models)}
        self._loaded: tuple[Any, MultiTalkPipeline] | None = None

    def __call__(self, task: Task, folder: Path, report: JobReport) -> None:
        """Makes `folder/video.mp4`; goes on from the finished segments in the folder."""
        unfinished = folder / UNFINISHED
        try:
            self._make(task, folder, report)
        except InputError:
            if not unfinished.is_dir():
                raise
            # Perhaps only what was to be resumed is unusable (damaged, of another version): once without it.
            shutil.rmtree(unfinished, ignore_errors=True)
            self._make(task, folder, report)

    def _make(self, task: Task, folder: Path, job: JobReport) -> None:
        from talkies.cli.planning import plan
        from talkies.cli.prompts import choose_prompt
        from talkies.cli.rendering import render
        from talkies.cli.scene import prepare
        from talkies.media.conversation_file import resolve_paths
        from talkies.provenance.consent import Consent, missing, today

        model = self._model(task.model)
        options = self._render_options(task, folder)
        report = MakingReport(job, folder)
        job(0.0, "looking and listening")
        conversation = resolve_paths(task.conversation, [folder])
        if conversation.consent is None:
            raise missing()
        speech = folder / "speech"
        speech.mkdir(exist_ok=True)
        scene = prepare(conversation, speech, task.seconds)
        planned = plan(scene, model, options)
        job.describe(scene.seconds, str(planned.size))
        prompt, _ = choose_prompt(scene)
        consent = Consent(conversation.consent, "request", today())
        render(scene, model, planned, prompt, consent, options, report, self._load)

    def _model(self, name: str) -> ModelFolder:
        if not name:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise InputError(f"This worker has no model {name!r}, only {', '.join(self._models)}.")
        return self._models[name]

    def _render_options(self, task: Task, folder: Path) -> RenderOptions:
        from talkies.cli.planning import RenderOptions
        from talkies.domain.clip import FrameSize

        wanted = {
            "num_inference_steps": task.num_inference_steps,
            "text_guidance_scale": task.text_guidance_scale,
            "audio_guidance_scale": task.audio_guidance_scale,
        }
        return RenderOptions(
            output=folder / VIDEO,
            fps=Fraction(task.fps),
            seed=task.seed,
            overrides={name: value for name, value in wanted.items() if value is not None},
            size=None if task.size is None else FrameSize.parse(task.size),
            machine=self._options.machine,
            resume=True,
            credentials=self._options.credentials,
        )

    def _load(self, model: ModelFolder, planned: Plan, options: RenderOptions, report: Report) -> MultiTalkPipeline:
        from talkies.cli.rendering import load

        key = (model.path, planned.runtime.profile, options.machine.loras)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            gc.collect()
            self._loaded = (key, load(model, planned, options, report))
        return self._loaded[1]
