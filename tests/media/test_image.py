"""Pictures in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from talkies.domain.clip import CoverCrop, FrameSize
from talkies.domain.errors import InputError
from talkies.media.image import fill_frame, frame_coordinates, load_image, load_mask
from talkies.media.people import Person, masks_at

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the reference goldens (../shared/golden) are not here")


@needs_golden
def test_preparation_is_the_authors() -> None:
    golden = load_file(GOLDEN / "preprocess.safetensors")
    for case in ("pre0", "pre1", "pre2"):
        pixels, expected = golden[f"{case}.image_hwc_u8"], golden[f"{case}.cond_image"][0, :, 0]
        crop = CoverCrop.of(
            FrameSize(pixels.shape[1], pixels.shape[0]), FrameSize(expected.shape[2], expected.shape[1])
        )
        filled = np.asarray(fill_frame(Image.fromarray(pixels), crop), np.float32).transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(filled, expected, atol=1e-6)
        rows, columns = frame_coordinates(crop)
        np.testing.assert_array_equal(golden[f"{case}.mask"][:, rows][:, :, columns], golden[f"{case}.mask_out"])


@needs_golden
def test_masks_of_boxes_are_the_authors() -> None:
    """Their masks at latent resolution, from row-first boxes; a frame eight times smaller samples the same pixels."""
    checked = 0
    for case in json.loads((GOLDEN / "masks.json").read_text())["masks"]:
        if not case["bbox"]:
            continue
        width, height = case["image_wh"]
        people = []
        for name, box in case["bbox"].items():
            row_min, column_min, row_max, column_max = (int(value) for value in box)
            people.append(Person(name, box=(column_min, row_min, column_max, row_max)))
        crop = CoverCrop.of(FrameSize(width, height), FrameSize(*case["target_hw"][::-1]))
        masks = masks_at(people, *frame_coordinates(crop))
        latent = masks[:, ::8, ::8]
        for mask, expected in zip(latent, case["latent_masks"], strict=False):
            assert int(mask.sum()) == expected["ones"]
            row0, row1, column0, column1 = expected["rows_cols_box"]
            assert mask[row0:row1, column0:column1].all()
        checked += 1
    assert checked >= 4


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_every_mode_becomes_rgb(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    grey = Image.fromarray(ramp)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
        if mode == "I":
            image = Image.fromarray(ramp.astype(np.int32) * 257)
        loaded = load_image(save(tmp_path / f"{mode.replace(';', '')}.{'tiff' if mode == 'I' else 'png'}", image))
        assert loaded.mode == "RGB"
        if mode != "1":
            np.testing.assert_allclose(np.asarray(loaded)[..., 0], ramp, atol=2)
    assert load_image(save(tmp_path / "c.jpg", grey.convert("CMYK"))).mode == "RGB"


def test_transparency_lies_on_white_and_the_camera_may_be_turned(tmp_path: Path) -> None:
    clear = load_image(save(tmp_path / "a.png", Image.new("RGBA", (64, 64), (10, 20, 30, 0))))
    assert clear.getpixel((5, 5)) == (255, 255, 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(save(tmp_path / "r.jpg", Image.new("RGB", (100, 60)), exif=exif)).size == (60, 100)


def test_pictures_that_cannot_be_used(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", Image.effect_noise((300, 300), 80))
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:5000])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n")
    save(tmp_path / "tiny.png", Image.new("RGB", (20, 20)))
    save(tmp_path / "thin.png", Image.new("RGB", (60, 2000)))
    save(tmp_path / "bomb.png", Image.new("1", (12_000, 11_000)))
    for name in ("cut.png", "text.png", "empty.jpg", "page.eps", "tiny.png", "thin.png", "bomb.png", "missing.png"):
        with pytest.raises(InputError, match=name.split(".")[0]):
            load_image(tmp_path / name)


def test_masks(tmp_path: Path) -> None:
    half = np.zeros((60, 80), np.uint8)
    half[:, :40] = 255
    assert load_mask(save(tmp_path / "m.png", Image.fromarray(half)), (80, 60)).mean() == 0.5
    alpha = Image.merge("LA", (Image.new("L", (80, 60)), Image.fromarray(half)))
    assert load_mask(save(tmp_path / "a.png", alpha), (80, 60))[:, :40].all()
    with pytest.raises(InputError, match="80x60"):
        load_mask(tmp_path / "m.png", (60, 80))
    with pytest.raises(InputError, match="empty"):
        load_mask(save(tmp_path / "b.png", Image.new("L", (80, 60))), (80, 60))
