"""How finely motion is generated where the frame's size does not decide it: faces as large as the model knows them."""

from __future__ import annotations

import itertools
import math

#: Cells are pairs, since a token is two by two of them.
_PAIR = 2
#: A face a little larger or smaller than wanted is better than a picture out of proportion: weight of the latter.
_PROPORTION = 3.0


#: Area of a frame per person, in squares of the distance from between the eyes to the mouth: what training showed.
_FRAME_OF_FACE = 32.0


def area_of(people: int, face_length: float) -> float:
    """Pixels of a frame of so many people with faces of this length, as in training."""
    return _FRAME_OF_FACE * face_length**2 * max(1, people)


def motion_grid(width: int, height: int, cell: int, scale: float, least: float, most: float) -> tuple[int, int]:
    """Rows and columns of cells for a frame.

    Args:
        width, height: Of the frame, pixels.
        cell: Pixels to a cell's side at the size at which motion is generated.
        scale: That size relative to the frame's: what makes faces as large as the model knows them.
        least, most: Bounds of the area in pixels at that size, stronger than `scale`.

    Returns:
        (rows, columns), both even.
    """
    scale = min(max(scale, math.sqrt(least / (width * height))), math.sqrt(most / (width * height)))
    rows, columns = scale * height / cell, scale * width / cell

    def near(length: float) -> range:
        low = max(_PAIR, int(length * 0.75) // _PAIR * _PAIR)
        return range(low, math.ceil(length * 1.35) + _PAIR, _PAIR)

    def misfit(size: tuple[int, int]) -> float:
        tall, wide = math.log(size[0] / rows), math.log(size[1] / columns)
        return _PROPORTION * abs(tall - wide) + abs(tall + wide) / 2

    return min(itertools.product(near(rows), near(columns)), key=misfit)
