"""Who a synthetic person is: everything about the looks, drawn from one seed and frozen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talkies.stage.texts import Split

Colour = tuple[float, float, float]

#: Seeds from here on are people of the test sets; training never draws them.
FIRST_TEST_SEED = 1_000_000
#: Local targets may not go further than this: beyond it faces turn into caricatures.
TARGET_LIMIT = 0.4
#: (decreasing, increasing, reach) of the face's shape: reach 1 goes to `TARGET_LIMIT`; `{}` is l and r together.
_SHAPES: tuple[tuple[str, str, float], ...] = (
    ("head/head-fat-decr", "head/head-fat-incr", 0.9),
    ("head/head-angle-in", "head/head-angle-out", 0.7),
    ("head/head-scale-depth-decr", "head/head-scale-depth-incr", 0.7),
    ("head/head-scale-horiz-decr", "head/head-scale-horiz-incr", 0.7),
    ("head/head-scale-vert-decr", "head/head-scale-vert-incr", 0.7),
    ("forehead/forehead-nubian-decr", "forehead/forehead-nubian-incr", 0.8),
    ("forehead/forehead-scale-vert-decr", "forehead/forehead-scale-vert-incr", 1.0),
    ("forehead/forehead-temple-decr", "forehead/forehead-temple-incr", 1.0),
    ("eyebrows/eyebrows-angle-down", "eyebrows/eyebrows-angle-up", 0.9),
    ("eyebrows/eyebrows-trans-down", "eyebrows/eyebrows-trans-up", 0.9),
    ("nose/nose-base-down", "nose/nose-base-up", 1.0),
    ("nose/nose-curve-concave", "nose/nose-curve-convex", 1.0),
    ("nose/nose-hump-decr", "nose/nose-hump-incr", 1.0),
    ("nose/nose-flaring-decr", "nose/nose-flaring-incr", 1.0),
    ("nose/nose-greek-decr", "nose/nose-greek-incr", 0.7),
    ("nose/nose-nostrils-width-decr", "nose/nose-nostrils-width-incr", 1.0),
    ("nose/nose-point-down", "nose/nose-point-up", 1.0),
    ("nose/nose-point-width-decr", "nose/nose-point-width-incr", 1.0),
    ("nose/nose-scale-depth-decr", "nose/nose-scale-depth-incr", 1.0),
    ("nose/nose-scale-horiz-decr", "nose/nose-scale-horiz-incr", 1.0),
    ("nose/nose-scale-vert-decr", "nose/nose-scale-vert-incr", 1.0),
    ("nose/nose-width1-decr", "nose/nose-width1-incr", 1.0),
    ("nose/nose-width2-decr", "nose/nose-width2-incr", 1.0),
    ("nose/nose-volume-decr", "nose/nose-volume-incr", 0.8),
    ("mouth/mouth-scale-horiz-decr", "mouth/mouth-scale-horiz-incr", 1.0),
    ("mouth/mouth-trans-down", "mouth/mouth-trans-up", 0.7),
    ("mouth/mouth-cupidsbow-decr", "mouth/mouth-cupidsbow-incr", 1.0),
    ("mouth/mouth-upperlip-height-decr", "mouth/mouth-upperlip-height-incr", 1.0),
    ("mouth/mouth-lowerlip-height-decr", "mouth/mouth-lowerlip-height-incr", 1.0),
    ("mouth/mouth-upperlip-volume-decr", "mouth/mouth-upperlip-volume-incr", 1.0),
    ("mouth/mouth-lowerlip-volume-decr", "mouth/mouth-lowerlip-volume-incr", 1.0),
    ("chin/chin-width-decr", "chin/chin-width-incr", 1.0),
    ("chin/chin-height-decr", "chin/chin-height-incr", 1.0),
    ("chin/chin-bones-decr", "chin/chin-bones-incr", 1.0),
    ("chin/chin-cleft-decr", "chin/chin-cleft-incr", 0.8),
    ("chin/chin-prominent-decr", "chin/chin-prominent-incr", 1.0),
    ("chin/chin-prognathism-decr", "chin/chin-prognathism-incr", 0.5),
    ("cheek/{}-cheek-bones-decr", "cheek/{}-cheek-bones-incr", 1.0),
    ("cheek/{}-cheek-volume-decr", "cheek/{}-cheek-volume-incr", 1.0),
    ("cheek/{}-cheek-inner-decr", "cheek/{}-cheek-inner-incr", 0.8),
    ("eyes/{}-eye-scale-decr", "eyes/{}-eye-scale-incr", 0.9),
    ("eyes/{}-eye-height2-decr", "eyes/{}-eye-height2-incr", 0.9),
    ("eyes/{}-eye-corner1-down", "eyes/{}-eye-corner1-up", 1.0),
    ("eyes/{}-eye-corner2-down", "eyes/{}-eye-corner2-up", 1.0),
    ("eyes/{}-eye-eyefold-angle-down", "eyes/{}-eye-eyefold-angle-up", 0.9),
    ("eyes/{}-eye-trans-in", "eyes/{}-eye-trans-out", 0.8),
    ("eyes/{}-eye-bag-decr", "eyes/{}-eye-bag-incr", 0.8),
    ("ears/{}-ear-scale-decr", "ears/{}-ear-scale-incr", 1.0),
    ("ears/{}-ear-wing-decr", "ears/{}-ear-wing-incr", 0.9),
    ("ears/{}-ear-lobe-decr", "ears/{}-ear-lobe-incr", 1.0),
    ("neck/neck-scale-horiz-decr", "neck/neck-scale-horiz-incr", 0.8),
    ("neck/measure-neck-height-decr", "neck/measure-neck-height-incr", 0.7),
    ("nose/nose-nostrils-angle-down", "nose/nose-nostrils-angle-up", 0.7),
    ("nose/nose-septumangle-decr", "nose/nose-septumangle-incr", 0.7),
    ("nose/nose-trans-down", "nose/nose-trans-up", 0.7),
    ("nose/nose-trans-backward", "nose/nose-trans-forward", 0.7),
    ("nose/nose-width3-decr", "nose/nose-width3-incr", 0.7),
    ("nose/nose-compression-compress", "nose/nose-compression-uncompress", 0.7),
    ("mouth/mouth-angles-down", "mouth/mouth-angles-up", 0.4),
    ("mouth/mouth-cupidsbow-width-decr", "mouth/mouth-cupidsbow-width-incr", 0.7),
    ("mouth/mouth-dimples-in", "mouth/mouth-dimples-out", 0.7),
    ("mouth/mouth-lowerlip-width-decr", "mouth/mouth-lowerlip-width-incr", 0.7),
    ("mouth/mouth-upperlip-width-decr", "mouth/mouth-upperlip-width-incr", 0.7),
    ("mouth/mouth-philtrum-volume-decr", "mouth/mouth-philtrum-volume-incr", 0.7),
    ("mouth/mouth-scale-depth-decr", "mouth/mouth-scale-depth-incr", 0.7),
    ("mouth/mouth-laugh-lines-in", "mouth/mouth-laugh-lines-out", 0.7),
    ("eyes/{}-eye-bag-in", "eyes/{}-eye-bag-out", 0.7),
    ("eyes/{}-eye-epicanthus-in", "eyes/{}-eye-epicanthus-out", 0.7),
    ("eyes/{}-eye-eyefold-concave", "eyes/{}-eye-eyefold-convex", 0.7),
    ("eyes/{}-eye-eyefold-down", "eyes/{}-eye-eyefold-up", 0.7),
    ("eyes/{}-eye-height1-decr", "eyes/{}-eye-height1-incr", 0.7),
    ("eyes/{}-eye-height3-decr", "eyes/{}-eye-height3-incr", 0.7),
    ("eyes/{}-eye-push1-in", "eyes/{}-eye-push1-out", 0.7),
    ("eyes/{}-eye-push2-in", "eyes/{}-eye-push2-out", 0.7),
    ("eyes/{}-eye-trans-down", "eyes/{}-eye-trans-up", 0.7),
    ("cheek/{}-cheek-trans-down", "cheek/{}-cheek-trans-up", 0.7),
    ("ears/{}-ear-rot-backward", "ears/{}-ear-rot-forward", 0.7),
    ("ears/{}-ear-flap-decr", "ears/{}-ear-flap-incr", 0.7),
    ("forehead/forehead-trans-backward", "forehead/forehead-trans-forward", 0.7),
    ("head/head-back-scale-depth-decr", "head/head-back-scale-depth-incr", 0.7),
    ("chin/chin-jaw-drop-decr", "chin/chin-jaw-drop-incr", 0.7),
    ("eyebrows/eyebrows-trans-backward", "eyebrows/eyebrows-trans-forward", 0.7),
    ("neck/neck-scale-depth-decr", "neck/neck-scale-depth-incr", 0.7),
)
_ASYMMETRIES = {"brown": 2, "cheek": 2, "ear": 4, "eye": 8, "jaw": 3, "mouth": 2, "nose": 4, "temple": 2}
_OUTLINES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")

_HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.050, 0.042, 0.040),
    "dark brown": (0.115, 0.075, 0.050),
    "brown": (0.230, 0.145, 0.085),
    "light brown": (0.360, 0.240, 0.140),
    "blond": (0.600, 0.460, 0.270),
    "red": (0.430, 0.190, 0.090),
    "grey": (0.420, 0.407, 0.395),
    "white": (0.590, 0.578, 0.560),
}
_EYE_COLOURS: dict[str, Colour] = {
    "brown": (0.220, 0.120, 0.060),
    "dark brown": (0.130, 0.070, 0.040),
    "hazel": (0.330, 0.240, 0.110),
    "green": (0.240, 0.330, 0.190),
    "blue": (0.280, 0.400, 0.500),
    "grey": (0.360, 0.400, 0.420),
}
#: Named cloth colours, for captions as well as for rendering (sRGB).
CLOTH_COLOURS: dict[str, Colour] = {
    "white": (0.86, 0.86, 0.84), "grey": (0.45, 0.46, 0.48), "black": (0.075, 0.075, 0.085),
    "navy": (0.10, 0.14, 0.27), "blue": (0.16, 0.31, 0.62), "light blue": (0.52, 0.68, 0.84),
    "teal": (0.10, 0.42, 0.42), "green": (0.17, 0.42, 0.21), "olive": (0.36, 0.37, 0.19),
    "yellow": (0.86, 0.69, 0.22), "orange": (0.83, 0.42, 0.14), "red": (0.66, 0.11, 0.12),
    "burgundy": (0.38, 0.09, 0.14), "pink": (0.86, 0.53, 0.60), "purple": (0.36, 0.20, 0.48),
    "lilac": (0.66, 0.56, 0.78), "brown": (0.34, 0.22, 0.14), "beige": (0.76, 0.67, 0.54),
}  # fmt: skip
PATTERNS = ("plain", "striped", "checked", "melange")


#: Hair styles with their likelihood for women and men; the last columns: more likely with tightly curled hair.
HAIR_STYLES: dict[str, tuple[float, float, float]] = {
    "bald": (0.02, 0.55, 0.0),
    "buzz cut": (0.10, 0.9, 0.8),
    "crop": (0.35, 1.3, 0.0),
    "fringe": (0.35, 1.0, 0.0),
    "swept back": (0.15, 1.1, 0.0),
    "short curls": (0.30, 0.55, 1.1),
    "afro": (0.25, 0.25, 1.6),
    "bob": (1.1, 0.04, 0.0),
    "shoulder-length": (1.2, 0.14, 0.0),
    "long": (1.2, 0.08, 0.0),
    "ponytail": (1.1, 0.12, 0.3),
    "braid": (0.7, 0.0, 0.0),
}


@dataclass(frozen=True)
class Skin:
    """Colours and marks of the skin. All but `tone` are strengths in [0, 1].

    Attributes:
        tone: 0 (lightest) to 1 (darkest).
        warmth: -1 (cool) to 1 (golden).
        age_lines: Folds and forehead lines. freckles: Freckles. blush: Redness of cheeks and nose.
        shadow: Darkness under the eyes. lipstick: Strength of the lip colour. lip_colour: sRGB.
        eyeliner: Darkness of the lash line. moles: Reference positions (x of either sign, y) and sizes in decimetres.
    """

    tone: float
    warmth: float
    age_lines: float
    freckles: float
    blush: float
    shadow: float
    lipstick: float
    lip_colour: Colour
    eyeliner: float
    moles: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Hair:
    """Hair of head and face.

    Attributes:
        style: One of `HAIR_STYLES`. colour_name: For captions.
        colour: sRGB, with personal variation. greying: Share of grey, in [0, 1].
        length: Varies where long hair ends and how far short hair stands out, in [0, 1]. volume: 0.95 to 1.08.
        parting: Mirrored styles. curl: Waviness of strands, in [0, 1]. hairline: Receding, in [0, 1].
        beard: Density of the beard, 0 to 1. moustache: The same for the upper lip.
        brow_density: 0.5 to 1. brow_shape: Arch, thickness, slant and length, each about -1 to 1.
    """

    style: str
    colour_name: str
    colour: Colour
    greying: float
    length: float
    volume: float
    parting: bool
    curl: float
    hairline: float
    beard: float
    moustache: float
    brow_density: float
    brow_shape: tuple[float, float, float, float]


@dataclass(frozen=True)
class Outfit:
    """Clothes; `garment` is an index in [0, 1) into those available. Colours go to the garment's parts in turn."""

    garment: float
    colour_names: tuple[str, str, str]
    colours: tuple[Colour, Colour, Colour]
    pattern: str
    pattern_scale: float
    neckline: float
    glasses: bool
    glasses_shape: tuple[float, float]
    glasses_colour: Colour


@dataclass(frozen=True)
class Identity:
    """One person's looks.

    Attributes:
        seed: What it was drawn from.
        sex: "female" or "male". masculinity: 0 to 1, near the ends.
        age: Years. ancestry: Shares of african, asian, caucasian.
        muscle: Build. weight: Build, below 0.6. shape: Local targets with weights within `TARGET_LIMIT`.
        skin: See `Skin`. hair: See `Hair`. outfit: See `Outfit`.
        eye_colour_name: For captions. eye_colour: sRGB. smile: Resting corners of the mouth, face-unit weight.
    """

    seed: int
    sex: str
    masculinity: float
    age: float
    ancestry: tuple[float, float, float]
    muscle: float
    weight: float
    shape: tuple[tuple[str, float], ...]
    skin: Skin
    hair: Hair
    outfit: Outfit
    eye_colour_name: str
    eye_colour: Colour
    smile: float

    @property
    def split(self) -> Split:
        """The set this person may appear in."""
        return "test" if self.seed >= FIRST_TEST_SEED else "train"

    @classmethod
    def sample(cls, seed: int) -> Identity:
        """The person of a seed; the same on every machine."""
        rng = np.random.default_rng([0x5EED, seed])
        male = bool(rng.random() < 0.5)
        age = float(rng.triangular(19, 30, 74))
        shares = rng.dirichlet([0.45, 0.45, 0.45])
        ancestry = (float(shares[0]), float(shares[1]), float(shares[2]))
        tone = float(np.clip(shares @ [0.80, 0.24, 0.16] + rng.normal(0, 0.09), 0.0, 1.0))
        eye_name, eye = _eye_colour(rng, tone)
        return cls(
            seed=seed,
            sex="male" if male else "female",
            masculinity=float(np.clip(rng.normal(0.94 if male else 0.06, 0.07), 0, 1)),
            age=age,
            ancestry=ancestry,
            muscle=float(np.clip(rng.normal(0.5, 0.12), 0.25, 0.8)),
            weight=float(np.clip(rng.normal(0.45, 0.10), 0.25, 0.6)),
            shape=_shape(rng),
            skin=_skin(rng, tone, age, male),
            hair=_hair(rng, tone, age, male, ancestry[0]),
            outfit=_outfit(rng, age),
            eye_colour_name=eye_name,
            eye_colour=eye,
            smile=float(rng.uniform(0.08, 0.24)),
        )


def _shape(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    local: list[tuple[str, float]] = []
    for low, high, reach in _SHAPES:
        # flatter than a bell: average faces are all alike
        amount = TARGET_LIMIT * reach * float(np.sin(np.pi / 2 * rng.uniform(-1, 1)))
        name = high if amount > 0 else low
        for side in ("l", "r") if "{}" in name else ("",):
            local.append((name.format(side), abs(amount)))
    outline = _OUTLINES[int(rng.integers(len(_OUTLINES)))]
    local.append((f"head/head-{outline}", float(rng.uniform(0, TARGET_LIMIT))))
    for part, count in _ASYMMETRIES.items():  # nobody is the same on both sides
        side = "lr"[int(rng.integers(2))]
        local.append((f"asym/asym-{part}-{int(rng.integers(1, count + 1))}-{side}", float(rng.uniform(0, 0.3))))
    return tuple(local)


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """A colour varied in brightness and a little in hue."""
    value = np.asarray(colour) * np.exp(rng.normal(0, amount)) * np.exp(rng.normal(0, amount * 0.35, 3))
    red, green, blue = np.clip(value, 0.015, 0.92)
    return float(red), float(green), float(blue)


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _eye_colour(rng: np.random.Generator, tone: float) -> tuple[str, Colour]:
    light = max(0.0, 1 - tone * 2.2)
    name = _choose(
        rng,
        {
            "brown": 1.0,
            "dark brown": 0.4 + tone,
            "hazel": 0.6 * light,
            "green": 0.5 * light,
            "blue": 0.9 * light,
            "grey": 0.4 * light,
        },
    )
    return name, _jitter(rng, _EYE_COLOURS[name], 0.12)


def _skin(rng: np.random.Generator, tone: float, age: float, male: bool) -> Skin:
    makeup = 0.0 if male else float(rng.random() < 0.65)
    lips: tuple[Colour, ...] = ((0.62, 0.20, 0.22), (0.55, 0.12, 0.16), (0.66, 0.30, 0.30), (0.48, 0.14, 0.22))
    dark_lips: tuple[Colour, ...] = ((0.42, 0.12, 0.14), (0.38, 0.14, 0.16), (0.50, 0.16, 0.18))
    palette = lips if tone < 0.55 else dark_lips
    return Skin(
        tone=tone,
        warmth=float(np.clip(rng.normal(0, 0.4), -1, 1)),
        age_lines=float(np.clip((age - 38) / 32 + rng.normal(0, 0.1), 0, 1)),
        freckles=float(rng.random() < 0.18) * float(rng.uniform(0.3, 1)) * (tone < 0.35),
        blush=float(rng.uniform(0.5, 1.1) + 0.4 * makeup * rng.random()),
        shadow=float(np.clip(rng.normal(0.5, 0.2) + (age - 35) / 80, 0.1, 1)),
        lipstick=makeup * float(rng.uniform(0.15, 0.65)),
        lip_colour=_jitter(rng, palette[int(rng.integers(len(palette)))], 0.1),
        eyeliner=makeup * float(rng.uniform(0.2, 0.9)),
        moles=tuple(_mole(rng) for _ in range(int(rng.integers(0, 4)))),
    )


def _mole(rng: np.random.Generator) -> tuple[float, float, float]:
    """On a cheek or the forehead: nose, lips and eyes stay clear."""
    side = 1 if rng.random() < 0.5 else -1
    size = float(rng.uniform(0.008, 0.018))
    if rng.random() < 0.75:
        return side * float(rng.uniform(0.34, 0.62)), float(rng.uniform(7.25, 7.95)), size
    return side * float(rng.uniform(0.05, 0.5)), float(rng.uniform(8.52, 8.74)), size


def _hair(rng: np.random.Generator, tone: float, age: float, male: bool, curly: float) -> Hair:
    light = max(0.0, 1 - tone * 2.4)
    old = float(np.clip((age - 42) / 24, 0, 1))
    weights = {
        "black": 0.8 + tone,
        "dark brown": 1.0,
        "brown": 0.3 + 0.9 * light,
        "light brown": 0.7 * light,
        "blond": 0.8 * light,
        "red": 0.35 * light,
        "grey": 2.4 * old,
        "white": 1.2 * max(0.0, old - 0.4),
    }
    name = _choose(rng, weights)
    bearded = male and rng.random() < 0.55
    return Hair(
        style=_choose(rng, {n: w[male] * (1 - 0.6 * curly) + w[2] * curly for n, w in HAIR_STYLES.items()}),
        colour_name=name,
        colour=_jitter(rng, _HAIR_COLOURS[name], 0.05 if name in ("grey", "white") else 0.14),
        greying=float(np.clip(old * rng.random(), 0, 0.6)) if name not in ("grey", "white") else 0.0,
        length=float(rng.random()),
        volume=float(rng.uniform(0.95, 1.08)),
        parting=bool(rng.random() < 0.5),
        curl=float(rng.random()),
        hairline=float(np.clip(rng.normal(0.1, 0.2) + male * old * 0.5, 0, 1)),
        beard=float(rng.choice([0.3, 0.5, 0.75, 0.95])) if bearded else 0.0,
        moustache=float(rng.choice([0.0, 0.5, 0.9])) if male and (bearded or rng.random() < 0.12) else 0.0,
        brow_density=float(rng.uniform(0.6, 1.0)) * (1.0 if male else 0.92),
        brow_shape=(
            float(rng.uniform(-1, 1)),
            float(np.clip(rng.normal(0.4 if male else -0.4, 0.7), -1.4, 1.6)),
            float(rng.uniform(-1, 1)),
            float(rng.uniform(-1, 1)),
        ),
    )


def _outfit(rng: np.random.Generator, age: float) -> Outfit:
    names = tuple(CLOTH_COLOURS)
    main, second, third = (names[int(k)] for k in rng.choice(len(names), 3, replace=False))
    if rng.random() < 0.45:  # shirts under jackets are mostly light
        second = "white" if rng.random() < 0.6 else "light blue"
        second = second if second != main else "navy"
        third = third if third != second else "grey"
    frames: tuple[Colour, ...] = ((0.04, 0.04, 0.045), (0.22, 0.11, 0.06), (0.45, 0.42, 0.38), (0.30, 0.05, 0.08))
    return Outfit(
        garment=float(rng.random()),
        colour_names=(main, second, third),
        colours=tuple(_jitter(rng, CLOTH_COLOURS[n], 0.1) for n in (main, second, third)),  # type: ignore[arg-type]
        pattern=_choose(rng, {"plain": 1.0, "striped": 0.35, "checked": 0.2, "melange": 0.45}),
        pattern_scale=float(rng.uniform(0.7, 1.5)),
        neckline=float(rng.random()),
        glasses=bool(rng.random() < 0.14 + 0.2 * (age > 45)),
        glasses_shape=(float(rng.uniform(2.0, 5.0)), float(rng.uniform(0.85, 1.12))),
        glasses_colour=frames[int(rng.integers(len(frames)))],
    )
