"""Rooms, noises, loudness, microphones and codecs, put on clean speech when features are made.

The direct sound keeps its time in every variation, so lips and sound stay together.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE, resample

Noise = Literal["none", "white", "pink", "brown", "hum", "crowd"]
Codec = Literal["none", "mu-law", "gsm", "vorbis", "mp3"]
NOISES: tuple[Noise, ...] = ("none", "white", "pink", "brown", "hum", "crowd")
CODECS: tuple[Codec, ...] = ("none", "mu-law", "gsm", "vorbis", "mp3")
_LOUDEST_REFLECTION = 0.8  # of the direct sound
_SPEED_OF_SOUND = 343.0  # m/s
_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """A box with one talker and one microphone.

    Attributes:
        size: Length, width, height in metres.
        talker: Position in metres from a corner. microphone: Likewise.
        reverberation: Seconds until sound has fallen by 60 dB.
    """

    size: tuple[float, float, float]
    talker: tuple[float, float, float]
    microphone: tuple[float, float, float]
    reverberation: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Room:
        """From a furnished office to a bare hall; the microphone within 0.4 to 3 m."""
        size = rng.uniform([2.5, 2.5, 2.3], [9.0, 7.0, 3.6])
        talker = size * rng.uniform(0.25, 0.75, 3)
        direction = rng.standard_normal(3) * [1, 1, 0.3]
        microphone = talker + direction / np.linalg.norm(direction) * rng.uniform(0.4, 3.0)
        inside = np.clip(microphone, 0.2, size - 0.2)
        return cls(_triple(size), _triple(talker), _triple(inside), float(rng.uniform(0.12, 0.7)))


@dataclass(frozen=True)
class Acoustics:
    """One way in which a voice reaches us.

    Attributes:
        room: None: no room at all.
        noise: Kind of background. snr_db: Speech to noise in decibels.
        gain_db: Level change at the end.
        low_cut, high_cut: Pass band of the microphone in Hz.
        tilt_db: Brightness, decibels an octave around 1 kHz.
        codec: What the sound was stored with.
        seed: Of all randomness in noise and reverberation.
    """

    room: Room | None = None
    noise: Noise = "none"
    snr_db: float = 30.0
    gain_db: float = 0.0
    low_cut: float = 20.0
    high_cut: float = 8000.0
    tilt_db: float = 0.0
    codec: Codec = "none"
    seed: int = 0

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Acoustics:
        """A random variation; a quarter of all is nearly clean."""
        if rng.random() < 0.25:
            return cls(gain_db=float(rng.uniform(-8, 4)), noise="pink", snr_db=45.0, seed=int(rng.integers(2**31)))
        return cls(
            room=Room.sample(rng) if rng.random() < 0.6 else None,
            noise=NOISES[int(rng.choice(len(NOISES), p=(0.15, 0.15, 0.25, 0.15, 0.1, 0.2)))],
            snr_db=float(rng.uniform(8, 35)),
            gain_db=float(rng.uniform(-14, 6)),
            low_cut=float(rng.uniform(20, 250)),
            high_cut=float(rng.uniform(3400, 8000)),
            tilt_db=float(rng.normal(0, 1.5)),
            codec=CODECS[int(rng.choice(len(CODECS), p=(0.6, 0.1, 0.08, 0.12, 0.1)))],
            seed=int(rng.integers(2**31)),
        )

    def apply(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """`waveform` `[n]` at 16 kHz as it would be recorded: `[n]`, in [-1, 1], with no delay.

        Raises:
            InputError: Not one channel, or not finite.
        """
        if waveform.ndim != 1 or not np.isfinite(waveform).all():
            raise InputError(f"sound of shape {waveform.shape} cannot be varied", hint="Give one finite channel.")
        if not len(waveform):
            return waveform.astype(np.float32)
        rng = np.random.default_rng(self.seed)
        sound = waveform.astype(np.float64)
        if self.room is not None:
            sound = _convolve(sound, impulse_response(self.room, rng))
        if self.noise != "none":
            sound = sound + _noise(self.noise, len(sound), rng) * _noise_level(sound, self.snr_db)
        sound = _microphone(sound, self.low_cut, self.high_cut, self.tilt_db)
        sound = np.clip(sound * 10 ** (self.gain_db / 20), -1, 1)
        return np.clip(_encode(sound.astype(np.float32), self.codec), -1, 1)


def impulse_response(room: Room, rng: np.random.Generator) -> _Array:
    """From talker to microphone, `[n]`, starting with the direct sound at 1.

    Early reflections by the image method (Allen and Berkley 1979) up to third order, then noise that decays by 60 dB in
    the room's reverberation time (Moorer 1979).
    """
    size, talker, microphone = (np.asarray(v) for v in (room.size, room.talker, room.microphone))
    orders = np.array([(i, j, k) for i in range(-3, 4) for j in range(-3, 4) for k in range(-3, 4)
                       if abs(i) + abs(j) + abs(k) <= 3])  # fmt: skip
    images = np.where(orders % 2 == 0, orders * size + talker, (orders + 1) * size - talker)  # [images, 3] metres
    distance = np.linalg.norm(images - microphone, axis=1)
    direct = float(np.linalg.norm(talker - microphone))
    surface = 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    # Sabine's formula turned round: what the walls swallow to give this reverberation time.
    absorption = np.clip(0.161 * size.prod() / (surface * room.reverberation), 0.05, 0.95)
    gain = np.sqrt(1 - absorption) ** np.abs(orders).sum(axis=1) * direct / np.maximum(distance, 0.1)
    length = round(room.reverberation * SAMPLING_RATE)
    response = np.zeros(length + 1)
    delays = np.rint((distance - direct) / _SPEED_OF_SOUND * SAMPLING_RATE).astype(int)
    heard = (delays >= 0) & (delays <= length)
    np.add.at(response, delays[heard], gain[heard])
    times = np.arange(length + 1) / SAMPLING_RATE
    mixing = 0.001 * np.sqrt(size.prod())  # s, when reflections become dense (Polack 1993)
    # Diffuse energy relative to the direct sound falls with the square of the critical distance.
    level = direct / (0.057 * np.sqrt(size.prod() / room.reverberation)) / np.sqrt(room.reverberation / 13.8)
    tail = rng.standard_normal(length + 1) * 10 ** (-3 * times / room.reverberation) * (times > mixing)
    response += level / np.sqrt(SAMPLING_RATE) * tail
    # Coinciding reflections may be louder than the direct sound; lips and voice would then seem apart.
    response[1:] = np.clip(response[1:], -_LOUDEST_REFLECTION, _LOUDEST_REFLECTION)
    return response


def _triple(values: _Array) -> tuple[float, float, float]:
    x, y, z = values
    return float(x), float(y), float(z)


def _convolve(sound: _Array, response: _Array) -> _Array:
    """The first `len(sound)` samples of the convolution, with the loudness of the speech kept."""
    size = 1 << int(np.ceil(np.log2(len(sound) + len(response))))
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)[: len(sound)]
    return np.asarray(wet * np.sqrt((sound**2).mean() / max(float((wet**2).mean()), 1e-12)))


def _noise_level(sound: _Array, snr_db: float) -> float:
    """Amplitude of unit-power noise for a ratio to the active speech; silence counts as speech at 0.08."""
    blocks = sound[: len(sound) // 320 * 320].reshape(-1, 320)
    power = (blocks**2).mean(axis=1) if len(blocks) else np.zeros(1)
    active = power[power > power.max() * 1e-3].mean() if power.max() > 1e-8 else 0.08**2
    return float(np.sqrt(active) * 10 ** (-snr_db / 20))


def _noise(kind: Noise, count: int, rng: np.random.Generator) -> _Array:
    """Background sound of unit power, `[count]`."""
    times = np.arange(count) / SAMPLING_RATE
    if kind == "hum":
        mains = rng.choice([50.0, 60.0])
        parts = [rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * (k * mains * times + rng.random())) for k in range(1, 8)]
        sound = np.sum(parts, axis=0) + 0.05 * rng.standard_normal(count)
    else:
        frequency = np.fft.rfftfreq(count, 1 / SAMPLING_RATE)
        slope = {"white": 0.0, "pink": 0.5, "brown": 1.0, "crowd": 0.55}[kind]
        spectrum = np.fft.rfft(rng.standard_normal(count)) / np.maximum(frequency, 20.0) ** slope
        if kind == "crowd":  # the band of speech, swelling like many voices at once
            spectrum *= 1 / (1 + (120 / np.maximum(frequency, 1)) ** 4) / (1 + (frequency / 3500) ** 4)
        sound = np.fft.irfft(spectrum, count)
        if kind == "crowd":
            knots = rng.uniform(0.4, 1.0, max(4, int(times[-1] * 6) + 2))
            sound *= np.interp(times, np.linspace(0, times[-1] + 1e-6, len(knots)), knots)
    return np.asarray(sound / max(float(np.sqrt((sound**2).mean())), 1e-12))


def _microphone(sound: _Array, low_cut: float, high_cut: float, tilt_db: float) -> _Array:
    """Second-order slopes at both ends of the pass band and a tilt, without phase shift."""
    size = 1 << int(np.ceil(np.log2(2 * len(sound))))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLING_RATE), 1.0)
    response = 1 / np.sqrt(1 + (low_cut / frequency) ** 4) / np.sqrt(1 + (frequency / high_cut) ** 8)
    response *= 10 ** (tilt_db * np.clip(np.log2(frequency / 1000), -4, 3) / 20)
    return np.asarray(np.fft.irfft(np.fft.rfft(sound, size) * response, size)[: len(sound)])


def _encode(sound: NDArray[np.float32], codec: Codec) -> NDArray[np.float32]:
    """Through a real codec and back, by libsndfile: `[n]`, with the codec's delay taken out."""
    if codec == "none":
        return sound
    layouts = {
        "mu-law": ("WAV", "ULAW", 8000),
        "gsm": ("WAV", "GSM610", 8000),
        "vorbis": ("OGG", "VORBIS", SAMPLING_RATE),
        "mp3": ("MP3", "MPEG_LAYER_III", SAMPLING_RATE),
    }
    import soundfile

    form, subtype, rate = layouts[codec]
    padded = np.pad(sound, (800, 3200))  # room for the codec's delay and its last block
    narrow = padded if rate == SAMPLING_RATE else resample(padded, SAMPLING_RATE, rate)
    with io.BytesIO() as file:
        soundfile.write(file, narrow, rate, format=form, subtype=subtype)
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
    wide = decoded if rate == SAMPLING_RATE else resample(decoded, rate)
    delay = _delay(padded, wide)
    out = np.zeros(len(sound), np.float32)
    piece = wide[max(0, 800 + delay) :][: len(sound)]
    out[: len(piece)] = piece
    return out


def _delay(before: NDArray[np.float32], after: NDArray[np.float32]) -> int:
    """Samples by which `after` lags, by the peak of the cross-correlation, at most 1600."""
    size = 1 << int(np.ceil(np.log2(len(before) + len(after))))
    correlation = np.fft.irfft(np.conj(np.fft.rfft(before, size)) * np.fft.rfft(after, size), size)
    window = np.concatenate([correlation[-800:], correlation[:1601]])
    return int(np.argmax(np.abs(window))) - 800 if np.abs(window).max() > 1e-9 else 0
