"""Everyday talk from a seeded grammar: thousands of sentences, every English phone, no sentence in two sets.

A sentence belongs to `train` or `test` by a hash of its words alone, so the two sets are disjoint by construction:
whoever asks for a training sentence can never be given a test sentence, whatever the seed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from talkies.domain.errors import InputError

Split = Literal["train", "test"]
Kind = Literal["statement", "question", "backchannel"]

#: One sentence in this many is kept for testing.
TEST_SHARE = 6

_TEMPLATES: dict[Kind, tuple[str, ...]] = {
    "statement": (
        "I think {person} {did} the {thing} {past}.",
        "{person} bought a {adjective} {thing} for {person}.",
        "We should {activity} {future}, before it gets too {late}.",
        "My {relative} always keeps the {thing} near the {place}.",
        "You know what, that {adjective} {thing} is mine!",
        "{opener}, I really enjoy {hobby} with my {relative}.",
        "It was a {adjective} {event} and everybody was {feeling}.",
        "{person} told me about the {event} at the {place}.",
        "The {animal} jumped over the {thing} and ran to the {place}.",
        "There is a {adjective} {animal} behind the {place}.",
        "{opener}, we had {food} and {food} for {meal}.",
        "I never thought the {event} would make me so {feeling}.",
        "Please put the {thing} back where you found it.",
        "{person} and {person} are going to {activity} {future}.",
        "If you ask me, {hobby} is better than {hobby}.",
        "They moved to a {adjective} house by the {place}.",
        "Watch out, the {thing} on the {place} floor is {condition}!",
        "Most people prefer {food} with a bit of {food}.",
        "{opener}, nobody told us that the {place} was closed.",
        "I have been looking for my {adjective} {thing} all morning.",
        "That is exactly what my {relative} said {past}.",
        "We laughed so much about your {adjective} {thing}.",
        "Give me a minute, I have to {activity} first.",
        "Her {relative} works for a {adjective} company in the city.",
        "{opener}, the {food} tasted better than I expected.",
        "Both of us believe the story about the {animal}.",
        "I would love to {activity} with you {future}.",
        "The {relative} of {person} plays the violin beautifully.",
    ),
    "question": (
        "Did you {activity} with {person} {past}?",
        "Would you like some more {food} or {food}?",
        "Where did you put the {adjective} {thing}?",
        "How was the {event} at the {place}?",
        "Why would anybody leave a {animal} in the {place}?",
        "Could you please {activity} before {meal}?",
        "Have you ever tried {food} with {food}?",
        "{opener}, what do you think about {hobby}?",
        "Does your {relative} still enjoy {hobby}?",
        "Who is going to fix the {thing} {future}?",
        "Can we {activity} {future}, please?",
        "What happened to the {animal} from the {place}?",
        "Are you {feeling} about the {event}?",
        "Do you remember the {adjective} {event} at the {place}?",
        "Which {thing} did {person} choose?",
        "Should we bring the {thing} or the {thing}?",
    ),
    "backchannel": (
        "{reaction}.",
        "{reaction}, {reaction_tail}.",
        "{reaction}. {reaction}!",
        "{reaction}, that sounds {verdict}!",
        "{reaction}, go on.",
    ),
}

_WORDS: dict[str, tuple[str, ...]] = {
    "person": (
        "Peter", "my mother", "your father", "Maria", "Robert", "Emma", "the boy", "our teacher", "Philip", "Joyce",
        "the doctor", "her brother", "my boss", "the neighbor", "Beth", "George", "Sophie", "Beatrice",
        "Walter", "Joseph", "Oscar", "Bob", "Veronica", "my best friend", "the baker",
    ),
    "relative": (
        "mother", "father", "brother", "sister", "uncle", "aunt", "cousin", "grandmother", "grandpa", "nephew", "wife",
        "husband", "daughter", "boyfriend", "neighbor", "roommate",
    ),
    "did": (
        "found", "broke", "painted", "borrowed", "fixed", "bought", "forgot", "measured", "polished", "moved", "lost",
        "chose", "washed", "brought back", "gave away", "picked up", "voted for", "carried",
    ),
    "thing": (
        "umbrella", "purple bag", "map", "paper box", "phone", "lamp", "cup", "piano", "book", "chair", "wooden bowl",
        "bicycle", "blue vase", "camera", "guitar", "leather jacket", "toothbrush", "fishing rod", "mirror", "vacuum",
        "garage key", "television", "measuring tape", "blanket", "poster", "toy boat", "coffee machine", "sofa",
        "password", "wedding ring", "pair of gloves", "yellow shoe", "envelope", "calendar",
    ),
    "place": (
        "kitchen", "village", "museum", "bridge", "market", "river", "garden", "library", "office", "beach", "station",
        "bakery", "valley", "church", "football field", "theater", "mountain path", "bathroom", "airport", "garage",
        "swimming pool", "farm", "harbor", "school", "coffee shop", "tower", "zoo", "park",
    ),
    "animal": (
        "dog", "puppy", "black cat", "fox", "big brown bear", "rabbit", "horse", "parrot", "mouse", "sheep", "wolf",
        "butterfly", "young goat", "beaver", "frog", "monkey", "owl", "buffalo",
    ),
    "food": (
        "soup", "warm bread", "butter", "chocolate cake", "coffee", "tea", "fresh fish", "pepper", "potatoes", "cheese",
        "apple pie", "mushrooms", "orange juice", "beef", "honey", "peppermint ice cream", "popcorn", "vegetables",
        "pizza", "yogurt", "beans", "boiled eggs", "peanut butter", "pumpkin", "wheat toast", "spicy noodles",
    ),
    "meal": ("breakfast", "lunch", "dinner", "supper", "our picnic", "the party"),
    "event": (
        "movie", "birthday party", "wedding", "football game", "meeting", "concert", "trip", "interview", "storm",
        "festival", "lecture", "power cut", "voyage", "holiday", "visit", "job fair", "family dinner", "bike race",
    ),
    "adjective": (
        "beautiful", "heavy", "purple", "strange", "wonderful", "cheap", "very old", "huge", "tiny", "fabulous",
        "quiet",
        "famous", "boring", "perfect", "dark", "pretty", "rough", "smooth", "bright", "wooden", "foreign", "terrible",
        "lovely", "broken", "modern", "awful", "yellow", "brown", "unusual",
    ),
    "feeling": (
        "happy", "nervous", "excited", "tired", "brave", "jealous", "calm", "annoyed", "surprised", "proud", "bored",
        "cheerful", "worried", "hopeful", "confused", "amazed",
    ),
    "condition": ("wet", "broken", "very hot", "moving", "slippery", "about to fall", "full of water", "on fire"),
    "activity": (
        "talk about the weather", "visit the museum", "move the boxes", "bake a pie", "open the window",
        "paint the fence", "watch a movie", "make some coffee", "walk home", "play the piano", "buy a bigger boat",
        "feed the birds", "call the plumber", "have a break", "finish this project", "meet for breakfast",
        "pick up the baby", "share a pizza", "wash the car", "measure the room", "practice the song", "join the choir",
        "go swimming", "look for the puppy", "build a fire", "change the plan", "vote", "fix the bathroom",
        "climb up the hill", "pay the bill", "water the roses", "read the paper", "think about it",
    ),
    "hobby": (
        "fishing", "cooking", "painting", "jogging", "playing chess", "baking bread", "making music", "bird watching",
        "photography", "swimming", "reading poems", "gardening", "building model boats", "volleyball", "yoga",
        "singing", "visiting museums", "collecting coins", "cycling", "watching football",
    ),
    "future": (
        "tomorrow", "after work", "before lunch", "on Friday", "this weekend", "next week", "in the morning",
        "by Wednesday", "in November", "at five", "right now", "on my birthday", "in a few minutes", "around seven",
        "before the movie", "later", "next Thursday", "above all", "in the evening", "one day",
    ),
    "past": (
        "yesterday", "last summer", "on Friday", "this morning", "last week", "in November", "before breakfast",
        "after the movie", "two days ago", "last Thursday", "on my birthday", "a while ago", "over the weekend",
        "during the storm", "at five", "last night", "years ago", "just now",
    ),
    "verdict": (
        "lovely", "awful", "perfect", "wonderful", "strange", "fun", "tough", "great", "boring", "fabulous", "amazing",
        "good", "terrible", "familiar", "very brave", "unusual",
    ),
    "late": ("late", "dark", "hot", "cold", "busy", "loud", "windy", "crowded", "rough", "foggy"),
    "opener": (
        "Well", "Honestly", "You see", "To be fair", "By the way", "Oh boy", "Believe me", "As far as I know",
        "Maybe", "Of course", "Wow", "So", "Okay", "Anyway", "Look", "Actually", "In my view", "Between us",
    ),
    "reaction": (
        "Yeah", "Right", "Really", "I see", "Oh wow", "No way", "Exactly", "Of course", "Sure", "Okay", "Absolutely",
        "That makes sense", "I know", "Oh no", "Fair enough", "Perfect", "You bet", "Me too", "Good point", "Maybe so",
        "Very true", "Indeed", "Definitely", "Well done", "How funny", "Amazing",
    ),
    "reaction_tail": (
        "I believe you", "I had no idea", "tell me more", "I feel the same", "that is funny", "you are right",
        "I would do the same", "what happened then", "I agree with you", "thanks for telling me", "poor you",
        "I have heard about it", "that must be tough", "we all know that", "good for you", "never mind",
    ),
}  # fmt: skip

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Sentence:
    """One sentence as it is written.

    Attributes:
        text: With punctuation, for the synthesiser.
        kind: What it does in a conversation.
    """

    text: str
    kind: Kind


def spoken_words(text: str) -> tuple[str, ...]:
    """The words of `text` in order, lower case, without punctuation (apostrophes inside words stay).

    Raises:
        InputError: There is no word in it.
    """
    words = tuple(re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower()))
    if not words:
        raise InputError(f"no words in the text {text!r}", hint="Give at least one English word.")
    return words


def split_of(text: str) -> Split:
    """The set a sentence belongs to, by its words alone (case and punctuation do not matter)."""
    digest = hashlib.sha256(" ".join(spoken_words(text)).encode()).digest()
    return "test" if digest[0] % TEST_SHARE == 0 else "train"


def sample_sentence(rng: np.random.Generator, split: Split, kind: Kind | None = None) -> Sentence:
    """A sentence of the given set; `kind=None` draws statements twice as often as questions."""
    chosen: Kind = kind or ("question" if rng.random() < 1 / 3 else "statement")
    while True:
        text = _expand(_pick(rng, _TEMPLATES[chosen]), rng)
        if split_of(text) == split:
            return Sentence(text, chosen)


def sample_text(rng: np.random.Generator, split: Split, sentences: int) -> str:
    """`sentences` sentences of one set, joined: an utterance."""
    return " ".join(sample_sentence(rng, split).text for _ in range(sentences))


def vocabulary() -> frozenset[str]:
    """Every word that the grammar can say."""
    everything = [*(t for ts in _TEMPLATES.values() for t in ts), *(w for ws in _WORDS.values() for w in ws)]
    return frozenset(word for text in everything for word in re.findall(r"[a-z']+", _SLOT.sub(" ", text.lower())))


def _expand(template: str, rng: np.random.Generator) -> str:
    used: set[str] = set()

    def fill(match: re.Match[str]) -> str:
        choice = _pick(rng, tuple(w for w in _WORDS[match[1]] if w not in used))
        used.add(choice)  # "bread with bread" is not everyday talk
        return choice

    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", _SLOT.sub(fill, template))
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
