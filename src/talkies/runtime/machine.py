"""What the machine has to offer right now."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch


@dataclass(frozen=True)
class Machine:
    """Device and free memory.

    Args:
        device: "cuda", "xpu", "mps" or "cpu".
        free_vram: Free bytes on the accelerator; on "mps" memory is shared and counted here and there; 0 on a CPU.
        free_ram: Free bytes of main memory.
    """

    device: str
    free_vram: int
    free_ram: int


def detect_machine() -> Machine:
    """Asks the first accelerator, if any, and the operating system."""
    free_ram = int(psutil.virtual_memory().available)
    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.mem_get_info()[0], free_ram)
    if torch.xpu.is_available():
        return Machine("xpu", torch.xpu.mem_get_info()[0], free_ram)
    if torch.backends.mps.is_available():
        return Machine("mps", min(torch.mps.recommended_max_memory(), free_ram), free_ram)
    return Machine("cpu", 0, free_ram)


def computes_bf16(device: str | torch.device) -> bool:
    """Whether matrices are multiplied in bf16 by the device itself ("cpu", "cuda", ...).

    A CPU without instructions for it (x86-64 with AVX2 alone) takes dozens of times as long as in fp32.
    """
    if torch.device(device).type != "cpu":
        return True
    return any(found for name, found in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def autocast_bf16(device: str | torch.device) -> torch.autocast:
    """Autocast to bf16 on devices that compute it by themselves, nothing on others."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=computes_bf16(device))
