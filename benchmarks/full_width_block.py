"""One block at the full 14B width, with two people: CPU time and peak memory, beside Wan's block of the same width.

    python benchmarks/full_width_block.py --frames 3 --dtype float32

Weights are random. Memory is the peak above the loaded block, each block in a process of its own (Linux).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock

from talkies.models.speaker_rope import audio_labels, label_rotary
from talkies.models.transformer_multitalk import MultiTalkTransformerBlock

DIM, HEADS, FFN_DIM, AUDIO_DIM, AUDIO_TOKENS, PEOPLE = 5120, 40, 13824, 768, 32, 2
ROWS, COLUMNS = 30, 52  # 480 x 832 pixels: 1,560 tokens in a frame
TEXT_TOKENS, IMAGE_TOKENS = 512, 257


def resident_gib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


@torch.inference_mode()
def run(kind: str, frames: int, dtype: torch.dtype) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    options = {"cross_attn_norm": True, "eps": 1e-6, "added_kv_proj_dim": DIM}
    block: torch.nn.Module = (
        WanTransformerBlock(DIM, FFN_DIM, HEADS, **options)
        if kind == "wan"
        else MultiTalkTransformerBlock(DIM, FFN_DIM, HEADS, AUDIO_DIM, **options)
    ).eval()
    hidden_states = torch.randn(1, frames * ROWS * COLUMNS, DIM)
    text, image = torch.randn(1, TEXT_TOKENS, DIM), torch.randn(1, IMAGE_TOKENS, DIM)
    temb = torch.randn(1, 6, DIM) * DIM**-0.5
    cos, sin = WanRotaryPosEmbed(DIM // HEADS, (1, 2, 2), 1024)(torch.empty(1, 1, frames, 2 * ROWS, 2 * COLUMNS))
    if kind == "wan":
        arguments = [hidden_states, torch.cat([image, text], dim=1), temb, (cos, sin)]
    else:
        audio = torch.randn(1, frames, PEOPLE * AUDIO_TOKENS, AUDIO_DIM)
        labels = label_rotary(audio_labels(PEOPLE, AUDIO_TOKENS), DIM // HEADS)
        columns = torch.arange(ROWS * COLUMNS) % COLUMNS
        people = torch.stack([columns < 16, columns >= 36, (columns >= 16) & (columns < 36)])[None]
        tables = cos[..., 0::2].float().contiguous(), sin[..., 0::2].float().contiguous()
        audio_tables = labels[0].unsqueeze(1), labels[1].unsqueeze(1)
        arguments = [hidden_states, text, temb[:, None], tables, image, audio, audio_tables, people]
    loaded = resident_gib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of loading
    start = time.process_time()
    output = block(*arguments)
    seconds = time.process_time() - start
    parameters = sum(parameter.numel() for parameter in block.parameters())
    print(
        f"{kind}: {parameters / 1e6:.0f} M parameters, {hidden_states.shape[1]} tokens, {dtype}: {seconds:.1f} CPU s, "
        f"loaded {loaded:.2f} GiB, peak {resident_gib('VmHWM') - loaded:.2f} GiB above, "
        f"all finite: {bool(output.isfinite().all())}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--kind", choices=["wan", "talkies"], help="only this block, in this process")
    arguments = parser.parse_args()
    if arguments.kind:
        run(arguments.kind, arguments.frames, getattr(torch, arguments.dtype))
        return
    for kind in ("wan", "talkies"):
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--kind", kind], check=True)


if __name__ == "__main__":
    main()
