"""Pictures in: decoded within limits, upright, RGB, cut to the frame."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from talkies.domain.clip import CoverCrop
from talkies.domain.errors import InputError

#: Pictures beyond these are refused before their pixels are decoded.
MAX_PIXELS = 120_000_000
MIN_SIDE = 48
MAX_BYTES = 500_000_000
#: Only these decoders are ever tried: no PostScript, no PDF, nothing that runs another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")


def load_image(path: Path, what: str = "image") -> Image.Image:
    """Decodes a picture (of an animation: the first frame) to upright 8-bit RGB; transparency lies on white.

    Args:
        path: The file.
        what: What it is for, for the message.

    Raises:
        InputError: It is not a picture, is broken, or lies outside the limits.
    """
    return _on_white(_open(path, what))


def load_mask(path: Path, size: tuple[int, int], what: str = "mask") -> NDArray[np.bool_]:
    """A mask picture as booleans, true where it is lighter than half (or opaque, when only the alpha channel varies).

    Args:
        path: The file.
        size: Width and height it must have.
        what: What it is for, for the message.

    Returns:
        `[height, width]`.

    Raises:
        InputError: It is not a picture, has another size, or is empty.
    """
    image = _open(path, what)
    if image.size != size:
        raise InputError(f"The {what} {path.name} is {image.width}x{image.height}, the picture {size[0]}x{size[1]}.",
                         "A mask has the picture's size.")  # fmt: skip
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    light = np.asarray(_on_white(image).convert("L"))
    mask: NDArray[np.bool_] = light > 127
    if alpha is not None and alpha.min() != alpha.max():
        mask = alpha > 127
    if not mask.any():
        raise InputError(f"The {what} {path.name} is empty: nothing in it is white.")
    return mask


def _open(path: Path, what: str) -> Image.Image:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"The {what} {path.name} is larger than {MAX_BYTES // 1_000_000} MB.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limits apply, below
            with Image.open(path, formats=FORMATS) as image:
                _check_size(image, path, what)
                image.seek(0)
                image.load()
                return ImageOps.exif_transpose(image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"The {what} {path.name} is not a picture that can be read.",
                         f"Readable: {', '.join(FORMATS)}.") from None  # fmt: skip
    except FileNotFoundError:
        raise InputError(f"There is no {what} {path}.") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The {what} {path.name} is broken: {' '.join(str(error).split())[:150] or type(error).__name__}."
        ) from None


def _check_size(image: Image.Image, path: Path, what: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"The {what} {path.name} is {width}x{height}: more than {MAX_PIXELS // 1_000_000} megapixels.",
            "Scale it down.",
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"The {what} {path.name} is only {width}x{height}; both sides must be at least {MIN_SIDE}.")
    if max(width, height) > 20 * min(width, height):
        raise InputError(f"The {what} {path.name} is {width}x{height}: too long and thin for a video.")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        # 16 bits and more: Pillow's own conversion clips instead of scaling.
        values = np.asarray(image, dtype=np.float64)
        top = 65_535.0 if image.mode.startswith("I") else 1.0
        if values.max(initial=0.0) > top:
            top = float(values.max())
        return Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def fill_frame(image: Image.Image, crop: CoverCrop) -> Image.Image:
    """The picture at the frame's size: resized (bilinear, as the authors do) until it covers it, middle cut out."""
    resized = image.resize((crop.resized.width, crop.resized.height), Image.Resampling.BILINEAR)
    return resized.crop((crop.left, crop.top, crop.left + crop.target.width, crop.top + crop.target.height))


def frame_coordinates(crop: CoverCrop) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which pixel of the picture each row and column of the frame shows, by nearest neighbour.

    Returns:
        Source rows `[target height]` and source columns `[target width]`.
    """

    def along(source: int, resized: int, first: int, count: int) -> NDArray[np.int64]:
        # float32 arithmetic on purpose: at exact halves it decides as the authors' nearest-neighbour resize does.
        scale = np.float32(source) / np.float32(resized)
        positions = np.arange(first, first + count, dtype=np.float32) * scale
        return np.minimum(np.floor(positions).astype(np.int64), source - 1)

    return (
        along(crop.source.height, crop.resized.height, crop.top, crop.target.height),
        along(crop.source.width, crop.resized.width, crop.left, crop.target.width),
    )
