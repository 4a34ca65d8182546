"""The network against outputs of the authors' program (see the goldens' README), in float32: on a CPU, and on a GPU
where there is one."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from talkies.checkpoints import load_official
from talkies.models.speaker_rope import audio_labels, person_attention_map, person_tokens, video_labels
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel, record_person_maps

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
TOLERANCE = 1e-4  # of the largest absolute value
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden files at {GOLDEN}")


def error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference relative to the largest value; shown by `--log-cli-level=INFO`."""
    relative = float((actual - expected).abs().max() / expected.abs().max())
    logging.getLogger(__name__).info("largest difference: %.1e of the largest value", relative)
    return relative


def home(output: object) -> object:
    """What a module returned, on the CPU."""
    if isinstance(output, tuple):
        return tuple(map(home, output))
    return output.cpu() if isinstance(output, torch.Tensor) else output


@pytest.fixture(scope="module", params=DEVICES)
def network(request: pytest.FixtureRequest) -> MultiTalkTransformer3DModel:
    torch.backends.cudnn.allow_tf32 = False
    file = GOLDEN / "transformer_weights.safetensors"
    with safe_open(file, "pt") as opened:
        config = json.loads(opened.metadata()["config"])
    weights = {name: tensor.float() for name, tensor in load_file(file).items()}
    return load_official(weights, config).to(request.param)


class Run:
    """One golden case through our network, with everything on the way recorded."""

    def __init__(self, network: MultiTalkTransformer3DModel, people: int) -> None:
        file = GOLDEN / f"transformer_{people}p.safetensors"
        with safe_open(file, "pt") as opened:
            text_length = json.loads(opened.metadata()["config"])["text_len"]
        self.golden = {name: tensor.float() for name, tensor in load_file(file).items()}
        context = self.golden["in.context"]
        text = torch.zeros(1, text_length, context.shape[1])  # the authors pad with zeros before the embedding
        text[0, : len(context)] = context
        device = network.device
        self.audio = self.golden["in.audio"][None].to(device)  # [1, P, F, W, S, C]
        self.masks = self.golden["in.ref_target_masks"][None].to(device)
        picture = torch.cat([self.golden["in.x"][None], self.golden["in.y"]], dim=1)
        inputs = (picture, self.golden["in.t"], text, self.golden["in.clip_fea"])
        self.arguments = [tensor.to(device) for tensor in inputs]
        self.seen: dict[str, torch.Tensor] = {}
        handles = [
            module.register_forward_hook(lambda _module, _in, out, name=name: self.seen.update({name: home(out)}))
            for name, module in network.named_modules()
        ]
        with torch.no_grad(), record_person_maps(network) as maps:
            self.out = network(*self.arguments, self.audio, self.masks).sample.cpu()
        self.maps = [home(person_map) for person_map in maps]
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            self.out_null_audio = network(
                *self.arguments, torch.zeros_like(self.audio)[:, -1:], self.masks
            ).sample.cpu()


@pytest.fixture(scope="module", params=[1, 2], ids=["one person", "two people"])
def run(network: MultiTalkTransformer3DModel, request: pytest.FixtureRequest) -> Run:
    return Run(network, request.param)


def test_output(run: Run) -> None:
    assert error(run.out[0], run.golden["out"]) < TOLERANCE


def test_pass_without_audio(run: Run) -> None:
    assert error(run.out_null_audio[0], run.golden["out_null_audio"]) < TOLERANCE


def test_embeddings(run: Run) -> None:
    for ours, theirs in [
        ("patch_embedding", "patch_embedding"),
        ("condition_embedder.text_embedder", "text_embedding"),
        ("condition_embedder.image_embedder", "img_emb"),
    ]:
        assert error(run.seen[ours], run.golden[f"mid.{theirs}"]) < TOLERANCE, ours
    assert error(run.seen["condition_embedder.time_embedder"][:, 0], run.golden["mid.e"]) < TOLERANCE
    assert error(run.seen["condition_embedder.time_proj"][:, 0], run.golden["mid.e0"].flatten(1)) < TOLERANCE


def test_audio_adapter(run: Run) -> None:
    tokens = run.seen["audio_projector"]  # [1, P, T, A, C]
    assert error(tokens[0], run.golden["mid.audio_proj.out"]) < TOLERANCE
    together = tokens.transpose(1, 2).flatten(2, 3)  # [1, T, P A, C]
    assert error(together, run.golden["mid.audio_embedding_concat"]) < TOLERANCE


@pytest.mark.parametrize("block", [0, 1])
def test_blocks(run: Run, block: int) -> None:
    assert error(run.seen[f"blocks.{block}"], run.golden[f"mid.block{block}.out"]) < TOLERANCE


def test_attentions_of_the_first_block(run: Run) -> None:
    attended = run.seen["blocks.0.attn1"]
    attended = attended[0] if isinstance(attended, tuple) else attended
    assert error(attended, run.golden["mid.block0.self_attn"]) < TOLERANCE
    assert error(run.seen["blocks.0.attn2"], run.golden["mid.block0.cross_attn"]) < TOLERANCE
    assert error(run.seen["blocks.0.audio_attn"], run.golden["mid.block0.audio_cross_attn"]) < TOLERANCE


def test_masks_of_tokens(run: Run) -> None:
    masks = run.golden["in.ref_target_masks"]
    grid = (masks.shape[1] // 2, masks.shape[2] // 2)
    assert torch.equal(person_tokens(masks[None], grid)[0].float(), run.golden["mid.token_ref_target_masks"])


@pytest.mark.parametrize("block", [0, 1])
def test_person_map_and_labels(run: Run, block: int) -> None:
    expected = run.golden[f"mid.block{block}.x_ref_attn_map"]
    if len(run.audio[0]) == 1:
        assert not run.maps  # nothing of it is computed for one person...
        masks = run.golden["mid.token_ref_target_masks"][None] > 0  # ...the authors do
        assert error(_map_of_block(run, block, masks)[0], expected) < TOLERANCE
        return
    assert error(run.maps[block][0], expected) < TOLERANCE
    assert error(video_labels(run.maps[block])[0], run.golden[f"mid.block{block}.lrope_q_pos"]) < TOLERANCE
    frames, tokens_each = run.seen["audio_projector"].shape[2:4]
    labels = audio_labels(2, tokens_each).repeat(frames)
    assert torch.equal(labels, run.golden[f"mid.block{block}.lrope_k_pos"])


def _map_of_block(run: Run, block: int, masks: torch.Tensor) -> torch.Tensor:
    """The person map from the queries and keys that the block computed."""
    from talkies.models.speaker_rope import apply_rotary

    cos, sin = run.seen["rope"]
    tables = cos[..., 0::2], sin[..., 0::2]
    heads = run.seen[f"blocks.{block}.attn1.norm_q"].shape[-1] // (2 * tables[0].shape[-1])
    query, key = (
        apply_rotary(run.seen[f"blocks.{block}.attn1.norm_{name}"].unflatten(2, (heads, -1)), *tables) for name in "qk"
    )
    return person_attention_map(query, key[:, : masks.shape[-1]], masks)
