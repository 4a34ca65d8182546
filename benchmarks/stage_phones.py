"""How near the stage's phone boundaries are to those of an aligner that shares nothing with it.

The other aligner is Penn's (P2FA, in `fave`): hidden Markov models learnt from the Supreme Court's recordings, over
perceptual linear prediction. Its models are read here; its programs (HTK) are not needed. `--check` compares this
reading of them with the one alignment that HTK's own programs left in the package.

    pip install --no-deps fave==2.0.2
    python benchmarks/stage_phones.py --voices 60
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.special import logsumexp

from talkies.media.resampling import SAMPLING_RATE, resample
from talkies.stage.alignment import SILENCE, Alignment, AlignmentError, align
from talkies.stage.texts import sample_text
from talkies.stage.tracks import available_engines
from talkies.stage.voices import available_voices, render

Array = NDArray[np.float64]
HOP = 0.01  # s
#: Seconds from a frame's number to the border in the middle between its window's centre and that of the one before.
LAG = 0.0125 - HOP / 2
#: The same as P2FA itself counts it: the centre of the window.
LAG_OF_PENN = 0.0125
_WINDOW, _STEP = 400, 160  # samples
_CHANNELS, _ORDER, _LIFTER = 20, 12, 22
_NEVER = -1e30


def features(waveform: NDArray[np.float32]) -> Array:
    """HTK's `PLP_0_D_A_Z`: `[n]` at 16 kHz to `[T, 39]`, 10 ms a row."""
    count = 1 + (len(waveform) - _WINDOW) // _STEP
    rows = np.arange(count)[:, None] * _STEP + np.arange(_WINDOW)
    frames = waveform.astype(np.float64)[rows] * 32768
    frames -= frames.mean(1, keepdims=True)
    frames[:, 1:] -= 0.97 * frames[:, :-1].copy()
    frames[:, 0] *= 1 - 0.97
    power = np.abs(np.fft.rfft(frames * np.hamming(_WINDOW), 512)) ** 2
    heard, centres = _filters()
    squares = (700 * (np.exp(centres / 1127) - 1)) ** 2
    loudness = (squares / (squares + 1.6e5)) ** 2 * (squares + 1.44e6) / (squares + 9.61e6)
    bands = (np.maximum(power @ heard, 1.0) * loudness) ** 0.33
    bands = np.concatenate([bands[:, :1], bands, bands[:, -1:]], axis=1)  # [T, 22]
    angles = np.pi / (_CHANNELS + 1) * np.arange(_ORDER + 1)[:, None] * np.arange(_CHANNELS + 2)
    weights = 2 * np.cos(angles)
    weights[:, 0], weights[:, -1] = 1, np.cos(angles[:, -1])
    cepstra = _cepstra(bands @ weights.T / (2 * (_CHANNELS + 1)))
    cepstra -= cepstra.mean(0)
    slopes = _slopes(cepstra)
    return np.concatenate([cepstra, slopes, _slopes(slopes)], axis=1)


def _filters() -> tuple[Array, Array]:
    """Triangles on the mel scale: `[257, 20]`, and their centres in mel."""

    def mel(bins: Array) -> Array:
        return np.asarray(1127 * np.log1p(bins * SAMPLING_RATE / 512 / 700))

    edges = np.linspace(0, float(mel(np.array(256.0))), _CHANNELS + 2)
    places = mel(np.arange(257.0))[:, None]
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    heard = np.clip(np.minimum(rising, falling), 0, None)
    heard[0] = heard[256] = 0  # HTK hears neither the constant nor the highest frequency
    return heard, edges[1:-1]


def _cepstra(autocorrelation: Array) -> Array:
    """Levinson and Durbin's recursion, then cepstra: `[T, 13]` to `[T, 13]`, the gain last."""
    count = len(autocorrelation)
    predictor = np.zeros((count, _ORDER + 1))
    error = autocorrelation[:, 0].copy()
    for order in range(1, _ORDER + 1):
        known = (predictor[:, 1:order] * autocorrelation[:, order - 1 : 0 : -1]).sum(1)
        reflection = -(autocorrelation[:, order] + known) / error
        predictor[:, 1:order] += reflection[:, None] * predictor[:, order - 1 : 0 : -1].copy()
        predictor[:, order] = reflection
        error *= 1 - reflection**2
    out = np.zeros((count, _ORDER + 1))
    for n in range(1, _ORDER + 1):
        inner = sum((n - i) * predictor[:, i] * out[:, n - i - 1] for i in range(1, n))
        out[:, n - 1] = -(predictor[:, n] + inner / n)
    numbers = np.arange(1, _ORDER + 1)
    out[:, :_ORDER] *= 1 + _LIFTER / 2 * np.sin(np.pi * numbers / _LIFTER)
    out[:, _ORDER] = np.log(error)
    return out


def _slopes(rows: Array) -> Array:
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    return (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10


@dataclass(frozen=True)
class State:
    """Mixture of normals: logarithms of weight and norm `[M]`, means and inverse variances `[M, 39]`."""

    weights: Array
    means: Array
    precisions: Array

    def score(self, rows: Array) -> Array:
        """Log densities, `[T, 39]` to `[T]`."""
        tilted = self.means * self.precisions
        away = rows**2 @ self.precisions.T - 2 * rows @ tilted.T + (self.means * tilted).sum(1)
        return np.asarray(logsumexp(self.weights - 0.5 * away, axis=1))


@dataclass(frozen=True)
class Model:
    """A phone: its states and the logarithms of its transitions, entry and exit included `[S + 2, S + 2]`."""

    states: tuple[State, ...]
    steps: Array


def read_models(path: Path) -> dict[str, Model]:
    """HTK's text format, as far as these models use it."""
    shared: dict[str, State] = {}
    models: dict[str, Model] = {}
    states: list[State] = []
    words = path.read_text("ascii").split()
    starts = [k for k, word in enumerate(words) if word in ("~s", "~h", "<STATE>", "<TRANSP>")]
    name = ""
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        part = words[start:end]
        if part[0] == "~h":
            name, states = part[1].strip('"'), []
        elif part[0] == "<TRANSP>":
            side = int(part[1])
            steps = np.array(part[2 : 2 + side * side], np.float64).reshape(side, side)
            models[name] = Model(tuple(states), np.where(steps > 0, np.log(np.maximum(steps, 1e-300)), _NEVER))
        elif "<MEAN>" in part:  # a state, named (~s) or not
            made = _read_state(part)
            if part[0] == "~s":
                shared[part[1]] = made
            else:
                states.append(made)
        elif part[0] == "~s":
            states.append(shared[part[1]])
    return models


def _read_state(words: list[str]) -> State:
    weights, means, variances = [], [], []
    for k, word in enumerate(words):
        if word == "<MIXTURE>":
            weights.append(np.log(max(float(words[k + 2]), 1e-30)))
        elif word in ("<MEAN>", "<VARIANCE>"):
            count = int(words[k + 1])
            (means if word == "<MEAN>" else variances).append(np.array(words[k + 2 : k + 2 + count], np.float64))
    spread = np.stack(variances)
    norms = np.log(2 * np.pi * spread).sum(1)  # <GCONST> is missing here and there
    return State(np.array(weights or [0.0]) - 0.5 * norms, np.stack(means), 1 / spread)


def boundaries(rows: Array, words: list[list[str]], models: dict[str, Model]) -> list[tuple[str, int, int]]:
    """Viterbi: the phones of the words, with a pause before, between and after them where the sound has one.

    Args:
        rows: `[T, 39]`. words: ARPAbet without stress; any stress is allowed. models: See `read_models`.

    Returns:
        Phones in order, first frame, and the frame after the last; pauses have the label `SIL`.
    """
    chain: list[tuple[str, list[Model]]] = [(SILENCE, [models["sp"]])]
    for word in words:
        chain += [(label, [m for n, m in models.items() if n.rstrip("012") == label]) for label in word]
        chain.append((SILENCE, [models["sp"]]))
    scores, owners, firsts, lasts = [], [], [], []
    heard: dict[str, list[Array]] = {}
    for number, (label, variants) in enumerate(chain):
        firsts.append(len(scores))
        if label not in heard:
            heard[label] = [
                np.max([model.states[k].score(rows) for model in variants], axis=0)
                for k in range(len(variants[0].states))
            ]
        scores += heard[label]
        owners += [number] * len(variants[0].states)
        lasts.append(len(scores) - 1)
    steps = np.full((len(scores), len(scores)), _NEVER)
    for number, (_, variants) in enumerate(chain):
        inner = variants[0].steps
        own = slice(firsts[number], lasts[number] + 1)
        steps[own, own] = inner[1:-1, 1:-1]
        leave, skipped = inner[-2, -1], 0.0
        for later in range(number + 1, len(chain)):
            entered = chain[later][1][0].steps
            steps[lasts[number], firsts[later]] = leave + skipped + entered[0, 1]
            skipped += entered[0, -1]  # a pause may be left out
            if skipped <= _NEVER:
                break
    best = np.full(len(scores), _NEVER)
    best[firsts[0]] = scores[0][0] + models["sp"].steps[0, 1]
    best[firsts[1]] = scores[firsts[1]][0] + models["sp"].steps[0, -1]
    origin = np.zeros((len(rows), len(scores)), np.int32)
    emitted = np.stack(scores, axis=1)
    for time in range(1, len(rows)):
        ways = best[:, None] + steps
        origin[time] = ways.argmax(0)
        best = ways[origin[time], np.arange(len(scores))] + emitted[time]
    here = lasts[-1] if best[lasts[-1]] >= best[lasts[-2]] + models["sp"].steps[0, -1] else lasts[-2]
    path = [here]
    for time in range(len(rows) - 1, 0, -1):
        path.append(int(origin[time, path[-1]]))
    owned = np.array([owners[state] for state in path[::-1]])
    starts = [0, *(np.flatnonzero(np.diff(owned)) + 1).tolist()]
    return [(chain[owned[start]][0], start, end) for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def phones_by_word(found: Alignment) -> list[list[str]]:
    """The pronunciations that the stage's aligner chose."""
    spoken = [phone for phone in found.phones if phone.label != SILENCE]
    return [[p.label for p in spoken if word.start <= p.centre < word.end] for word in found.words]


def differences(waveform: NDArray[np.float32], found: Alignment, models: dict[str, Model]) -> list[float]:
    """Seconds by which the stage's phones begin later than the other aligner's."""
    other = [
        (label, start * HOP + LAG)
        for label, start, _ in boundaries(features(waveform), phones_by_word(found), models)
        if label != SILENCE
    ]
    own = [phone for phone in found.phones if phone.label != SILENCE]
    if [phone.label for phone in own] != [label for label, _ in other]:
        raise SystemExit("The two aligners hold different phones.")
    return [phone.start - start for phone, (_, start) in zip(own, other, strict=True)]


def check(folder: Path) -> None:
    """Prints this program's alignment of the package's recording beside HTK's."""
    wave, rate = soundfile.read(folder / "examples/test/BREY00538.wav", dtype="float32", always_2d=True)
    rows = features(resample(wave[:, 0], rate))
    words = [["S", "T", "AE", "CH", "UW", "T"]]
    lines = (folder / "examples/test/BREY00538.TextGrid").read_text("ascii").split()
    kept = iter(lines[lines.index('"sp"') - 2 : lines.index('"word"') - 1])
    theirs = [(label.strip('"'), float(start)) for start, _, label in zip(kept, kept, kept, strict=False)]
    ours = boundaries(rows, words, read_models(folder / "model/16000/hmmdefs"))
    for (label, start, _), (name, begins) in zip(ours, theirs, strict=True):
        print(f"{label:4}{start * HOP + LAG_OF_PENN:8.3f} s   HTK {name:4}{begins:8.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=int, default=60, help="how many, of every engine alike")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    spec = importlib.util.find_spec("fave")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps fave==2.0.2")
    folder = Path(spec.submodule_search_locations[0]) / "align"
    if options.check:
        check(folder)
        return
    models = read_models(folder / "model/16000/hmmdefs")
    rng = np.random.default_rng(0)
    everything: list[float] = []
    engines = available_engines()
    for engine in engines:
        voices = available_voices("train", engine)
        chosen = voices[:: max(1, len(voices) * len(engines) // options.voices)]
        late: list[float] = []
        refused = 0
        for voice in chosen:
            text = sample_text(rng, "train", 1)
            waveform = render(text, voice)
            try:
                late += differences(waveform, align(waveform, text), models)
            except AlignmentError:
                refused += 1
        report(engine, late, f"{len(chosen)} voices, {refused} refused by the stage")
        everything += late
    report("together", everything, f"{len(engines)} engines")


def report(name: str, late: list[float], about: str) -> None:
    """One line of milliseconds."""
    ms = 1000 * np.array(late)
    print(
        f"{name}: median |difference| {np.median(np.abs(ms)):.1f} ms, 90th percentile "
        f"{np.percentile(np.abs(ms), 90):.1f} ms, median difference {np.median(ms):+.1f} ms, "
        f"{len(ms)} boundaries ({about})"
    )


if __name__ == "__main__":
    main()
