"""Bodies to fit from: everybody of a set of clips as evaluation would cut them out, and which gesture is on when."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.body_regions import SIDE, SIZE, cut_bodies, squares
from talkies.evaluation.networks.arm_gestures import NUMBERS
from talkies.media.shards import decode_video, read_clips
from talkies.media.staging import staged

#: Pixels kept around, for shifted ones; further off, the middle would no longer be the face.
MARGIN = 2
#: How far the size of a face may be misjudged (standard deviation of its logarithm).
_SIZE_ERROR = 0.08


@dataclass(frozen=True)
class Bodies:
    """N people of clips, of L frames together.

    Attributes:
        pictures: `[L, 52, 52, 4]` uint8, see `body_regions.cut_bodies`; memory-mapped.
        classes: `[L]` uint8, 1 + index in `arm_gestures.NAMES` while a stroke is on, else 0.
        starts: `[N + 1]` int64; person k's frames are `starts[k]` to `starts[k + 1]`.
    """

    pictures: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def span(self, person: int) -> slice:
        """Frames of a person."""
        return slice(int(self.starts[person]), int(self.starts[person + 1]))


def cut_set(sets: Path, name: str, folder: Path, exact: bool, say: Callable[[str], None] = lambda text: None) -> Bodies:
    """Bodies of a set's clips; made once, then read.

    Args:
        sets: Folder of `talkies stage render`. name: Shards whose names begin so. folder: Where the arrays go.
        exact: Whether faces are judged to be as large as they are; else a little off.

    Raises:
        InputError: There are no shards.
    """
    shards = sorted(path for path in sets.glob(f"{name}*.tar") if not path.name.startswith("."))
    if not shards:
        raise InputError(f"There are no shards {name}*.tar in {sets}.", f"talkies stage render --set {name} --out DIR")
    made_of = {"shards": [[path.name, path.stat().st_size] for path in shards], "exact": exact, "square": [SIZE, SIDE]}
    mark = folder / f"{name}.json"
    if not mark.exists() or json.loads(mark.read_text()) != made_of:
        folder.mkdir(parents=True, exist_ok=True)
        mark.unlink(missing_ok=True)
        parts = []
        for number, shard in enumerate(shards, 1):
            parts += list(_cut_shard(shard, exact))
            say(f"{number} of {len(shards)} shards cut")
        arrays = {
            "pictures": np.concatenate([picture for picture, _ in parts]),
            "classes": np.concatenate([classes for _, classes in parts]),
            "starts": np.cumsum([0, *(len(classes) for _, classes in parts)]),
        }
        for kind, array in arrays.items():
            with staged(folder / f"{name}-{kind}.npy") as scratch, scratch.open("wb") as file:
                np.save(file, array)
        mark.write_text(json.dumps(made_of))
    kinds = ("pictures", "classes", "starts")
    return Bodies(*(np.load(folder / f"{name}-{kind}.npy", mmap_mode="r") for kind in kinds))


def _cut_shard(shard: Path, exact: bool) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Pictures and classes of everybody in its clips."""
    classes = np.zeros(256, np.uint8)
    classes[list(NUMBERS.values())] = 1 + np.arange(len(NUMBERS))
    for clip in read_clips(shard):
        people = range(len(json.loads(clip["json"])["people"]))
        frames = decode_video(clip["mp4"])
        rng = np.random.default_rng(list(clip["key"]))
        wider = (SIZE + 2 * MARGIN) / SIZE
        with np.load(io.BytesIO(clip["npz"]), allow_pickle=False) as labels:
            points = [labels[f"p{k}/points"] for k in people]
            gestures = [labels[f"p{k}/gesture"] for k in people]
        places = [squares(own[:, :2], own[:, 3:5]) for own in points]
        for place in places:
            place[:, 2] *= wider * (1.0 if exact else np.exp(rng.normal(0, _SIZE_ERROR)))
        for body, gesture in zip(cut_bodies(frames, places, SIZE + 2 * MARGIN), gestures, strict=True):
            yield body, classes[gesture]
