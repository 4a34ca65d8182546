"""What speech costs: the forward pass against diffusers' plain Wan of the same size.

    python benchmarks/transformer_speed.py --tokens 4290 8190 --people 2 6

Runs are paired: in each round every model runs once, in random order, and the ratio to that round's plain Wan counts.
The median over the rounds is reported, with the quartiles. Times are CPU times of this process, so that other work on
the machine disturbs less. Memory is the peak above the loaded model, each model in a process of its own (Linux).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import dispatch_attention_fn

from talkies.models.speaker_rope import attention_with_person_map, label_rotary, person_tokens, video_labels
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

DIM, HEADS, LAYERS, FFN_DIM = 512, 8, 4, 1408
ROWS, COLUMNS = 15, 26  # 240 x 416 pixels: 390 tokens in a frame
TEXT_TOKENS, IMAGE_TOKENS, TEXT_DIM, IMAGE_DIM = 512, 257, 4096, 1280
COMMON = {
    "num_attention_heads": HEADS,
    "attention_head_dim": DIM // HEADS,
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": TEXT_DIM,
    "ffn_dim": FFN_DIM,
    "num_layers": LAYERS,
    "image_dim": IMAGE_DIM,
    "added_kv_proj_dim": DIM,
}
Run = Callable[[], object]


def wan_inputs(frames: int) -> dict[str, torch.Tensor]:
    """Random inputs of plain Wan for `frames` latent frames."""
    generator = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(1, 36, frames, 2 * ROWS, 2 * COLUMNS, generator=generator),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, TEXT_DIM, generator=generator),
        "encoder_hidden_states_image": torch.randn(1, IMAGE_TOKENS, IMAGE_DIM, generator=generator),
    }


def speech_inputs(frames: int, people: int) -> dict[str, torch.Tensor]:
    """Random audio of `people`, who stand side by side with background above them."""
    generator = torch.Generator().manual_seed(people)
    audio = torch.randn(1, people, 4 * (frames - 1) + 1, 5, 12, 768, generator=generator)
    masks = torch.zeros(1, people + 1, 2 * ROWS, 2 * COLUMNS)
    for person, columns in enumerate(torch.arange(2 * COLUMNS).chunk(people)):
        masks[:, person, ROWS:, columns] = 1
    masks[:, people] = 1 - masks[:, :people].sum(dim=1)
    return {"audio_hidden_states": audio, "person_masks": masks}


def build(kind: str) -> torch.nn.Module:
    """Plain Wan or ours, with the same weights wherever both have them."""
    torch.manual_seed(0)
    wan = WanTransformer3DModel(**COMMON).eval()
    if kind == "wan":
        return wan
    ours = MultiTalkTransformer3DModel(**COMMON).eval()
    ours.load_state_dict(wan.state_dict(), strict=False)
    return ours


def cpu_seconds(run: Run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def paired(baseline: Run, others: dict[str, Run], rounds: int) -> tuple[float, dict[str, list[float]]]:
    """The baseline's median seconds, and each other's ratio to it in every round."""
    runs = {"": baseline, **others}
    for run in runs.values():
        run()
    times: list[dict[str, float]] = []
    for _ in range(rounds):
        order = random.sample(sorted(runs), len(runs))
        times.append({name: cpu_seconds(runs[name]) for name in order})
    return (
        statistics.median(row[""] for row in times),
        {name: [row[name] / row[""] for row in times] for name in others},
    )


def summary(values: list[float]) -> str:
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:.3f} ({low:.3f} to {high:.3f})"


def peak_above_loaded(kind: str, frames: int, people: int) -> float:
    """MiB, measured in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", kind, "--frames", str(frames), "--people", str(people)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def resident_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def print_own_peak(kind: str, frames: int, people: int) -> None:
    torch.set_num_threads(1)
    model = build(kind)
    inputs = wan_inputs(frames) | (speech_inputs(frames, people) if people else {})
    loaded = resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading
    with torch.inference_mode():
        model(**inputs)
    print(json.dumps(resident_mib("VmHWM") - loaded))


def map_seconds(frames: int, people: int, rounds: int) -> float:
    """Seconds that person maps and labels add to one forward pass."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, frames * ROWS * COLUMNS, HEADS, DIM // HEADS)
    query, key, value = (torch.randn(shape, generator=generator) for _ in range(3))
    tokens = person_tokens(speech_inputs(frames, people)["person_masks"], (ROWS, COLUMNS))

    def with_map() -> None:
        _, person_map = attention_with_person_map(query, key, value, tokens)
        label_rotary(video_labels(person_map), DIM // HEADS)

    def without() -> None:
        dispatch_attention_fn(query, key, value)

    with_map()
    without()
    return LAYERS * statistics.median(cpu_seconds(with_map) - cpu_seconds(without) for _ in range(4 * rounds))


def measure(tokens: int, people: list[int], rounds: int) -> None:
    frames, rest = divmod(tokens, ROWS * COLUMNS)
    if rest:
        raise SystemExit(f"{tokens} tokens are not whole frames of {ROWS * COLUMNS}.")
    wan, ours = build("wan"), build("ours")
    plain = wan_inputs(frames)
    runs: dict[str, Run] = {}
    for count in people:
        inputs = plain | (speech_inputs(frames, count) if count else {})
        runs[f"{count} people"] = lambda inputs=inputs: ours(**inputs)  # type: ignore[misc]
    with torch.inference_mode():
        seconds, ratios = paired(lambda: wan(**plain), runs, rounds)
        print(f"\n{tokens} tokens ({frames} frames of {ROWS} x {COLUMNS}); plain Wan {seconds:.2f} s")
        for name, values in ratios.items():
            print(f"  {name:<10} {summary(values)} x")
        for count in [count for count in people if count > 1][:1]:
            forward = seconds * statistics.median(ratios[f"{count} people"])
            share = map_seconds(frames, count, rounds) / forward
            print(f"  person map and labels of {count} people: {100 * share:.1f} % of the forward")
    base = peak_above_loaded("wan", frames, 0)
    for count in people:
        above = peak_above_loaded("ours", frames, count)
        print(
            f"  peak memory above the loaded model, {count} people: {above:.0f} MiB = {above / base:.3f} x {base:.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[4290, 8190])
    parser.add_argument("--people", type=int, nargs="+", default=[0, 1, 2, 6], help="0: the audio layers left out")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory-of", choices=["wan", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print_own_peak(arguments.memory_of, arguments.frames, arguments.people[0])
        return
    torch.set_num_threads(1)
    for tokens in arguments.tokens:
        measure(tokens, arguments.people, arguments.rounds)


if __name__ == "__main__":
    main()
