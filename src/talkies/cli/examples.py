"""What stands below every verb's options in `--help`: commands to copy."""

from __future__ import annotations

_LINES = {
    "generate": (
        "talkies generate --image photo.jpg --speaker left.wav --speaker right.wav -o out.mp4",
        "talkies generate --image photo.jpg --speaker left.wav --speaker none --prompt 'She nods.' -o out.mp4",
        "talkies generate --image photo.jpg --script talk.txt -o out.mp4        (a dialogue: Ana: Hello!)",
        "talkies generate conversation.yaml --plan        (people, regions, memory and time; renders nothing)",
        "talkies generate conversation.yaml --resume -o out.mp4        (goes on with a run that was stopped)",
    ),
    "people": (
        "talkies people photo.jpg        (numbers them in photo.people.png)",
        "talkies people photo.jpg -o who.png",
    ),
    "caption": ("talkies caption photo.jpg",),
    "voices": (
        "talkies voices        (the languages)",
        "talkies voices en-gb        (its voices)",
        "talkies voices en-gb --say 'Good morning.' -o morning.wav",
    ),
    "verify": ("talkies verify out.mp4",),
    "train": (
        "talkies train runs/recipes/transformer.yaml --out runs/mine --check        (reads all, trains nothing)",
        "talkies train runs/recipes/transformer.yaml --out runs/mine --set limits.steps=2000",
    ),
    "serve": (
        "talkies serve",
        "talkies serve --port 9000 --model models/multitalk-14b --device cuda:0 --device cuda:1",
        "talkies keys add ana; talkies serve --host 0.0.0.0        (behind a TLS proxy: docs/service.md)",
    ),
    "studio": ("talkies studio", "talkies studio --model models/multitalk-14b --device cuda"),
    "worker": (
        "talkies serve --no-worker --root queue        (in one terminal)",
        "talkies worker --root queue --device cuda:1        (in another)",
    ),
}


def examples(verb: str) -> str | None:
    """For typer's `epilog`."""
    lines = _LINES.get(verb)
    return None if lines is None else "\n\n".join(("[bold]Examples[/bold]", *(f"  {line}" for line in lines)))
