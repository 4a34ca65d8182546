"""An invisible mark in the pixels: says "made with Talkies" and carries 16 bits, even after the file was re-encoded.

Informed spread spectrum in the 8x8 cosine transform of brightness: every block belongs to one of the payload's bits,
and a few of its middle coefficients are pushed along a fixed pseudo-random sign pattern, just far enough that their
mean shows the bit with a margin. What the picture itself contributes is known when marking and so costs nothing.
Where there is texture blocks are pushed further, and on smooth grounds, where it would show as a weave, hardly.
The mark survives compression and loss of frames; it does not survive scaling, cropping or heavy editing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 8
#: Rows and columns of the coefficients used: above the grain of flat areas, below what encoders throw away.
_COEFFICIENTS = ((1, 1), (0, 2), (2, 0))
#: The mean every bit's coefficients are pushed to in frames of `_MARGIN_BLOCKS` (320x192), in brightness steps of the
#: orthonormal transform; larger frames have more blocks to hide it in. Read after H.264 at crf 17 (our own) and 23 (a
#: usual second encoding): `benchmarks/mark.py`.
_MARGIN, _LEAST_MARGIN, _MARGIN_BLOCKS = 5.0, 2.0, 960
#: Spread of brightness in a block below which and above which it is pushed no less and no further.
_SMOOTHEST, _ROUGHEST = 0.5, 8.0
_PASSES = 2  # pixels are whole numbers: what rounding took from smooth blocks is made up for
#: Fewer blocks a bit and the mark would show, or drown.
_MIN_BLOCKS_PER_BIT = 15
_MAGIC = 0x7A
_BITS = 32
#: BT.709, as the encoder uses.
_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


@dataclass(frozen=True)
class Mark:
    """A mark that was read.

    Attributes:
        identity: The 16 bits it carries.
        strength: Smallest mean of a bit, relative to what was written: about 1 untouched, 0 nothing left.
    """

    identity: int
    strength: float


def can_mark(width: int, height: int) -> bool:
    """Whether frames of this size hold the mark: from 192x160 on."""
    return (width // _BLOCK) * (height // _BLOCK) >= _MIN_BLOCKS_PER_BIT * _BITS


class Watermark:
    """Marks and reads frames of one size.

    Args:
        width, height: In pixels; `can_mark` must hold.
    """

    def __init__(self, width: int, height: int) -> None:
        if not can_mark(width, height):
            raise ValueError(f"{width}x{height} is too small for the mark")
        self._rows, self._columns = height // _BLOCK, width // _BLOCK
        rng = np.random.default_rng([0x7A1C1E5, self._columns, self._rows])
        blocks = self._rows * self._columns
        self._bit = rng.permutation(blocks) % _BITS  # [blocks]: which bit a block carries
        signs = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), (blocks, len(_COEFFICIENTS)))
        order = np.arange(_BLOCK)
        basis = np.cos(np.pi * (2 * order[None] + 1) * order[:, None] / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
        basis[0] /= np.sqrt(2)  # [8, 8] orthonormal
        # The picture of each block's pattern: pushing all its coefficients by x adds x times this.
        waves = np.stack([np.outer(basis[row], basis[column]) for row, column in _COEFFICIENTS])  # [3, 8, 8]
        self._patterns = np.einsum("bk,kyx->byx", signs, waves).astype(np.float32)  # [blocks, 8, 8]
        self._blocks = np.bincount(self._bit, minlength=_BITS)
        self._margin = max(_LEAST_MARGIN, _MARGIN * float(np.sqrt(_MARGIN_BLOCKS / blocks)))

    def embed(self, frames: NDArray[np.uint8], identity: int) -> NDArray[np.uint8]:
        """Marked frames.

        Args:
            frames: `[n, height, width, 3]` RGB.
            identity: 16 bits.
        """
        wanted = np.where(_payload(identity), 1.0, -1.0)  # [32]
        marked = frames.copy()
        height, width = self._rows * _BLOCK, self._columns * _BLOCK
        for frame in marked:
            area = frame[:height, :width].astype(np.float32)
            light = self._light(area)
            hides = self._texture(light)
            pushed, whole = np.zeros_like(area[..., 0]), area
            for _ in range(_PASSES):
                lacking = np.maximum(self._margin - self._means(self._light(whole)) * wanted, 0.0) * wanted  # [32]
                change = (lacking[self._bit] * hides).astype(np.float32)[:, None, None] * self._patterns
                picture = change.reshape(self._rows, self._columns, _BLOCK, _BLOCK).swapaxes(1, 2)
                pushed += picture.reshape(height, width)
                # The same change in all channels changes brightness alone.
                whole = np.clip(np.rint(area + pushed[..., None]), 0, 255)
            frame[:height, :width] = whole
        return marked

    def read(self, frames: Iterable[NDArray[np.uint8]]) -> Mark | None:
        """The mark in some frames `[height, width, 3]`, or None. The more frames, the surer."""
        total, count = np.zeros(_BITS), 0
        for frame in frames:
            area = frame[: self._rows * _BLOCK, : self._columns * _BLOCK]
            total += self._means(self._light(area.astype(np.float32)))
            count += 1
        if not count:
            return None
        means = total / count
        identity = _identity(means > 0)
        if identity is None:
            return None
        return Mark(identity, float(np.abs(means).min() / self._margin))

    def _light(self, area: NDArray[np.float32]) -> NDArray[np.float32]:
        """Brightness in blocks, `[blocks, 8, 8]`, of `area [height, width, 3]`."""
        light = area @ _LUMA
        return light.reshape(self._rows, _BLOCK, self._columns, _BLOCK).swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK)

    def _means(self, light: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean of each bit's coefficients along the pattern: `[32]`."""
        along = np.einsum("byx,byx->b", light, self._patterns)
        means: NDArray[np.float64] = np.bincount(self._bit, weights=along, minlength=_BITS) / self._blocks
        return means / len(_COEFFICIENTS)

    def _texture(self, light: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far each block is pushed, `[blocks]`, 1 on average for every bit: by the spread of brightness that at
        least half of its quarters have, since beside a single edge a block is smooth."""
        half = _BLOCK // 2
        quarters = light.reshape(-1, 2, half, 2, half).std(axis=(2, 4)).reshape(-1, 4)
        spread = np.clip(np.sort(quarters, axis=1)[:, 1], _SMOOTHEST, _ROUGHEST)
        means = np.bincount(self._bit, weights=spread, minlength=_BITS) / self._blocks
        return np.asarray(spread / means[self._bit], np.float64)


def _payload(identity: int) -> NDArray[np.bool_]:
    """8 bits that say it is a mark, 16 of identity, 8 that check them."""
    if not 0 <= identity < 2**16:
        raise ValueError("the identity has 16 bits")
    body = bytes([_MAGIC]) + identity.to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(body + bytes([zlib.crc32(body) & 0xFF]), dtype=np.uint8)).astype(bool)


def _identity(bits: NDArray[np.bool_]) -> int | None:
    identity = int.from_bytes(np.packbits(bits).tobytes()[1:3], "big")
    return identity if np.array_equal(_payload(identity), bits) else None
