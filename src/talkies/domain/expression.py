"""What a talking face does, in eight numbers: the part of the 52 face units that the small model carries.

Each is a weighted sum of face units, scaled to a spread of about one over talking faces. `open` is the height of the
gap between the lips relative to the face's width, as a linear fit over the stage's people measured it.
"""

from __future__ import annotations

#: name -> {face unit: weight}
EXPRESSION: dict[str, dict[str, float]] = {
    "open": {
        "jawOpen": 7.3, "mouthFunnel": 2.4, "mouthClose": -9.5, "mouthRollLower": -1.4,
        "mouthUpperUpLeft": 1.1, "mouthUpperUpRight": 1.1, "mouthPucker": -0.65,
    },
    "jaw": {"jawOpen": 8.5},
    "round": {"mouthPucker": 4.5, "mouthFunnel": 4.5},
    "wide": {
        "mouthSmileLeft": 4.0, "mouthSmileRight": 4.0, "mouthStretchLeft": 4.0, "mouthStretchRight": 4.0,
    },
    "lower": {"mouthLowerDownLeft": 4.5, "mouthLowerDownRight": 4.5},
    "press": {
        "mouthRollLower": 5.0, "mouthRollUpper": 5.0, "mouthPressLeft": 3.5, "mouthPressRight": 3.5,
        "mouthClose": 5.0,
    },
    "blink": {"eyeBlinkLeft": 2.2, "eyeBlinkRight": 2.2},
    "brow": {
        "browInnerUp": 3.5, "browOuterUpLeft": 2.5, "browOuterUpRight": 2.5, "browDownLeft": -3.0,
        "browDownRight": -3.0,
    },
}  # fmt: skip
#: These happen at the mouth; the others at the eyes.
AT_MOUTH = ("open", "jaw", "round", "wide", "lower", "press")
#: What a face does at rest belongs to the person and its mood: a smile and narrow eyes in a picture stay when the film
#: begins.
KEPT = ("wide", "brow", "blink")
#: Which of the eight numbers tells of lids, and what it is of eyes that are shut.
BLINK = list(EXPRESSION).index("blink")
EYES_SHUT = sum(EXPRESSION["blink"].values())
