"""What the authors' 14B model costs on a GPU: a denoising step, beside plain Wan of the same size.

    python benchmarks/gpu_speed.py --people 1 2 4 --size 480x832 --frames 81

The network has random weights in bf16, made on the device, of the shapes of the real one, whose norms are float32.
A step is one forward pass with speech; a film takes three of them for each of its sampling steps (all conditions,
without words, without anything), and text and picture are encoded once. Times are medians over `--repeats` passes after
one that is not counted. `--layers` takes less of the network, for smaller devices.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import time
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from talkies.checkpoints.multitalk import transformer_config
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel

Inputs = dict[str, torch.Tensor]


def inputs(device: torch.device, frames: int, rows: int, columns: int, people: int) -> Inputs:
    """Of `frames` video frames, a latent cell to 8 pixels; no audio for 0 people."""
    latent_frames = (frames - 1) // 4 + 1

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16)

    found = {
        "hidden_states": noise(1, 36, latent_frames, rows, columns),
        "timestep": torch.tensor([500.0], device=device),
        "encoder_hidden_states": noise(1, 512, 4096),
        "encoder_hidden_states_image": noise(1, 257, 1280),
    }
    if people:
        found["audio_hidden_states"] = noise(1, people, frames, 5, 12, 768)
        masks = torch.zeros(1, people + 1, rows, columns, device=device)
        for person in range(people):
            masks[:, person, rows // 4 :, columns * person // people : columns * (person + 1) // people - 2] = 1
        masks[:, -1] = 1 - masks[:, :-1].amax(1)
        found["person_masks"] = masks
    return found


def build(kind: type[Any], config: dict[str, Any], device: torch.device) -> torch.nn.Module:
    """In bf16 on the device from the start: the CPU never holds it."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            network = kind(**config)
    finally:
        torch.set_default_dtype(torch.float32)
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def seconds(network: torch.nn.Module, given: Inputs, repeats: int) -> float:
    device = given["hidden_states"].device

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(repeats + 1):
        wait()
        start = time.perf_counter()
        output = network(**given, return_dict=False)[0]
        wait()
        times.append(time.perf_counter() - start)
    if not output.isfinite().all():
        raise SystemExit("the output is not finite")
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--size", default="480x832", help="height x width in pixels")
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--layers", type=int, help="default: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    height, width = (int(side) for side in options.size.split("x"))
    config = transformer_config({})
    if options.layers:
        config["num_layers"] = options.layers
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    wan_config = {key: config[key] for key in inspect.signature(WanTransformer3DModel).parameters if key in config}
    rows = []
    for kind, settings, crowds in (
        (WanTransformer3DModel, wan_config, [0]),
        (MultiTalkTransformer3DModel, config, options.people),
    ):
        network = build(kind, settings, device)
        weights = sum(value.numel() for value in network.parameters())
        for people in crowds:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            given = inputs(device, options.frames, height // 8, width // 8, people)
            taken = seconds(network, given, options.repeats)
            peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
            rows.append(
                {"network": kind.__name__, "weights_in_billions": round(weights / 1e9, 2), "people": people,
                 "seconds": round(taken, 3), "peak_gib": round(peak, 1)}
            )  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
        del network
    print(f"{name}, torch {torch.__version__}, {options.frames} frames of {width}x{height}")
    for row in rows[1:]:
        print(f"{row['people']} people: {row['seconds'] / rows[0]['seconds']:.3f} of plain Wan's time")


if __name__ == "__main__":
    main()
