"""Lists of public test sets: what is good is read, everything else is named with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_cases import (
    ID,
    celebv,
    face,
    hdtf,
    results,
)
from talkies.domain.errors import InputError
from talkies.evaluation.datasets.celebv_hq import read_celebv_hq
from talkies.evaluation.datasets.emtd import read_emtd
from talkies.evaluation.datasets.hdtf import read_hdtf
from talkies.evaluation.datasets.listed import (
    Listing,
    is_safe,
    seconds_of,
    youtube_id,
)


def test_bad_lines_of_hdtf_are_named_with_their_place(tmp_path: Path) -> None:
    lists = hdtf(
        tmp_path / "lists",
        "Radio11.mp4 00:00-00:01 00:75-00:80 00:02-00:01 00:01-00:02 nonsense\n"
        "\n"
        "Radio12.mp4 00:00-00:01\n"
        "../evil.mp4 00:00-00:01\n"
        "Radio11.mp4 00:00-00:03\n"
        "Radio13.mp4\n"
        "Radio14.mp4 00:00-00:01\n"
        "Radio15.mp4 00:00-00:01\n",
        "".join(f"Radio{n}.mp4 1 50 1 50\n" for n in ("11_0", "11_1", "11_2", "11_4", "12_0", "11_0"))
        + "Radio14_0.mp4 1 50 x 50\nRadio15_0.mp4 1 50 1 50\n",
        "Radio11.mp4 96\nRadio12.mp4 0\nRadio14.mp4 96\n",
    )
    listing = read_hdtf(lists)
    assert [clip.name for clip in listing.clips] == ["Radio11_0"]
    assert listing.clips[0].stems == ("Radio11", "RD_Radio11", ID)
    found = {(line.name, line.result): line.detail for line in listing.refused}
    assert set(found) == {
        ("Radio11_1", "malformed line"), ("Radio11_2", "empty span"), ("Radio11_3", "no crop line"),
        ("Radio11_4", "malformed line"), ("Radio12_0", "no resolution"), ("", "unsafe name"),
        ("Radio11", "duplicate name"), ("Radio13", "malformed line"), ("Radio11_0", "duplicate name"),
        ("Radio14_0", "malformed line"), ("Radio14_0", "no crop line"), ("Radio15_0", "no resolution"),
    }  # fmt: skip
    assert found["Radio11_1", "malformed line"].startswith("RD_annotion_time.txt line 1: '00:75-00:80'")
    assert found["", "unsafe name"] == "RD_annotion_time.txt line 4: '../evil'"
    assert found["Radio11", "duplicate name"] == "RD_annotion_time.txt line 5"
    assert found["Radio11_0", "duplicate name"] == "RD_crop_wh.txt line 6"
    assert found["Radio14_0", "malformed line"] == "RD_crop_wh.txt line 7: 'Radio14_0.mp4 1 50 x 50'"


def test_one_name_in_two_subsets_is_made_once(tmp_path: Path) -> None:
    lists = hdtf(tmp_path, "Radio11.mp4 00:00-00:01\n", "Radio11_0.mp4 1 50 1 50\n")
    for path in list(lists.iterdir()):
        path.with_name(path.name.replace("RD_", "WRA_")).write_text(path.read_text())
    listing = read_hdtf(lists)
    assert len(listing.clips) == 1
    assert [(line.name, line.detail) for line in listing.refused] == [("Radio11_0", "WRA_annotion_time.txt line 1")]


def test_bad_entries_of_celebv_hq_are_named(tmp_path: Path) -> None:
    bad: dict[str, object] = {
        "a": {"ytb_id": "../../etc/passwd", **{k: v for k, v in face().items() if k != "ytb_id"}},  # type: ignore[attr-defined]
        "b": [1, 2], "c": face(box=(0.5, 0.5, 0, 1)), "d": face(start=2, end=1), "../e": face(), "f": face(start=-1),
        "g": face(end=float("nan")), "h": {"ytb_id": ID}, "i": face(end=10**400), "j": None,
    }  # fmt: skip
    path = celebv(tmp_path, good=face(), **bad)
    path.write_text(path.read_text().replace('"good"', f'"good": {json.dumps(face())}, "good"'))
    listing = read_celebv_hq(path)
    assert [clip.name for clip in listing.clips] == ["good"]
    expected = {**dict.fromkeys(bad, "malformed line"), "d": "empty span", "": "unsafe name", "good": "duplicate name"}
    del expected["../e"]
    assert results(listing) == expected


def test_bad_lines_of_emtd_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        f"URL,Start Timecode,End Timecode\nhttps://a.b/c,00:00:01.0,00:00:02.0\n\n"
        f"https://www.youtube.com/watch?v={ID},00:00:01.0,soon\nhttps://www.youtube.com/watch?v={ID},1\n"
        f"https://www.youtube.com/watch?v={ID},00:00:02.0,00:00:01.0\n"
        f"https://www.youtube.com/watch?v={ID}&t=3,00:00:01.0,00:00:02.5\n"
    )
    listing = read_emtd(path)
    assert [(clip.name, clip.start, clip.end) for clip in listing.clips] == [(f"004_{ID}", 1, 2.5)]
    assert results(listing) == {"000": "malformed line", "001": "malformed line", "002": "malformed line",
                                f"003_{ID}": "empty span"}  # fmt: skip
    assert listing.refused[1].detail.startswith("list.csv line 4: ")


@pytest.mark.parametrize("reader", [read_hdtf, read_celebv_hq, read_emtd])
def test_what_is_no_list_is_refused(tmp_path: Path, reader: Callable[[Path], Listing]) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match=r"There (is|are) no list"):
            reader(path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("nothing of the kind")
    for name in ("bytes", "text") if reader is not read_hdtf else ():
        with pytest.raises(InputError):
            reader(tmp_path / name)
    lists = hdtf(tmp_path / "lists", "a.mp4 00:00-00:01", "")
    (lists / "RD_crop_wh.txt").unlink()
    if reader is read_hdtf:
        with pytest.raises(InputError, match=r"There is no .*RD_crop_wh\.txt"):
            reader(lists)


WORDS = st.lists(
    st.sampled_from(["Radio1.mp4", "Radio1_0.mp4", "00:00-00:05", "5", "-1", "00:00:01.5", "../x", ",", "\n", '"', "{",
                     f"https://www.youtube.com/watch?v={ID}", "URL,Start Timecode,End Timecode\n", "clips", ":", "}"])
    | st.text(max_size=6),
    max_size=30,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(WORDS, st.booleans())
def test_no_list_breaks_a_reader(tmp_path_factory: pytest.TempPathFactory, words: list[str], spaced: bool) -> None:
    text = (" " if spaced else "").join(words).encode("utf-8", "replace").decode()
    folder = tmp_path_factory.getbasetemp() / "lists"
    hdtf(folder, text, text, text, text or " ")
    (folder / "list").write_text(text)
    for reader, path in ((read_hdtf, folder), (read_celebv_hq, folder / "list"), (read_emtd, folder / "list")):
        try:
            listing = reader(path)
        except InputError:
            continue
        assert all(is_safe(clip.name) and clip.end > clip.start >= 0 for clip in listing.clips)


@given(st.text(max_size=20))
def test_safe_names_stay_in_their_folder(name: str) -> None:
    if is_safe(name):
        assert (Path("/out") / f"{name}.mp4").resolve().parent == Path("/out")
        assert name.isprintable() and not name.startswith(".")


@given(st.integers(0, 15), st.integers(0, 59), st.integers(0, 59_999))
def test_times_are_read(hours: int, minutes: int, milliseconds: int) -> None:
    seconds = f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    total = 3600 * hours + 60 * minutes + milliseconds / 1000
    assert seconds_of(f"{hours}:{minutes:02d}:{seconds}") == pytest.approx(total)
    assert seconds_of(f"{60 * hours + minutes}:{seconds}") == pytest.approx(total)


def test_addresses_hold_ids() -> None:
    for url in (f"https://www.youtube.com/watch?v={ID}", f"https://youtube.com/watch?a=b&v={ID}&t=6s",
                f"https://youtu.be/{ID}?t=1", f"https://www.youtube.com/embed/{ID}"):  # fmt: skip
        assert youtube_id(url) == ID
    for url in (
        "",
        "https://www.youtube.com/watch?v=short",
        f"https://www.youtube.com/watch?v={ID}x",
        "v=../../../etc",
    ):
        assert youtube_id(url) is None
