"""A video autoencoder that is always given one reference frame, and carries only what changed since.

Its latents are motion first, picture last:

1. the optical flow averaged over each cell, which alone carries most of a talking head;
2. what the face does there (`talkies.domain.expression`: lips open, round, wide, ... eyes shut), laid over the cells of
   mouth and eyes: the same numbers for every face, wherever it is and whatever it looks like, so that a video model
   learns speech once and not anew for every mouth;
3. what is left after warping the reference by the flow, in a few principal components.

Frames are the reference moved by the flow, plus the third part; faces are drawn by a painter (`face_painter`) that
takes the head's motion from the flow, and lips and lids from the expression. Where latents speak of no face (zeros in
the second part) the picture is only moved. What is known of the picture alone is not in the latents: who moves before
a ground that stays (`layers`), where lids are, by which eyes blink (`lids`), and teeth, over which lips slide
(`teeth`). Identity, colour and background come from the reference by construction, for a film of any length. Four
frames share one latent frame; the first frame has one of its own (4n+1).
Related work: First Order Motion Model (NeurIPS 2019), LIA (ICLR 2022) and LivePortrait (2024) animate one picture by
sparse motion; here the motion is an ordinary latent grid, so that a video transformer can generate it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from talkies.domain.expression import BLINK, EYES_SHUT
from talkies.models.face_painter import (
    DETAIL,
    SQUARE,
    UNIT,
    FacePainter,
    face_frames,
    grid,
    head_motion,
    inverse,
    joined,
    leaning,
    look_up,
    oval,
    transform,
    turn,
)
from talkies.models.layers import Layers, in_layers
from talkies.models.lids import lids_known, move_eyes
from talkies.models.motion_latents import (
    CELL,
    EXPRESSIONS,
    FLOW_CHANNELS,
    FLOW_UNIT,
    FRAMES,
    MOTION_CHANNELS,
    MOUTHS,
    PLACES,
    coarse_flow,
    compress_flow,
    expand_flow,
    in_groups,
    join_faces,
    shrink,
    smooth_flow,
    split_faces,
)
from talkies.models.optical_flow import (
    measure_flow,
    resized,
    resized_flow,
    warp,
)
from talkies.models.teeth import show_teeth

_MISSED_BELOW = 0.5  # a face of which a matte has less than this is missing in it
THUMBNAIL = 4  # the transformer sees every cell of the reference as so many pixels squared


@dataclass
class DecodedFrames(BaseOutput):
    """`sample`: `[B, 3, F, H, W]` in [-1, 1]; `flow`: from each frame to the reference, `[B, 2, F, H, W]` in pixels."""

    sample: Tensor
    flow: Tensor | None = None


def _extent(frames: Tensor, motion: Tensor, like: Tensor) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what the faces' squares cover in pixels of `like [..., H, W]`.

    Args:
        frames: `[N, 2, 3]`, of `face_frames`.
        motion: `[N, 2, 3]`, of `head_motion`.
        like: Has `DETAIL` times the pixels of `frames` along either side.
    """
    H, W = like.shape[-2:]
    edge = torch.tensor([0.0, SQUARE], device=frames.device)
    corners = transform(inverse(frames), edge.expand(2, 2), edge[:, None].expand(2, 2))
    corners = transform(inverse(motion), corners[:, 0], corners[:, 1]).movedim(1, 0).flatten(1) * DETAIL  # [2, 4 N]
    if not corners.isfinite().all():
        return 0, H, 0, W
    (left, top), (right, bottom) = corners.amin(1).floor().int().tolist(), corners.amax(1).ceil().int().tolist()
    top, left = (min(max(0, low), most) for low, most in ((top, H - 1), (left, W - 1)))
    return top, max(top + 1, min(H, bottom)), left, max(left + 1, min(W, right))


def _faces_or_none(points: Tensor) -> tuple[Tensor, Tensor]:
    """`face_frames [N, 2, 3]` of landmarks `[N, 5, 2]` and which are faces, `[N]`; of the others something regular."""
    frames = face_frames(points)
    known = frames.abs().sum((1, 2)) > 0
    return torch.where(known[:, None, None], frames, torch.eye(2, 3, device=frames.device)), known


def _grouped(told: Tensor) -> Tensor:
    """What is told of faces frame by frame, `[B, n, 4m+1, c]` -> `[B, n, m+1, 4, c]`."""
    return in_groups(told.permute(0, 3, 2, 1)[..., None])[..., 0].permute(0, 4, 1, 2, 3)


class AutoencoderReference(ModelMixin, ConfigMixin):
    """Reference-conditioned video autoencoder: 4x in time; in space 16x at the size at which motion happens, which may
    be smaller than the frames: motion is smooth, and detail comes from the reference, as sharp as that is.

    Latent channels: 8 of flow, 34 of expression (`join_faces`), then the coordinates of what is left after warping in a
    fixed basis of `16 x 16 x 4` blocks (principal components over talking faces). Nothing of it is learnt but the
    basis, so latents never change while the painter improves. Expressions are known of the stage's films only; `encode`
    leaves them at zero, and the components carry lips then.

    Args:
        latent_channels: Channels of the latents, `z`.
        widths, eye_widths: Channels of the painter's convolutions around mouth and eyes (`FacePainter`).
        latents_mean, latents_std: Per-channel statistics of the latents over the training data (as in
            `AutoencoderKLWan`); the pipeline normalises by them.
        coring: `decode` takes this much off the size of every component's coordinate: what a video model leaves of its
            noise there would show as a weave over still grounds.
        flow_coring: The same for the flow, in pixels: still grounds stay still.
        flow_smoothing: `decode` averages the flow over so many frames (odd; triangular weights; 1 for none): latent
            frames are drawn apart from each other, and heads would jerk from one to the next.
        flow_knee: Latents hold flow beyond so many pixels compressed (`compress_flow`); None: as it is.
        lip_gain: Faces are drawn with this many times the latents' expressions at the mouth: what a painter trained on
            the mean of what may be seen takes off.
        face_length: From between the eyes to the mouth, in pixels, at the size at which the video model knows faces;
            the pipeline chooses the latents' grid by it (`motion_grid`). None: a cell to 16 pixels of the frame.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = MOTION_CHANNELS + 22,
        widths: tuple[int, int, int, int] = (32, 48, 96, 160),
        eye_widths: tuple[int, int, int, int] = (24, 48, 64, 96),
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
        coring: float = 0.0,
        flow_coring: float = 0.0,
        flow_smoothing: int = 1,
        flow_knee: float | None = None,
        lip_gain: float = 1.0,
        face_length: float | None = None,
        scale_factor_spatial: int = CELL,
        scale_factor_temporal: int = FRAMES,
        requires_reference: bool = True,
    ) -> None:
        super().__init__()
        block = 3 * FRAMES * CELL**2
        self.basis = nn.Parameter(torch.zeros(latent_channels - MOTION_CHANNELS, block), requires_grad=False)
        self.painter = FacePainter(widths, eye_widths)

    def encode(
        self, x: Tensor, reference: Tensor, flow: Tensor | None = None, cells: tuple[int, int] | None = None
    ) -> AutoencoderKLOutput:
        """Latents of a film relative to its reference frame.

        Args:
            x: `[B, 3, F, H, W]` in [-1, 1], F = 4n+1.
            reference: `[B, 3, H, W]` in [-1, 1].
            flow: From each frame to the reference, `[B, 2, F, H, W]` in pixels, as `decode` returns it; by default it
                is measured (OpenCV's DIS).
            cells: Rows and columns of the latents, h and w; by default a cell to 16 pixels.

        Returns:
            `latent_dist` over `[B, z, n+1, h, w]`.

        Raises:
            ValueError: F is not 4n+1, or without `cells` a side is no multiple of 16.
            ImportError: The flow has to be measured and OpenCV is not installed.
        """
        B, _, frames, H, W = x.shape
        if frames % FRAMES != 1:
            raise ValueError(f"a film of {frames} frames cannot be encoded: their number must be 4n+1")
        h, w = self._cells(H, W) if cells is None else cells
        x, reference = resized(x, h * CELL, w * CELL), resized(reference, h * CELL, w * CELL)
        if flow is None:
            films = zip(x, reference, strict=True)
            flow = torch.stack([measure_flow(film.transpose(0, 1), still) for film, still in films])
            flow = flow.transpose(1, 2)  # [B, 2, F, H, W]
        flow = resized_flow(flow, h * CELL, w * CELL)
        still = reference.repeat_interleave(frames // FRAMES + 1, 0)
        mean = self.encode_groups(in_groups(x).flatten(0, 1), still, in_groups(flow).flatten(0, 1))
        mean = compress_flow(mean.unflatten(0, (B, -1)).transpose(1, 2), self.config.flow_knee)  # [B, z, T, h, w]
        noise = torch.full_like(mean, -20.0)  # deterministic: the standard type, with next to no variance
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.cat([mean, noise], 1)))

    def encode_groups(self, groups: Tensor, reference: Tensor, flow: Tensor, faces: Tensor | None = None) -> Tensor:
        """Latents of groups of four frames, computed in float32, their flow not yet compressed.

        Args:
            groups: `[N, 4, 3, H, W]`.
            reference: Theirs, `[N, 3, H, W]`.
            flow: From each frame to the reference, `[N, 4, 2, H, W]` in pixels. Finding correspondences is what
                convolutions learn worst and a classical method does well.
            faces: Expression times place, and place, `[N, 4, 10, h, w]`; zeros where nothing is known.

        Returns:
            `[N, z, h, w]`.
        """
        coarse = F.avg_pool2d(flow.float().flatten(1, 2) / FLOW_UNIT, CELL)  # [N, 8, h, w]
        left = groups.float() - self.warped(coarse, reference)
        blocks = F.pixel_unshuffle(left.flatten(1, 2), CELL)  # [N, 12*256, h, w]
        components = torch.einsum("kb,nbhw->nkhw", self.basis.float(), blocks)
        if faces is None:
            faces = coarse.new_zeros(len(coarse), FRAMES, EXPRESSIONS + PLACES, *coarse.shape[2:])
        return torch.cat([coarse, join_faces(faces.float()), components], 1)

    def warped(self, z: Tensor, reference: Tensor) -> Tensor:
        """The reference moved by the flow of `z` alone, `[N, 4, 3, H, W]`."""
        still = reference.float().repeat_interleave(FRAMES, 0)
        return warp(still, coarse_flow(z).flatten(0, 1)).unflatten(0, (-1, FRAMES))

    def components(self, z: Tensor) -> Tensor:
        """What the principal components draw: `z [N, c, h, w]` -> `[N, 4, 3, H, W]`."""
        blocks = torch.einsum("kb,nkhw->nbhw", self.basis.float(), z[:, MOTION_CHANNELS:].float())
        return F.pixel_shuffle(blocks, CELL).unflatten(1, (FRAMES, 3))

    def decode_groups(
        self,
        z: Tensor,
        reference: Tensor,
        points: Tensor | None = None,
        seen: Tensor | None = None,
        layers: Layers | None = None,
        blinks: Tensor | None = None,
        lids: Tensor | None = None,
        gaze: Tensor | None = None,
        mouths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Four frames of every latent frame.

        Args:
            z: `[N, c, h, w]`, as of `encode_groups`.
            reference: `[N, 3, H, W]`, of any size.
            points: Landmarks of the reference's faces, `[N, n, 5, 2]` in pixels: two eyes, nose, two corners of the
                mouth; rows of zeros are no face. Without them faces are moved, but do nothing.
            seen: What those faces do, `[N, n, 8]`, as of `read_reference`, which is called without it.
            layers: The reference `in_layers`; without them all of it moves.
            blinks: How far those faces' eyes shut in every frame, `[N, n, 4]` in [0, 1]; without it as the latents say.
            lids: Of those faces, `[N, n, 2, LIDS]` (`lids_of`): eyes blink by them, where they are known; without
                them eyes are painted shut.
            gaze: How far those faces' eyes turn to the right and down in every frame, `[N, n, 4, 2]` in degrees; where
                lids are known.
            mouths: Of those faces, `[N, n, MOUTH]` (`mouths_of`): teeth that the reference shows stay where they are
                when lips part; without them they are stretched.

        Returns:
            Frames `[N, 4, 3, H, W]`, and their flow to the reference `[N, 4, 2, H, W]` in pixels.
        """
        (H, W), (h, w) = reference.shape[-2:], z.shape[-2:]
        reference = reference.float()
        drawn = resized(reference, h * CELL * DETAIL, w * CELL * DETAIL)  # faces are drawn at this size
        parts = [resized(part, *drawn.shape[-2:]) for part in (coarse_flow(z), self.components(z))]
        flow, left = (part.flatten(0, 1) for part in parts)  # the flow still in pixels of the latents' size
        paint = flow.new_zeros(len(flow), 4, *drawn.shape[-2:])
        squares = []
        if points is not None:
            if seen is None:
                seen = self.read_reference(reference, points, h, w)
            points = points.float() * points.new_tensor([w * CELL / W, h * CELL / H])
            for k in range(points.shape[1]):
                shut = None if blinks is None else blinks[:, k]
                known = None if lids is None else lids_known(lids[:, k])
                squares.append(self._draw_face(z, drawn, points[:, k], seen[:, k], (flow, left, paint), shut, known))
        scale = flow.new_tensor([W / (w * CELL), H / (h * CELL)])
        flow = resized(flow, H, W) * scale.view(2, 1, 1)
        left, paint = resized(left, H, W), resized(paint, H, W)
        # at full size: between a lid or a lip and what it covers there is nothing
        to_latents = torch.cat([1 / scale, scale.new_ones(1)])  # columns of what leads from pixels to units
        for k, square in enumerate(squares):
            if mouths is not None and points is not None:
                frames, _ = _faces_or_none(points[:, k])
                show_teeth(flow, paint, reference, square * to_latents, frames * to_latents, mouths[:, k])
            if lids is not None:
                shut = None if blinks is None else blinks[:, k].flatten()
                turned = None if gaze is None else gaze[:, k].flatten(0, 1)
                move_eyes((flow, left, paint), square * to_latents, lids[:, k], shut, turned)
        if torch.is_grad_enabled():  # training is in a hurry
            frames = warp(reference.repeat_interleave(FRAMES, 0), flow)
        else:
            layers = in_layers(reference, None) if layers is None else layers
            frames, share = (part.flatten(0, 1) for part in layers.moved(flow.unflatten(0, (-1, FRAMES))))
            left = left * share  # a ground that stays has nothing left to be drawn
        frames = (frames + left) * (1 - paint[:, 3:]) + paint[:, :3]
        return frames.unflatten(0, (-1, FRAMES)), flow.unflatten(0, (-1, FRAMES))

    def read_reference(self, reference: Tensor, points: Tensor, h: int, w: int) -> Tensor:
        """What the faces of a reference do, as far as it is to be undone: the same for all frames of a film.

        Args:
            reference: `[N, 3, H, W]` in [-1, 1], of any size.
            points: As of `decode_groups`.
            h, w: Rows and columns of the latents.

        Returns:
            `[N, n, 8]`.
        """
        H, W = reference.shape[-2:]
        count, faces = points.shape[:2]
        if not faces:
            return reference.new_zeros(count, 0, EXPRESSIONS, dtype=torch.float32)
        drawn = resized(reference.float(), h * CELL * DETAIL, w * CELL * DETAIL)
        frames, _ = _faces_or_none((points.float() * points.new_tensor([w * CELL / W, h * CELL / H])).flatten(0, 1))
        squares = self.painter.squares(drawn.repeat_interleave(faces, 0), frames, DETAIL)
        return self.painter.read(squares).unflatten(0, (count, faces))

    def _draw_face(
        self,
        z: Tensor,
        still: Tensor,
        points: Tensor,
        seen: Tensor,
        layers: tuple[Tensor, Tensor, Tensor],
        blinks: Tensor | None,
        lids: Tensor | None,
    ) -> Tensor:
        """Draws one face of every picture into the layers: flow, what is left of components, and paint.

        Args:
            z: `[N, c, h, w]`.
            still: The reference at the size of the layers, `[N, 3, ...]`.
            points: `[N, 5, 2]` in pixels of the latents' size, as everything here.
            seen: `[N, 8]`.
            layers: `[4 N, 2, ...]`, `[4 N, 3, ...]`, `[4 N, 4, ...]`, changed in place.
            blinks: `[N, 4]`, or None.
            lids: Whose lids are known, `[N]` bool, or None: those blink otherwise.

        Returns:
            From pixels to units of the face's square, `[4 N, 2, 3]`; of all zeros where there is no face.
        """
        frames, known = _faces_or_none(points)
        expression, presence, motion, beside = self.read_face(z, frames)
        if blinks is not None:
            expression[..., BLINK] = EYES_SHUT * (blinks if lids is None else blinks * ~lids[:, None])
        gain = [1.0 if place else self.config.lip_gain for place in MOUTHS]
        expression = (expression * expression.new_tensor(gain)).flatten(0, 1)
        square, seen, frames, presence = (
            part.repeat_interleave(FRAMES, 0)
            for part in (self.painter.squares(still, frames, DETAIL), seen, frames, presence * known)
        )
        motion = motion.flatten(0, 1)
        own, drawn = self.painter(square, expression, seen, beside.flatten(0, 1))
        top, bottom, left, right = _extent(frames, motion, still)
        flow, rest, paint = (layer[:, :, top:bottom, left:right] for layer in layers)
        x, y = (v[top:bottom, left:right] / DETAIL for v in grid(still.shape[-2], still.shape[-1], still))
        moved = transform(motion, x, y)  # the head's motion alone
        places = transform(frames, moved[:, 0], moved[:, 1])  # where every pixel lies in the face's square
        share = oval(places) * presence[:, None, None, None]
        at = look_up(torch.cat([own, drawn], 1), places * DETAIL, "zeros")
        wanted = moved + turn(inverse(frames), at[:, :2]) - torch.stack([x, y])
        for layer, value in ((flow, wanted), (rest, 0.0), (paint, at[:, 2:])):
            layer.copy_(layer.clone() * (1 - share) + value * share)
        return joined(motion, frames) * (presence > 0.5)[:, None, None]

    def read_face(self, z: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What latents say of one face: expression `[N, 4, 8]`, whether they speak of it `[N]`, how the head has moved,
        `[N, 4, 2, 3]`, and what flow there is beside `[N, 4, 18]`."""
        h, w = z.shape[-2:]
        x, y = grid(h, w, z)
        inside = oval(transform(frames, x * CELL, y * CELL))[:, 0]  # [N, h, w]
        faces = split_faces(z[:, FLOW_CHANNELS:MOTION_CHANNELS].float())
        place = faces[:, 0, EXPRESSIONS:].clamp_min(0) * (F.max_pool2d(inside[:, None], 3, 1, 1) > 0)  # [N, 2, h, w]
        weight = place[:, list(MOUTHS)]  # [N, 8, h, w]
        size = weight.square().sum((2, 3)).clamp_min(1e-3)
        expression = (faces[:, :, :EXPRESSIONS] * weight[:, None]).sum((3, 4)) / size[:, None]
        length = frames[:, :, 0].norm(dim=1).reciprocal() * UNIT  # from between the eyes to the mouth, in pixels
        expected = 1.15 * (length / CELL).square()  # the mouth's place covers so many cells
        presence = (2 * place[:, 0].sum((1, 2)) / expected - 0.5).clamp(0, 1)
        flow = z[:, :FLOW_CHANNELS].float().unflatten(1, (FRAMES, 2)) * FLOW_UNIT
        counted = (inside + 1e-4) * (1 - 0.7 * place[:, 0].clamp(max=1))
        motion = head_motion(flow.flatten(0, 1), counted.repeat_interleave(FRAMES, 0), CELL)
        beside = leaning(flow.flatten(0, 1), motion, frames.repeat_interleave(FRAMES, 0), CELL)
        return expression, presence, motion.unflatten(0, (-1, FRAMES)), beside.unflatten(0, (-1, FRAMES))

    @property
    def reference_channels(self) -> int:
        """Channels of `encode_reference`."""
        return PLACES + 3 * THUMBNAIL**2

    def encode_reference(self, reference: Tensor, places: Tensor | None = None) -> Tensor:
        """What the transformer is told about the reference frame: where faces are, and a small picture of it.

        Args:
            reference: `[B, 3, H, W]` in [-1, 1].
            places: Shares of mouth and eyes in every cell, `[B, 2, h, w]` (`talkies.media.face_places`); without them
                there is no face, and a cell to 16 pixels.

        Returns:
            `[B, 50, h, w]`, of a spread near one.
        """
        h, w = self._cells(*reference.shape[-2:]) if places is None else places.shape[-2:]
        reference = resized(reference.float(), h * CELL, w * CELL)
        small = F.pixel_unshuffle(F.avg_pool2d(reference, CELL // THUMBNAIL), THUMBNAIL)  # [B, 48, h, w]
        if places is None:
            places = reference.new_zeros(len(reference), PLACES, h, w)
        return torch.cat([places.float(), small * 2], 1)

    def decode(
        self,
        z: Tensor,
        reference: Tensor,
        points: Tensor | None = None,
        blinks: Tensor | None = None,
        matte: Tensor | None = None,
        lids: Tensor | None = None,
        gaze: Tensor | None = None,
        mouths: Tensor | None = None,
        return_dict: bool = True,
    ) -> DecodedFrames | tuple[Tensor]:
        """Film of latents. Without smoothing each latent frame is drawn on its own: decoding a part equals that part of
        decoding the whole.

        Args:
            z: `[B, z, T, h, w]`; latent frame 0 gives one video frame, every other four.
            reference: `[B, 3, H, W]` in [-1, 1], of any size; the film has the same.
            points: Landmarks of its faces, as of `decode_groups` (`talkies.media.face_places`).
            blinks: How far their eyes shut in every frame of the film, `[B, n, 4(T-1)+1]` in [0, 1]; without it as the
                latents say.
            matte: How much of every pixel of the reference is people, `[B, 1, H, W]` in [0, 1]
                (`talkies.media.people_matte`): they move before a ground that stays. Without it the picture is moved as
                one sheet, which a camera that moves needs.
            lids: Of its faces, `[B, n, 2, LIDS]`, as of `decode_groups`.
            gaze: How far their eyes turn in every frame of the film, `[B, n, 4(T-1)+1, 2]` in degrees, as of
                `decode_groups`.
            mouths: Of its faces, `[B, n, MOUTH]`, as of `decode_groups`.

        Returns:
            `.sample [B, 3, 4(T-1)+1, H, W]` in [-1, 1].
        """
        z = expand_flow(z, self.config.flow_knee)
        z = torch.cat(
            [
                smooth_flow(
                    shrink(z[:, :FLOW_CHANNELS], self.config.flow_coring / FLOW_UNIT), self.config.flow_smoothing
                ),
                z[:, FLOW_CHANNELS:MOTION_CHANNELS],
                shrink(z[:, MOTION_CHANNELS:], self.config.coring),
            ],
            1,
        )
        frames, flows = [], []
        seen = None if points is None else self.read_reference(reference, points, *z.shape[-2:])
        layers = in_layers(reference.float(), self._with_faces(matte, points))
        shut = None if blinks is None else _grouped(blinks[..., None])[..., 0]
        turned = None if gaze is None else _grouped(gaze)
        for k in range(z.shape[2]):  # one at a time: memory constant in T
            shown = 1 if k == 0 else FRAMES
            own_shut, own_turned = (None if told is None else told[:, :, k] for told in (shut, turned))
            drawn, _ = self.decode_groups(
                z[:, :, k], reference, points, seen, layers, own_shut, lids, own_turned, mouths
            )
            frames.append(drawn[:, :shown])  # [B, 1 or 4, 3, H, W]
            flow = coarse_flow(z[:, :, k])[:, :shown].transpose(1, 2)  # [B, 2, 1 or 4, 16h, 16w]
            flows.append(resized_flow(flow, *reference.shape[-2:]))
        sample = torch.cat(frames, 1).transpose(1, 2).clamp(-1, 1)
        if not return_dict:
            return (sample,)
        return DecodedFrames(sample=sample, flow=torch.cat(flows, 2))

    @staticmethod
    def _with_faces(matte: Tensor | None, points: Tensor | None) -> Tensor | None:
        """A matte in which no face is missing: what is not part of it cannot speak."""
        if matte is None or points is None:
            return matte
        x, y = grid(matte.shape[-2], matte.shape[-1], matte)
        for k in range(points.shape[1]):
            frames, known = _faces_or_none(points[:, k].float())
            face = oval(transform(frames, x, y)) * known[:, None, None, None]
            share = (matte * face).sum((1, 2, 3)) / face.sum((1, 2, 3)).clamp_min(1e-6)
            missed = (share < _MISSED_BELOW)[:, None, None, None]
            matte = torch.where(missed, torch.maximum(matte, face), matte)
        return matte

    def _cells(self, H: int, W: int) -> tuple[int, int]:
        if H % CELL or W % CELL:
            raise ValueError(f"{W}x{H} cannot be encoded: both sides must be multiples of {CELL}")
        return H // CELL, W // CELL
