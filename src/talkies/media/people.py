"""Who is in the picture and where: faces are found, whole people grown from them, one mask each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from talkies.domain.conversation import Conversation, Region, Speaker
from talkies.domain.errors import InputError
from talkies.media.centerface import STRIDE_MULTIPLE, detect

#: Longest side the detector sees at first, and when it found too few: faces a 40th (120th) of it high are found.
DETECTION_SIDES = (640, 1920)
SCORE_THRESHOLD = 0.4
OVERLAP_THRESHOLD = 0.3
#: Faces lower than this share of the largest one belong to the background: posters, passers-by.
BYSTANDER_SHARE = 0.4

#: Outline of a person around their face: (depth below the face's centre, half width), in face heights and widths.
_OUTLINE = (
    (-1.1, 0.2),
    (-1.0, 0.55),
    (-0.8, 0.72),
    (-0.5, 0.84),
    (0.0, 0.88),
    (0.5, 0.88),
    (0.85, 1.25),
    (1.3, 1.9),
    (2.4, 2.2),
    (9.0, 2.2),
)

#: Colours of the numbered drawings, easy to tell apart.
_COLOURS = ("#e6402a", "#2a7de6", "#2fa84f", "#c99700", "#9b3fd1", "#00a0a8", "#d13f8f", "#6b6b6b")


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the picture.

    Attributes:
        left, top, right, bottom: Its box.
        score: How sure the detector is, 0..1.
        turn: How far the nose lies to the right of the middle between the eyes: a turned head's hair and neck are
            on the other side.
        points: Landmarks (x, y): the two eyes, the nose, the two corners of the mouth; empty where none are known.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float
    turn: float = 0.0
    points: tuple[tuple[float, float], ...] = ()

    @property
    def width(self) -> float:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y)."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def axis(self) -> float:
        """x of the person's middle line."""
        return self.centre[0] - float(np.clip(self.turn, -0.5 * self.width, 0.5 * self.width))


@dataclass(frozen=True)
class Person:
    """One person of the picture.

    Attributes:
        name: Of the speaker, or what a bystander is called.
        face: Where it was found; None where the user gave the region.
        box: (left, top, right, bottom) given by the user, or None.
        mask: `[height, width]` given by the user, or None.
        everything: The whole picture is this person's (one person, nobody found).
        bystander: In the picture, but no speaker of the conversation: kept silent.
    """

    name: str
    face: Face | None = None
    box: tuple[float, float, float, float] | None = None
    mask: NDArray[np.bool_] | None = None
    everything: bool = False
    bystander: bool = False

    def describe(self) -> str:
        """Where the region comes from, in a few words."""
        if self.mask is not None:
            return "mask"
        if self.box is not None:
            return "box " + " ".join(f"{value:.0f}" for value in self.box)
        if self.face is not None:
            return "face at " + " ".join(f"{value:.0f}" for value in self.face.centre)
        return "whole picture"


def find_faces(image: Image.Image, side: int = DETECTION_SIDES[0]) -> tuple[Face, ...]:
    """Faces of a picture, left to right, background faces left out.

    Args:
        image: RGB.
        side: Longest side the detector sees, in pixels.
    """
    scale = min(1.0, side / max(image.size))
    width, height = (-(-max(1, round(length * scale)) // STRIDE_MULTIPLE) * STRIDE_MULTIPLE for length in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    heat, size, offset, landmarks = detect(pixels)  # each [C, H/4, W/4]
    rows, columns = np.nonzero(heat[0] > SCORE_THRESHOLD)
    scores = heat[0][rows, columns]
    extent = np.exp(size[:, rows, columns])[::-1].T * 4  # [n, 2], width and height
    corner = (
        np.stack([columns, rows], 1) + offset[::-1, rows, columns].T + 0.5
    ) * 4 - extent / 2  # [n, 2], left and top
    boxes = np.clip(np.concatenate([corner, corner + extent], axis=1), 0, [width, height, width, height])
    # Landmarks are (row, column) pairs in face sizes from the corner: eyes, nose, corners of the mouth.
    across = landmarks[1::2, rows, columns].T * extent[:, :1]  # [n, 5]
    down = landmarks[::2, rows, columns].T * extent[:, 1:]
    points = np.stack([across, down], 2) + corner[:, None]  # [n, 5, 2]
    turns = across[:, 2] - across[:, :2].mean(axis=1)
    back = np.tile([image.width / width, image.height / height], 2)
    faces = [
        _face(boxes[index] * back, float(scores[index]), float(turns[index] * back[0]), points[index] * back[:2])
        for index in _suppress(boxes, scores)
    ]
    largest = max((face.height for face in faces), default=0.0)
    kept = (face for face in faces if face.height >= BYSTANDER_SHARE * largest)
    return tuple(sorted(kept, key=lambda face: face.centre[0]))


def _face(box: NDArray[np.floating[Any]], score: float, turn: float, points: NDArray[np.floating[Any]]) -> Face:
    left, top, right, bottom = (float(value) for value in box)
    return Face(left, top, right, bottom, score, turn, tuple((float(x), float(y)) for x, y in points))


def _suppress(boxes: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]) -> list[int]:
    """Non-maximum suppression: of boxes that overlap much, the one with the best score."""
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-scores).tolist():
        best = boxes[kept]
        overlap = np.minimum(best[:, 2:], boxes[index, 2:]) - np.maximum(best[:, :2], boxes[index, :2])
        shared = np.clip(overlap, 0, None).prod(axis=1)
        if not (shared > OVERLAP_THRESHOLD * (area[kept] + area[index] - shared)).any():
            kept.append(index)
    return kept


def find_everybody(image: Image.Image) -> tuple[Face, ...]:
    """Faces of a picture as `find_faces`, at whichever side the detector finds more of them: in a large picture small
    ones are lost at the first."""
    sides = DETECTION_SIDES if max(image.size) > DETECTION_SIDES[0] else DETECTION_SIDES[:1]
    return max((find_faces(image, side) for side in sides), key=len)


def assign(conversation: Conversation, image: Image.Image, masks: dict[int, NDArray[np.bool_]]) -> tuple[Person, ...]:
    """Who is where.

    Speakers with a region get it; a point picks the found face it belongs to; speakers without take the remaining
    faces from left to right. Faces that remain become bystanders: silent people, so that no voice drives them.

    Args:
        conversation: Its speakers' regions count, nothing else.
        image: The picture.
        masks: Decoded mask pictures by the speaker's position.

    Returns:
        The speakers in their order, then bystanders from left to right.

    Raises:
        InputError: Fewer people found than speakers, a region outside the picture, two people in one place.
    """
    needed = sum(speaker.region is None or speaker.region.point is not None for speaker in conversation.speakers)
    faces = list(find_faces(image))
    if len(faces) < needed and max(image.size) > DETECTION_SIDES[0]:
        faces = list(find_faces(image, DETECTION_SIDES[1]))
    people: dict[int, Person] = {}
    for index, speaker in enumerate(conversation.speakers):
        if speaker.region is not None and speaker.region.point is None:
            people[index] = _given(speaker, speaker.region, image, masks.get(index))
    faces = [face for face in faces if not any(_covers(person, face) for person in people.values())]
    for index, speaker in enumerate(conversation.speakers):
        if speaker.region is not None and speaker.region.point is not None:
            face = _at_point(speaker, speaker.region.point, faces, image)
            faces.remove(face)
            people[index] = Person(speaker.name, face=face)
    missing = [index for index in range(len(conversation.speakers)) if index not in people]
    if len(missing) > len(faces):
        if len(conversation.speakers) > 1:
            names = ", ".join(repr(conversation.speakers[index].name) for index in missing)
            raise InputError(
                f"{len(faces)} {'person was' if len(faces) == 1 else 'people were'} found in the picture for the "
                f"{len(missing)} speakers without a region ({names}).",
                "Give every speaker a region: a box, a mask or a point (`talkies people` shows who is found).",
            )
        return (Person(conversation.speakers[0].name, everything=True),)
    for index in missing:
        people[index] = Person(conversation.speakers[index].name, face=faces.pop(0))
    bystanders = (Person(f"bystander {number}", face=face, bystander=True) for number, face in enumerate(faces, 1))
    return (*(people[index] for index in sorted(people)), *bystanders)


def _given(speaker: Speaker, region: Region, image: Image.Image, mask: NDArray[np.bool_] | None) -> Person:
    if region.box is None:
        return Person(speaker.name, mask=mask)
    left, top, right, bottom = region.box
    box = (max(left, 0.0), max(top, 0.0), min(right, float(image.width)), min(bottom, float(image.height)))
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise InputError(
            f"The box of {speaker.name!r} lies outside the picture, which is {image.width}x{image.height}.",
            "A box is [left, top, right, bottom] in pixels of the picture.",
        )
    return Person(speaker.name, box=box)


def _covers(person: Person, face: Face) -> bool:
    x, y = face.centre
    if person.box is not None:
        left, top, right, bottom = person.box
        return left <= x < right and top <= y < bottom
    return person.mask is not None and bool(person.mask[int(y), int(x)])


def _at_point(speaker: Speaker, point: tuple[float, float], faces: Sequence[Face], image: Image.Image) -> Face:
    x, y = point
    if not (0 <= x < image.width and 0 <= y < image.height):
        raise InputError(
            f"The point of {speaker.name!r}, {x:g} {y:g}, lies outside the picture, which is "
            f"{image.width}x{image.height}.",
            "A point is [x, y] in pixels of the picture.",
        )
    where = np.array([y]), np.array([x])
    near = [(float(_distance(face, *where)[0, 0]), index) for index, face in enumerate(faces)]
    distance, index = min(near, default=(np.inf, 0))
    if distance > 1.0:
        raise InputError(
            f"Nobody was found at the point of {speaker.name!r}, {x:g} {y:g}.",
            "Give a box or a mask instead (`talkies people` shows who is found).",
        )
    return faces[index]


def _distance(face: Face, rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float64]:
    """How far pixels lie from a person's middle line, in half widths there: `[rows, columns]`, 1 on the edge."""
    x, y = face.axis, face.centre[1]
    # A turned head shows a narrow face: its height is the steadier measure of the person's size.
    width = max(face.width, 0.75 * face.height)
    depth = (rows + 0.5 - y) / face.height
    points = np.array(_OUTLINE)
    half = np.interp(depth, points[:, 0], points[:, 1]) * width  # [rows]
    across = np.abs(columns + 0.5 - x)  # [columns]
    distance: NDArray[np.float64] = across[None, :] / half[:, None]
    distance[(depth < points[0, 0]) | (depth > points[-1, 0])] = np.inf
    return distance


def masks_at(people: Sequence[Person], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Everybody's mask, sampled at some pixels of the picture (see `image.frame_coordinates`).

    Regions the user gave are kept to the pixel, overlaps included (as the authors do). A grown region gives way to a
    given one, and where two grown ones overlap a pixel goes to the person it is nearer to, in that person's own size.

    Args:
        people: `N` people.
        rows, columns: Pixel positions.

    Returns:
        `[N, len(rows), len(columns)]`.

    Raises:
        InputError: Somebody's mask is empty.
    """
    masks = cover(people, rows, columns)
    for person, mask in zip(people, masks, strict=True):
        if not mask.any():
            raise InputError(
                f"Nothing of {person.name!r} is left in the frame.",
                "Their region lies outside the frame or under another one: choose another --size or region.",
            )
    return masks


def cover(people: Sequence[Person], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.bool_]:
    """As `masks_at`, but masks may be empty."""
    result = np.zeros((len(people), len(rows), len(columns)), dtype=bool)
    nearest = np.full(result.shape[1:], np.inf)
    owner = np.full(result.shape[1:], -1)
    for index, person in enumerate(people):
        if person.everything:
            result[index] = True
        elif person.mask is not None:
            result[index] = person.mask[np.ix_(rows, columns)]
        elif person.box is not None:
            left, top, right, bottom = (int(value) for value in person.box)
            result[index] = np.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))
        elif person.face is not None:
            distance = _distance(person.face, rows, columns)
            closer = (distance <= 1.0) & (distance < nearest)
            nearest[closer], owner[closer] = distance[closer], index
    taken = result.any(axis=0)
    for index, person in enumerate(people):
        if person.face is not None:
            result[index] = (owner == index) & ~taken
    return result


def draw(image: Image.Image, people: Sequence[Person], masks: NDArray[np.bool_]) -> Image.Image:
    """The picture with everybody's region tinted, outlined, numbered and named.

    Args:
        image: At the masks' size.
        people: `N` people.
        masks: `[N, height, width]`.
    """
    canvas = np.asarray(image.convert("RGB"), dtype=np.float32)
    for index, mask in enumerate(masks):
        colour = np.array(_rgb(index), dtype=np.float32)
        if not people[index].everything:
            canvas = np.where(mask[..., None], canvas * 0.65 + colour * 0.35, canvas)
        canvas[_edge(mask)] = colour
    picture = Image.fromarray(canvas.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    size = max(11, min(image.size) // 22)
    font = ImageFont.load_default(size)
    for index, (person, mask) in enumerate(zip(people, masks, strict=True)):
        rows, columns = np.nonzero(mask)
        label = f"{index + 1}  {person.name}" + (" (silent)" if person.bystander else "")
        left, top, right, bottom = pen.textbbox((0, 0), label, font=font)
        x = float(np.clip(columns.mean() - (right - left) / 2, 4, max(4, image.width - (right - left) - 8)))
        y = float(np.clip(rows.min() + 4, 4, image.height - (bottom - top) - 8))
        pen.rectangle((x - 4, y - 2, x + right - left + 4, y + bottom + 4), fill=_rgb(index))
        pen.text((x, y), label, font=font, fill="white")
    return picture


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _rgb(index: int) -> tuple[int, int, int]:
    value = _COLOURS[index % len(_COLOURS)].lstrip("#")
    return int(value[0:2], 16), int(value[2:4], 16), int(value[4:6], 16)
