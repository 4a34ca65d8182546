"""Named settings of a run: the paper's, and those that published few-step LoRAs were made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from talkies.sampling.guidance import AdaptiveProjectedGuidance, ClassifierFreeGuidance, Guider
from talkies.sampling.schedule import shifted_levels
from talkies.sampling.solver import EulerSolver


@dataclass(frozen=True)
class SamplingSettings:
    """Everything that decides how a clip is sampled, apart from seed and conditions.

    Args:
        steps: Number of denoising steps, at least 1.
        shift: Shift of the schedule, above 0.
        text_scale: Guidance by the prompt, 1 = none.
        audio_scale: Guidance by the audio, 1 = none.
        projected: True for APG (``AdaptiveProjectedGuidance`` with its defaults), False for plain guidance.
    """

    steps: int = 40
    shift: float = 7.0
    text_scale: float = 5.0
    audio_scale: float = 4.0
    projected: bool = False

    def guider(self, voiced: Sequence[int] = ()) -> Guider:
        """The guider of these settings; raises ``InputError`` for scales out of range.

        Args:
            voiced: Channels that words do not guide.
        """
        kind = AdaptiveProjectedGuidance if self.projected else ClassifierFreeGuidance
        return kind(self.text_scale, self.audio_scale, tuple(voiced))

    def solver(self) -> EulerSolver:
        """Euler's method on the shifted schedule; raises ``InputError`` for steps or shift out of range."""
        return EulerSolver(shifted_levels(self.steps, self.shift))


SETTINGS: Mapping[str, SamplingSettings] = MappingProxyType(
    {
        "480p": SamplingSettings(steps=40, shift=7.0),
        "720p": SamplingSettings(steps=40, shift=11.0),
        "lightx2v": SamplingSettings(steps=4, shift=2.0, text_scale=1.0, audio_scale=2.0),
        "fusionx": SamplingSettings(steps=8, shift=2.0, text_scale=1.0, audio_scale=2.0),
    }
)
"""The paper's settings for both sizes, and those of the lightx2v (4 steps) and FusionX (8 steps) LoRAs."""
