"""How a long video is cut into segments that the network can render one after the other: pure arithmetic, no tensors.

Each segment after the first begins with frames that the segment before it rendered (the *motion frames*), so that
movement goes on across the border (MultiTalk, section 3.4). Every rendered frame but at most three belongs to the
video: the last segments are shortened instead of rendered whole and cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from talkies.domain.clip import TEMPORAL_STRIDE, is_clip_length, round_up_to_clip
from talkies.domain.errors import InputError


@dataclass(frozen=True)
class Segment:
    """One clip the network renders.

    Attributes:
        index: 0 for the first.
        start: Its first frame, counted from the start of the video.
        num_frames: Its length, 4n+1, motion frames included.
        motion_frames: Leading frames that the segment before it rendered: 0 for the first segment, else 4k+1.
        kept_frames: Frames after the motion frames that belong to the video. Only the last segment may have more.
    """

    index: int
    start: int
    num_frames: int
    motion_frames: int
    kept_frames: int

    @property
    def first_kept(self) -> int:
        """Video frame of the first frame this segment adds."""
        return self.start + self.motion_frames

    @property
    def latent_frames(self) -> int:
        """Latent frames of the whole segment."""
        return (self.num_frames - 1) // TEMPORAL_STRIDE + 1

    @property
    def motion_latents(self) -> int:
        """Latent frames of the motion frames."""
        return (self.motion_frames - 1) // TEMPORAL_STRIDE + 1 if self.motion_frames else 0


@dataclass(frozen=True)
class SegmentPlan:
    """All segments of one video, in order; they cover its frames once each.

    Attributes:
        total_frames: Length of the video.
        segment_frames: Longest segment, 4n+1.
        motion_frames: Frames handed from one segment to the next, 4k+1.
        segments: The segments.
    """

    total_frames: int
    segment_frames: int
    motion_frames: int
    segments: tuple[Segment, ...]


def plan_segments(
    total_frames: int, segment_frames: int = 81, motion_frames: int = 25, even_ending: bool = True
) -> SegmentPlan:
    """Cuts a video into segments.

    Segments start where the authors' program starts them, ``segment_frames - motion_frames`` apart. Where the last one
    would add less than half of that, it shares what is left with the one before it: a very short clip has little to
    move, and a model trained on whole clips renders it badly.

    Args:
        total_frames: Length of the video, at least 1.
        segment_frames: Longest segment, 4n+1 (81: the length the 14B model was trained on).
        motion_frames: 4k+1, shorter than a segment (paper: 5; authors' program: 25).
        even_ending: False leaves the last segment as short as it comes out.

    Raises:
        InputError: A length is not of its form, or the motion frames fill the segment.
    """
    if total_frames < 1:
        raise InputError(f"A video of {total_frames} frames was asked for.", "Use at least 1.")
    if not is_clip_length(segment_frames):
        raise InputError(
            f"A segment cannot have {segment_frames} frames: their number must be 4n+1.",
            f"The next is {round_up_to_clip(segment_frames)}.",
        )
    if not is_clip_length(motion_frames) or motion_frames >= segment_frames:
        raise InputError(
            f"{motion_frames} motion frames cannot be handed between segments of {segment_frames} frames.",
            f"Use 4k+1, below {segment_frames}: 5, 9, 25, ...",
        )
    lengths = _new_frames(round_up_to_clip(total_frames), segment_frames, motion_frames, even_ending)
    segments: list[Segment] = []
    covered = 0
    for index, added in enumerate(lengths):
        motion = motion_frames if index else 0
        kept = min(added, total_frames - covered)
        segments.append(Segment(index, covered - motion, added + motion, motion, kept))
        covered += added
    return SegmentPlan(total_frames, segment_frames, motion_frames, tuple(segments))


def _new_frames(padded: int, segment_frames: int, motion_frames: int, even_ending: bool) -> list[int]:
    """Frames each segment adds; they sum to ``padded`` (4n+1). All but the first are multiples of four."""
    if padded <= segment_frames:
        return [padded]
    step = segment_frames - motion_frames
    whole, rest = divmod(padded - segment_frames, step)
    lengths = [segment_frames, *[step] * whole]
    if rest:
        if even_ending and rest < step / 2:
            moved = (step - rest) // 2 // TEMPORAL_STRIDE * TEMPORAL_STRIDE
            # The first segment has no motion frames, so it can give as many as any other and still hold what it
            # must hand over: it keeps segment_frames - moved > motion_frames.
            lengths[-1] -= moved
            rest += moved
        lengths.append(rest)
    return lengths
