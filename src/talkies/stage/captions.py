"""Sentences about a clip, true by construction: who is where, looks, clothes, does what, place, camera, mood.

Takes plain words, so it knows nothing of renderers. Every paraphrase names every gesture together with the person who
makes it, so that prompt following can be measured; details of looks and light come and go between paraphrases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talkies.domain.errors import InputError
from talkies.domain.moods import Mood
from talkies.stage.dialogue import Pattern
from talkies.stage.gestures import GestureName
from talkies.stage.motion import Role


@dataclass(frozen=True)
class PersonWords:
    """What can be said about one person.

    Attributes:
        sex: "female" or "male".
        age: Years.
        hair: With its noun, e.g. "long black hair", "a grey buzz cut", "a bald head".
        wears: With article and noun, e.g. "a striped red sweater".
        features: Further nouns, e.g. "glasses", "a short beard".
        mood: Standing expression.
        role: What the person does.
        gestures: In order.
    """

    sex: str
    age: float
    hair: str
    wears: str
    features: tuple[str, ...] = ()
    mood: Mood = "neutral"
    role: Role = "speaker"
    gestures: tuple[GestureName, ...] = ()


@dataclass(frozen=True)
class SceneWords:
    """What can be said about a clip.

    Attributes:
        people: One to four, left to right in the picture.
        place: With its preposition, e.g. "in a living room".
        light: With its noun, e.g. "soft daylight", or "".
        framing: E.g. "close-up", "head and shoulders", "waist-up".
        pattern: How they take turns; None for one person, or when nobody talks.
    """

    people: tuple[PersonWords, ...]
    place: str
    light: str = ""
    framing: str = "head and shoulders"
    pattern: Pattern | None = None


_POSITIONS: dict[int, tuple[str, ...]] = {
    1: ("",),
    2: ("on the left", "on the right"),
    3: ("on the left", "in the middle", "on the right"),
    4: ("on the far left", "second from the left", "second from the right", "on the far right"),
}
_NUMBERS = ("", "One person", "Two people", "Three people", "Four people")
_GESTURES: dict[GestureName, tuple[str, ...]] = {
    "wave": ("waves", "waves a hand", "waves hello"),
    "nod": ("nods", "nods in agreement", "gives a nod"),
    "shake": ("shakes {their} head", "slowly shakes {their} head"),
    "point": ("points with a finger", "points with an outstretched finger"),
    "raise_hand": ("raises a hand", "raises one hand next to {their} head"),
    "shrug": ("shrugs", "shrugs with open palms"),
    "lean": ("leans over", "leans with the upper body"),
    "turn": ("turns to the other side", "turns {their} head to the side"),
    "thumbs_up": ("gives a thumbs up", "shows a thumbs up"),
    "cross_arms": ("crosses {their} arms", "crosses both arms"),
}
#: The word that every wording of a gesture contains.
GESTURE_KEYWORDS: dict[GestureName, str] = {
    "wave": "wave", "nod": "nod", "shake": "shake", "point": "point", "raise_hand": "raises", "shrug": "shrug",
    "lean": "lean", "turn": "turn", "thumbs_up": "thumbs up", "cross_arms": "cross",
}  # fmt: skip
_MOODS: dict[Mood, tuple[str, ...]] = {
    "neutral": ("looks calm", "has a relaxed face"),
    "happy": ("smiles", "looks happy", "is in a cheerful mood"),
    "serious": ("looks serious", "has a serious face"),
    "sad": ("looks sad", "seems a little sad"),
    "surprised": ("looks surprised", "lifts the brows in surprise"),
    "annoyed": ("looks annoyed", "frowns"),
}
_SPEAKS = ("speaks", "talks", "is talking", "is speaking")
_LISTENS = ("listens", "listens quietly", "is listening", "listens with closed lips")
_WAITS = ("says nothing", "stays silent", "keeps quiet")
_FRAMINGS: dict[str, tuple[str, ...]] = {
    "close-up": ("a close-up", "a close-up shot"),
    "head and shoulders": ("a head-and-shoulders shot", "a medium close-up"),
    "waist-up": ("a waist-up shot", "a medium shot"),
}
_HAIR: dict[str, str] = {
    "bald": "a bald head",
    "buzz cut": "a {colour} buzz cut",
    "crop": "short {colour} hair",
    "fringe": "{colour} hair with a fringe",
    "swept back": "{colour} hair swept back",
    "short curls": "short {colour} curls",
    "afro": "{a colour} afro",
    "bob": "{a colour} bob",
    "shoulder-length": "shoulder-length {colour} hair",
    "long": "long {colour} hair",
    "ponytail": "{a colour} ponytail",
    "braid": "{a colour} braid",
}


def hair_words(style: str, colour: str) -> str:
    """Style and colour of hair as a noun phrase; unknown styles become adjectives of "hair"."""
    pattern = _HAIR.get(style, f"{style} {{colour}} hair")
    return pattern.replace("{a colour}", with_article(colour)).replace("{colour}", colour)


def with_article(words: str) -> str:
    """ "red sweater" to "a red sweater", "orange shirt" to "an orange shirt"."""
    return f"{'an' if words[:1].lower() in 'aeiou' else 'a'} {words}"


def describe(
    scene: SceneWords,
    rng: np.random.Generator,
    count: int = 4,
    plans: tuple[int, ...] = (0, 1, 2, 3),
    by_place: float = 0.0,
) -> tuple[str, ...]:
    """`count` different paraphrases of a clip, one to six sentences each.

    Args:
        scene: What is told.
        rng: Chooses the words.
        count: Of paraphrases.
        plans: Ways to put it, each used once before any is used again: 0 looks first, 1 what is done first, 2 short,
            3 one long opening sentence, 4 short with moods.
        by_place: How often people are called by nothing but their place in the picture, 0 to 1.

    Raises:
        InputError: Nobody is in the scene, more than four are, or an attribute is unknown.
    """
    if not 1 <= len(scene.people) <= 4:
        raise InputError(f"{len(scene.people)} people cannot be described", hint="Give one to four.")
    for person in scene.people:
        if person.sex not in {"female", "male"} or person.mood not in _MOODS:
            raise InputError(f"unknown sex {person.sex!r} or mood {person.mood!r}", hint="See PersonWords.")
    writer = _Writer(scene, rng, by_place)
    out: list[str] = []
    for attempt in range(60 * count):
        text = writer.write(plans[attempt if attempt < len(plans) else int(rng.integers(len(plans)))])
        if text not in out:
            out.append(text)
        if len(out) == count:
            return tuple(out)
    raise InputError(f"{count} paraphrases are more than this scene has", hint="Ask for fewer.")


class _Writer:
    """Turns one scene into text; every call of `write` chooses words anew."""

    def __init__(self, scene: SceneWords, rng: np.random.Generator, by_place: float = 0.0) -> None:
        self._scene = scene
        self._rng = rng
        self._by_place = by_place

    def write(self, plan: int) -> str:
        """See `describe` for the plans."""
        if plan == 2:
            parts = [self._opening(looks=False), *self._actions()]
        elif plan == 1:
            parts = [self._opening(looks=False), *self._actions(), *self._looks(), *self._manner()]
        elif plan == 4:
            parts = [self._opening(looks=False), *self._actions(), *self._manner()]
        elif plan == 3:
            parts = [self._opening(looks=True), *self._actions(), *self._manner()]
        else:
            parts = [self._opening(looks=False), *self._looks(), *self._actions(), *self._manner()]
        return " ".join(_sentence(part) for part in parts if part)

    def _pick(self, options: tuple[str, ...]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _noun(self, person: PersonWords) -> str:
        base = "woman" if person.sex == "female" else "man"
        if person.age < 30 and self._rng.random() < 0.7:
            return f"young {base}"
        if person.age >= 60:
            return self._pick((f"elderly {base}", f"older {base}"))
        return self._pick((base, f"middle-aged {base}")) if person.age >= 45 else base

    def _reference(self, index: int) -> str:
        """The person by what sets them apart from the others."""
        people = self._scene.people
        person = people[index]
        base = "woman" if person.sex == "female" else "man"
        if len(people) == 1:
            return self._pick((f"the {base}", "she" if person.sex == "female" else "he"))
        position = _POSITIONS[len(people)][index]
        if self._by_place and self._rng.random() < self._by_place:
            return self._pick((f"the {base} {position}", f"the person {position}"))
        if sum(other.sex == person.sex for other in people) == 1 and self._rng.random() < 0.5:
            return f"the {base}"
        if sum(other.wears == person.wears for other in people) == 1 and self._rng.random() < 0.25:
            return f"the {base} in {person.wears}"
        return self._pick((f"the {base} {position}", f"the person {position}"))

    def _details(self, person: PersonWords) -> str:
        wearing = self._pick(("wearing {}", "in {}", "dressed in {}")).format(person.wears)
        has = [person.hair, *(feature for feature in person.features if self._rng.random() < 0.8)]
        return f"with {_and(has)}, {wearing}" if self._rng.random() < 0.6 else f"{wearing}, with {_and(has)}"

    def _opening(self, looks: bool) -> str:
        scene = self._scene
        framing = self._pick(_FRAMINGS.get(scene.framing, (with_article(scene.framing),)))
        people = [self._introduce(k, looks) for k in range(len(scene.people))]
        if len(people) == 1:
            verb = "is" if scene.people[0].role != "speaker" else self._pick(("speaks", "talks", "is talking"))
            return self._pick((
                f"{framing} of {people[0]} {scene.place}",
                f"{people[0]} {verb} {scene.place}" if not looks else f"{framing} shows {people[0]}, {scene.place}",
            ))  # fmt: skip
        if looks:
            listed = "; ".join([*people[:-1], f"and {people[-1]}"])
            return f"{framing} {scene.place}: {listed}"
        together = self._together()
        group = _and(people) if len(people) == 2 else _NUMBERS[len(people)]
        return self._pick((
            f"{group} {together} {scene.place}",
            f"{framing} of {group[0].lower() + group[1:]} who {together} {scene.place}",
        ))  # fmt: skip

    def _together(self) -> str:
        if not any(person.role == "speaker" for person in self._scene.people):
            return self._pick(("sit quietly", "are together", "wait"))
        return self._pick(("talk", "have a conversation", "are talking to each other", "speak with each other"))

    def _introduce(self, index: int, looks: bool) -> str:
        person = self._scene.people[index]
        noun = with_article(self._noun(person))
        position = _POSITIONS[len(self._scene.people)][index]
        if not looks:
            return noun
        return f"{position}, {noun} {self._details(person)}" if position else f"{noun} {self._details(person)}"

    def _looks(self) -> list[str]:
        people = self._scene.people
        if len(people) == 1:
            has = self._pick(("has", "with"))
            subject = "she" if people[0].sex == "female" else "he"
            extra = [people[0].hair, *people[0].features]
            wears = self._pick(("wears", "is wearing", "is dressed in"))
            body = f"{subject} {wears} {people[0].wears}"
            return [f"{body} and has {_and(extra)}" if has == "has" else f"{body}, with {_and(extra)}"]
        out = []
        for index, person in enumerate(people):
            position = _POSITIONS[len(people)][index]
            noun = with_article(self._noun(person))
            out.append(self._pick((
                f"{position} is {noun} {self._details(person)}",
                f"{position}, {noun} {self._details(person)}",
                f"the person {position} is {noun} {self._details(person)}",
            )))  # fmt: skip
        return out

    def _actions(self) -> list[str]:
        return [*self._talk(), *self._gestures()]

    def _talk(self) -> list[str]:
        people, pattern = self._scene.people, self._scene.pattern
        speakers = [k for k, person in enumerate(people) if person.role == "speaker"]
        quiet = [k for k in range(len(people)) if k not in speakers]
        if len(people) == 1:
            if speakers:
                return [self._pick(("", f"{self._reference(0)} {self._pick(_SPEAKS)} to the camera"))]
            return [f"{self._reference(0)} {self._pick(_WAITS)}"]
        if not speakers:
            return [self._pick(("nobody speaks", "everybody is silent"))]
        out = []
        if len(speakers) == 1:
            out.append(f"{self._reference(speakers[0])} {self._pick(_SPEAKS)}")
        elif pattern == "overlap":
            out.append(self._pick(("they talk over each other", "at times they speak at the same moment")))
        elif pattern == "backchannel":
            out.append(self._pick(("one talks and gets short answers", "short remarks accompany a longer story")))
        else:
            out.append(
                self._pick(("they take turns", "they speak one after the other", "the talk goes back and forth"))
            )
        if quiet:
            verbs = _LISTENS if all(people[k].role == "listener" for k in quiet) else _WAITS
            listeners = _and([self._reference(k) for k in quiet])
            verb = self._pick(verbs)
            out[-1] += f" while {listeners} {_plural(verb) if len(quiet) > 1 else verb}"
        return out

    def _gestures(self) -> list[str]:
        out: list[str] = []
        for index, person in enumerate(self._scene.people):
            their = "her" if person.sex == "female" else "his"
            done = [self._pick(_GESTURES[name]).replace("{their}", their) for name in person.gestures]
            if done:
                out.append(
                    f"{self._reference(index)} {self._pick(('', 'then ')) if out else ''}{' and then '.join(done)}"
                )
        return out

    def _manner(self) -> list[str]:
        """Moods and light, each only sometimes."""
        out = []
        for index, person in enumerate(self._scene.people):
            if self._rng.random() < (0.9 if person.mood != "neutral" else 0.2):
                out.append(f"{self._reference(index)} {self._pick(_MOODS[person.mood])}")
        if self._scene.light and self._rng.random() < 0.5:
            out.append(
                self._pick(("the scene is lit by {}", "there is {}", "the light is {}")).format(self._scene.light)
            )
        if self._rng.random() < 0.35:
            out.append(self._pick(("the camera does not move", "the camera stands still", "static camera")))
        return out


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _plural(verb: str) -> str:
    """Third person singular to plural, for the few verbs used here."""
    head, _, rest = verb.partition(" ")
    irregular = {"is": "are", "has": "have", "says": "say", "stays": "stay", "keeps": "keep", "listens": "listen"}
    return f"{irregular.get(head, head)} {rest}".strip()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
