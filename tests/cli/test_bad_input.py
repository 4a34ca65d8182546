"""Bad input of every kind: one clear line, exit code 2, nothing written."""

# ruff: noqa: E501 - one case to a line

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from command_line import Talkies


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Attributes:
        name: Of the case.
        says: What the line must say.
        change: Fields laid over a good conversation; None as a value removes the field.
        text: The conversation file instead, word for word.
        options: Further command line.
        files: Makes files in the conversation's folder.
        file: Name of the conversation file.
    """

    name: str
    says: str
    change: dict[str, Any] | None = None
    text: str | bytes | None = None
    options: tuple[str, ...] = ()
    files: Callable[[Path], object] | None = None
    file: str = "talk.json"


def speakers(*changes: dict[str, Any]) -> dict[str, Any]:
    good = [
        {"name": "Ann", "audio": "a.wav", "region": {"box": [0, 0, 80, 96]}},
        {"name": "Ben", "audio": "b.wav", "region": {"box": [80, 0, 160, 96]}},
    ]
    return {"speakers": [base | change for base, change in zip(good, (*changes, {}, {}), strict=False)]}


def sound(name: str, samples: np.ndarray, rate: int = 16_000) -> Callable[[Path], object]:
    return lambda folder: soundfile.write(folder / name, samples, rate, subtype="FLOAT", format="WAV")


def written(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def picture(name: str, image: Image.Image) -> Callable[[Path], object]:
    return lambda folder: image.save(folder / name)


def cut_picture(folder: Path) -> None:
    Image.effect_noise((200, 200), 90).save(folder / "cut.png")
    data = (folder / "cut.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 3])


def folder_with(name: str, *files: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / name).mkdir()
        for file in files:
            Image.new("RGB", (160, 96)).save(folder / name / file)

    return make


def model(index: Any = None, weights: bytes | None = b"", **transformer: Any) -> Callable[[Path], object]:
    """A model folder `m` with something wrong in it."""

    def make(folder: Path) -> None:
        (folder / "m" / "transformer").mkdir(parents=True)
        text = index if isinstance(index, str) else json.dumps({"_class_name": "MultiTalkPipeline", **(index or {})})
        (folder / "m" / "model_index.json").write_text(text)
        (folder / "m" / "transformer" / "config.json").write_text(json.dumps(transformer))
        if weights is not None:
            empty = (2).to_bytes(8, "little") + b"{}"
            (folder / "m" / "transformer" / "model.safetensors").write_bytes(weights or empty)

    return make


TURN = {"speaker": "Ann", "audio": "a.wav", "start": 0}
OFFICIAL = {"cond_image": "photo.png", "cond_audio": {"person1": "a.wav", "person2": "b.wav"}}


def official(**change: Any) -> str:
    return json.dumps(OFFICIAL | change)


CASES = [
    # the file itself
    Case("no file", "There is no file", file="missing.json", text=None, options=("missing.json",)),
    Case("a folder", "is not a file", file=".", options=()),
    Case("empty file", "is empty", text=""),
    Case("binary file", "is not a text file", text=b"\xff\xfe\x00\x01\x99" * 40),
    Case("broken JSON", "not valid JSON: .* in line 1", text='{"image": '),
    Case("broken YAML", "not valid YAML.* in line", text="image: [a\nspeakers: }", file="talk.yaml"),
    Case("a list", "does not hold a conversation", text="[1, 2]"),
    Case("a number", "does not hold a conversation", text="42", file="talk.yaml"),
    Case("too large", "larger than 2 MB", text=" " * 2_100_000),
    Case("field twice in YAML", "given twice", text="image: a\nimage: b\n", file="talk.yaml"),
    Case("field twice in JSON", "given twice", text='{"image": "a", "image": "b"}'),
    Case("YAML alias", "aliases", text="image: &x a\nprompt: *x\n", file="talk.yaml"),
    Case("YAML object", "cannot be understood|not valid YAML", text="image: !!python/object/apply:os.system [ls]", file="t.yaml"),
    Case("deep nesting", "cannot be understood|not valid", text="[" * 100_000),
    Case("two documents", "not valid YAML", text="image: a\n---\nimage: b\n", file="talk.yaml"),
    Case("tabs", "not valid YAML.* in line", text="image: photo.png\n\tprompt: x\n", file="talk.yaml"),
    Case("a pipe", "is not a file", file="pipe.yaml", options=("pipe.yaml",), files=lambda folder: os.mkfifo(folder / "pipe.yaml")),
    Case("endless number", "cannot be understood|not valid", text='{"image": ' + "9" * 5000 + "}"),
    # fields
    Case("unknown field", "colour is not a known field.*Known fields: image", change={"colour": "red"}),
    Case("field without name", "name of a field", text="image: photo.png\nspeakers: [{audio: a.wav}]\n1: x\n", file="talk.yaml"),
    Case("speakers by name", "speakers must be a list", change={"speakers": {"Ann": "a.wav"}}),
    Case("speaker is text", r"speakers\[0\] must be a group of fields", change={"speakers": ["a.wav"]}),
    Case("turn is a number", r"turns\[0\] must be a group of fields", change={"turns": [5]}),
    Case("region is a word", r"region must be a group of fields", change=speakers({"region": "left"})),
    Case("language", r"speakers\[0\].language", change=speakers({"language": "klingon!"})),
    Case("half a letter", "prompt is not valid Unicode", change={"prompt": "\ud800"}),
    Case("empty consent", "consent must not be empty", change={"consent": " "}),
    Case("too many turns", "turns", change={"turns": [TURN] * 10_001}),
    Case("start in a year", r"turns\[0\].start", change={"turns": [TURN | {"start": 3e7}]}),
    Case("no image", "image is missing", change={"image": None}),
    Case("image is a number", "image must be a path", change={"image": 7}),
    Case("empty path", "empty or malformed", change={"image": " "}),
    Case("null byte in path", "empty or malformed", change={"image": "a\0b"}),
    Case("endless path", "cannot be used|no file", change={"image": "x" * 5000}),
    Case("no speakers", "speakers is missing", change={"speakers": None}),
    Case("zero speakers", "speakers .*at least 1", change={"speakers": []}),
    Case("33 speakers", "speakers .*at most 32", change={"speakers": [{"audio": "a.wav"}] * 33}),
    Case("speakers is text", "speakers", change={"speakers": "Ann"}),
    Case("unknown speaker field", r"speakers\[0\].pitch is not a known field.*name", change=speakers({"pitch": 3})),
    Case("nameless", r"speakers\[0\].name", change=speakers({"name": ""})),
    Case("same name twice", "two speakers are called 'Ann'", change=speakers({}, {"name": "Ann"})),
    Case("nobody speaks", "nobody speaks", change=speakers({"audio": None}, {"audio": None})),
    Case("audio and text", r"speakers\[0\].* not both", change=speakers({"text": "hello"})),
    Case("prompt too long", "prompt", change={"prompt": "x" * 5000}),
    Case("turns unknown", "turns", change={"turns": "all"}),
    Case("no turns", "turns", change={"turns": []}),
    Case("turn of nobody", "there is no speaker 'Cleo'", change={"turns": [TURN | {"speaker": "Cleo"}]}),
    Case("negative start", r"turns\[0\].start", change={"turns": [TURN | {"start": -1}]}),
    Case("start is text", r"turns\[0\].start", change={"turns": [TURN | {"start": "soon"}]}),
    Case("unused audio", "no turn uses it", change={"turns": [TURN]}),
    Case("two things at once", "two things at once", change={
        **speakers({"audio": None}, {"audio": None}), "turns": [TURN, TURN | {"start": 0.5}]}),
    # regions
    Case("box of three", r"region.box", change=speakers({"region": {"box": [1, 2, 3]}})),
    Case("box inside out", "right must exceed left", change=speakers({"region": {"box": [50, 0, 10, 96]}})),
    Case("box outside", "outside the picture, which is 160x96", change=speakers({"region": {"box": [200, 0, 260, 96]}})),
    Case("box not a number", "region.box", change=speakers({"region": {"box": [0, 0, "wide", 9]}})),
    Case("box and point", "one of box, mask or point", change=speakers({"region": {"box": [0, 0, 9, 9], "point": [1, 1]}})),
    Case("empty region", "one of box, mask or point", change=speakers({"region": {}})),
    Case("box without end", "finite number", text='{"image": "photo.png", "speakers": [{"audio": "a.wav", "region": {"box": [NaN, 0, 9, 9]}}]}'),
    Case("two in one place", "regions of 'Ann' and 'Ben' are the same", change=speakers({"region": {"box": [0, 0, 80, 96]}}, {"region": {"box": [0, 0, 79, 96]}})),
    Case("region too small", "region of 'Ann' is too small", change=speakers({"region": {"box": [1, 1, 9, 9]}})),
    Case("point outside", "outside the picture", change=speakers({"region": {"point": [500, 5]}})),
    Case("point on nobody", "Nobody was found at the point", change=speakers({"region": {"point": [5, 5]}})),
    Case("too few people", "0 people were found", change=speakers({"region": None}, {"region": None})),
    Case("mask missing", "no file", change=speakers({"region": {"mask": "none.png"}})),
    Case("mask of another size", "is 60x60, the picture 160x96", change=speakers({"region": {"mask": "m.png"}}),
         files=picture("m.png", Image.new("L", (60, 60), 255))),
    Case("black mask", "is empty", change=speakers({"region": {"mask": "m.png"}}),
         files=picture("m.png", Image.new("L", (160, 96)))),
    Case("outside the frame", "Nothing of 'Ann' is left", change=speakers({"region": {"box": [0, 0, 8, 96]}}),
         options=("--size", "64x96")),
    # the picture
    Case("image missing", "no file", change={"image": "none.png"}),
    Case("image is a folder", "is not a file", change={"image": "folder"}, files=lambda folder: (folder / "folder").mkdir()),
    Case("image is text", "not a picture", change={"image": "t.png"}, files=written("t.png", "hello")),
    Case("image is empty", "not a picture", change={"image": "t.png"}, files=written("t.png", "")),
    Case("image is cut", "is broken", change={"image": "cut.png"}, files=cut_picture),
    Case("image is tiny", "at least 48", change={"image": "t.png"}, files=picture("t.png", Image.new("RGB", (16, 16)))),
    Case("image is a thread", "too long and thin", change={"image": "t.png"}, files=picture("t.png", Image.new("L", (3000, 60)))),
    Case("image is a bomb", "megapixels", change={"image": "t.png"}, files=picture("t.png", Image.new("1", (12_000, 11_000)))),
    Case("image is PostScript", "not a picture", change={"image": "t.png"}, files=written("t.png", "%!PS-Adobe-3.0 EPSF-3.0")),
    # the sound
    Case("audio missing", "the audio of 'Ann'|The audio of 'Ann'", change=speakers({"audio": "none.wav"})),
    Case("audio is text", "not a sound file", change=speakers({"audio": "t.wav"}), files=written("t.wav", "la la la" * 99)),
    Case("audio is empty", "not a sound file", change=speakers({"audio": "t.wav"}), files=written("t.wav", "")),
    Case("audio is a picture", "no sound", change=speakers({"audio": "photo.png"})),
    Case("audio has no samples", "holds only", change=speakers({"audio": "t.wav"}), files=sound("t.wav", np.zeros(0))),
    Case("audio too short", "holds only 0.020 s", change=speakers({"audio": "t.wav"}), files=sound("t.wav", np.zeros(320))),
    Case("audio has NaN", "not numbers", change=speakers({"audio": "t.wav"}), files=sound("t.wav", np.full(9000, np.nan))),
    Case("audio of 100 channels", "channels", change=speakers({"audio": "t.wav"}), files=sound("t.wav", np.zeros((1600, 100)))),
    Case("audio at 500 Hz", "sampling rate of 500 Hz", change=speakers({"audio": "t.wav"}), files=sound("t.wav", np.zeros(1600), 500)),
    Case("audio is a playlist", "playlist|not a sound file", change=speakers({"audio": "t.m3u8"}),
         files=written("t.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n")),
    # the authors' format
    Case("official without audio", "nobody speaks", text=official(cond_audio=None)),
    Case("official audio_type", "audio_type is 'both'", text=official(audio_type="both")),
    Case("official bbox of three", "bbox of person1", text=official(bbox={"person1": [1, 2, 3]})),
    Case("official bbox inside out", "is empty", text=official(bbox={"person1": [9, 9, 1, 1]})),
    Case("official stranger", "person7", text=official(bbox={"person7": [0, 0, 5, 5]})),
    Case("official field", "Unknown field 'seed'", text=official(seed=1)),
    Case("official image", "cond_image is missing", text=official(cond_image=None)),
    Case("official audio as a list", "cond_audio must be an object", text=official(cond_audio=["a.wav"])),
    Case("official people", "cond_audio has the entry 'anna'", text=official(cond_audio={"anna": "a.wav"})),
    Case("official text", "tts_audio.text is missing", text=official(cond_audio=None, tts_audio={"human1_voice": "am_adam"})),
    Case("official voice", "human1_voice is 3", text=official(cond_audio=None, tts_audio={"text": "hi", "human1_voice": 3})),
    Case("official prompt", "prompt must be text", text=official(prompt=["two", "talk"])),
    Case("official dubbing", "cond_video", text=official(cond_video="v.mp4")),
    # options
    Case("size is a word", "not WIDTHxHEIGHT", change={}, options=("--size", "big")),
    Case("size off the grid", "The nearest is 160x96", change={}, options=("--size", "161x97")),
    Case("size too small", "out of range", change={}, options=("--size", "16x16")),
    Case("no steps", "step", change={}, options=("--steps", "0")),
    Case("negative seed", "out of range", change={}, options=("--seed", "-1")),
    Case("crf", "out of range 0..51", change={}, options=("--crf", "99")),
    Case("frame rate", "Frame rate 'fast'", change={}, options=("--fps", "fast")),
    Case("frame rate range", "out of range 1..120", change={}, options=("--fps", "500")),
    Case("frame rate with exponent", "is not a number", change={}, options=("--fps", "1e99999999")),
    Case("format", "Unknown format 'avi'", change={}, options=("--format", "avi")),
    Case("format and suffix", "does not go with", change={}, options=("--format", "gif")),
    Case("suffix", "What format", change={}, options=("-o", "out.xyz")),
    Case("output folder", "does not exist", change={}, options=("-o", "no/such/out.mp4")),
    Case("output name", "too long", change={}, options=("-o", "x" * 240 + ".mp4")),
    Case("output without a name", "no name for an output", change={}, options=("-o", "..", "--format", "png")),
    Case("output is a folder of photographs", "other files than a video's pictures", change={}, options=("-o", "pics", "--format", "png"),
         files=folder_with("pics", "holiday.png")),
    Case("output folder holds the picture", "lies in pics", change={"image": "pics/000000.png"}, options=("-o", "pics", "--format", "png"),
         files=folder_with("pics", "000000.png")),
    Case("record over the conversation", "one of the inputs", change={}, file="out.mp4.json"),
    Case("mask is the output", "one of the inputs", change=speakers({"region": {"mask": "m.gif"}}), options=("-o", "m.gif"),
         files=picture("m.gif", Image.new("L", (160, 96), 255))),
    Case("preview over the picture", "one of the inputs", change={}, options=("--plan", "--preview", "photo.png")),
    Case("preview folder", "does not exist", change={}, options=("--plan", "--preview", "no/p.png")),
    Case("output is the input", "one of the inputs", change={"image": "photo.gif"}, options=("-o", "photo.gif"),
         files=picture("photo.gif", Image.new("RGB", (160, 96)))),
    Case("output is a folder", "is a folder", change={}, options=("-o", "d.mp4"), files=lambda folder: (folder / "d.mp4").mkdir()),
    Case("seconds", "--seconds", change={}, options=("--seconds", "0")),
    Case("seconds are no number", "--seconds nan", change={}, options=("--seconds", "nan")),
    Case("endless steps", "num_inference_steps is 5000", change={}, options=("--steps", "5000")),
    Case("negative guidance", "audio guidance scale is -1", change={}, options=("--audio-guidance", "-1")),
    Case("guidance is no number", "text guidance scale is nan", change={}, options=("--text-guidance", "nan")),
    Case("setting of words", "motion_frames is 'many'; it must be", change={}, options=("--set", "motion_frames=many")),
    Case("a person of no pixels", "0 pixels for each person is out of range", change={}, options=("--set", "size=0 each")),
    Case("half a frame", "segment_frames is 12.5; it must be", change={}, options=("--set", "segment_frames=12.5")),
    Case("setting of numbers", "negative_prompt is 5; it must be", change={}, options=("--set", "negative_prompt=5")),
    Case("neither yes nor no", "latent_sink is 'maybe'; it must be", change={}, options=("--set", "latent_sink=maybe")),
    Case("hand-over", "hand_over is 'post'; it must be 'latents' or 'pixels'", change={}, options=("--set", "hand_over=post")),
    Case("prediction", "prediction is 'future'", change={}, options=("--set", "prediction=future")),
    Case("shift", "shift is -1", change={}, options=("--set", "flow_shift=-1")),
    Case("colour strength", "colour strength is 2", change={}, options=("--set", "colour_strength=2")),
    Case("colour feedback", "needs pixels", change={}, options=("--set", "colour_feedback=true")),
    Case("no pixels", "0 pixels is out of range", change={}, options=("--set", "size=0")),
    Case("no such table", "no table of sizes", change={}, options=("--set", "size=multitalk-9")),
    Case("text tokens", "max_sequence_length is 0", change={}, options=("--set", "max_sequence_length=0")),
    Case("setting unknown", "does not set anything", change={}, options=("--set", "colour=red")),
    Case("setting without value", "does not set anything", change={}, options=("--set", "motion_frames")),
    Case("motion frames", "motion frames", change={}, options=("--set", "motion_frames=6")),
    Case("segment frames", "4n\\+1", change={}, options=("--set", "segment_frames=12")),
    Case("device", "no device 'tpu9'", change={}, options=("--device", "tpu9")),
    Case("precision", "Unknown dtype", change={}, options=("--dtype", "int3")),
    Case("offload", "Unknown offload", change={}, options=("--offload", "moon")),
    Case("offload on a CPU", "nothing to move", change={}, options=("--offload", "group", "--device", "cpu")),
    Case("quantization", "Unknown quantization", change={}, options=("--quantization", "int1")),
    Case("no LoRA file", "no LoRA file", change={}, options=("--lora", "none.safetensors")),
    Case("LoRA strength", "not a number", change={}, options=("--lora", "a.safetensors=strong")),
    Case("no such model", "There is no model", change={}, options=("-m", "nobody/nothing")),
    Case("model is a file", "is a file", change={}, options=("-m", "a.wav")),
    Case("model is an empty folder", "model_index.json is missing", change={}, options=("-m", "."),),
    Case("model of another kind", "holds a FluxPipeline", change={}, options=("-m", "m"), files=model({"_class_name": "FluxPipeline"})),
    Case("model index broken", "model_index.json is not valid JSON", change={}, options=("-m", "m"), files=model("{")),
    Case("model index a list", "is not a configuration", change={}, options=("-m", "m"), files=model("[1]")),
    Case("model without weights", "holds no weights", change={}, options=("-m", "m"), files=model(weights=None)),
    Case("model's weights damaged", "is damaged", change={}, options=("-m", "m"), files=model(weights=b"not weights")),
    Case("model's settings unknown", "Unknown generation settings: stepz", change={}, options=("-m", "m"), files=model({"generation": {"stepz": 3}})),
    Case("model's settings a word", "generation holds no settings", change={}, options=("-m", "m"), files=model({"generation": "fast"})),
    Case("model's setting of words", "motion_frames is 'few'", change={}, options=("-m", "m"), files=model({"generation": {"motion_frames": "few"}})),
    Case("model's heads", "num_attention_heads is 'many'", change={}, options=("-m", "m"), files=model(num_attention_heads="many")),
    Case("model's patch", "patch_size is 2", change={}, options=("-m", "m"), files=model(patch_size=2)),
    Case("key without certificate", "belong together", change={}, options=("--key", "a.wav")),
    Case("no consent", "consent", change={"consent": None}),
    Case("speaker count", "1 --speaker options", change={}, options=("--speaker", "a.wav")),
    Case("unknown option", "No such option", change={}, options=("--loud",)),
    Case("option without value", "requires an argument", change={}, options=("--seed",)),
    Case("seed is a word", "Invalid value for .--seed", change={}, options=("--seed", "lucky")),
]  # fmt: skip


def listing(folder: Path) -> list[str]:
    return sorted(str(Path(root, name)) for root, folders, files in os.walk(folder) for name in (*folders, *files))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_bad_input_is_one_line_and_leaves_nothing(case: Case, here: Path, material: Path, talkies: Talkies) -> None:
    for name in ("photo.png", "a.wav", "b.wav"):
        (here / name).symlink_to(material / name)
    if case.files is not None:
        case.files(here)
    good = {"image": "photo.png", "prompt": "two talk", "consent": "drawn", **speakers()}
    if case.text is not None:
        data = case.text if isinstance(case.text, bytes) else case.text.encode()
        (here / case.file).write_bytes(data)
    elif case.change is not None:
        fields = {name: value for name, value in (good | case.change).items() if value is not None}
        (here / case.file).write_text(json.dumps(fields))
    before = listing(here)
    options = ("-o", "out.mp4", "-m", str(material / "model"), *case.options)
    first = () if case.options[:1] == (case.file,) else (case.file,)
    result = talkies("generate", *first, *options)
    assert result.code == 2, result
    assert "Traceback" not in result.err

    assert re.search(case.says, " ".join(result.err.split())), result.err
    assert result.line.startswith("talkies: "), result.err
    assert len([line for line in result.err.splitlines() if not line.startswith("note")]) == 1, result.err
    assert listing(here) == before
    assert result.out == ""


def test_there_are_more_than_sixty_kinds() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 150


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("generate",), "Give a conversation file"),
        (("generate", "--image", "photo.png"), "Give a conversation file"),
        (("generate", "--speaker", "a.wav"), "Give a conversation file"),
        (("people", "none.png"), "no image"),
        (("people", "photo.png"), "Nobody was found"),
        (("people", "photo.png", "-o", "x.txt"), "not the name of a picture"),
        (("people", "photo.png", "-o", "photo.png"), "the picture itself"),
        (("caption", "photo.png"), "No captioning model"),
        (("caption", "photo.png", "-m", "no/such"), "no captioning model 'no/such'"),
        (("verify", "none.mp4"), "There is no file"),
        (("models", "fetch", "gpt"), "There is no model 'gpt'"),
        (("models", "fetch", "nano"), "comes with the package"),
        (("models", "verify", "gpt"), "There is no model 'gpt'"),
        (("models", "verify", "."), "holds no model files"),
        (("verify",), "Missing argument"),
        (("people", "photo.png", "-o", "no/x.png"), "does not exist"),
        (("models", "verify", "multitalk-14b"), "not \\(completely\\) here"),
        (("dance",), "No such command"),
    ],
)
def test_other_commands_too(
    arguments: tuple[str, ...], says: str, here: Path, material: Path, talkies: Talkies
) -> None:

    for name in ("photo.png", "a.wav"):
        (here / name).symlink_to(material / name)
    before = listing(here)
    result = talkies(*arguments)
    assert result.code == 2, result
    assert re.search(says, " ".join(result.err.split())), result.err
    assert listing(here) == before
