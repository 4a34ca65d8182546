"""What the network promises beside its numbers: plain Wan underneath, configuration, training, compilation, errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from talkies.domain.errors import InputError
from talkies.models.audio_adapter import window_audio
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel, record_person_maps
from tiny_multitalk import make_case, tiny_network


@pytest.mark.parametrize("image_tokens", [0, 257])
def test_without_audio_it_is_wan(image_tokens: int) -> None:
    """With 512 text tokens, the number that Wan's processor assumes beside an image."""
    case = make_case(text_tokens=512, image_tokens=image_tokens, batch=2)
    ours = case.model
    wan = WanTransformer3DModel(
        **{name: ours.config[name] for name in WanTransformer3DModel._get_init_keys(WanTransformer3DModel) - {"self"}}
    )
    wan.load_state_dict(ours.state_dict(), strict=False)
    with torch.no_grad():
        expected = wan.eval()(*case.arguments[:4]).sample
        torch.testing.assert_close(ours(*case.arguments[:4]).sample, expected, rtol=1e-4, atol=1e-5)


def test_tuple_is_returned_on_request() -> None:
    case = make_case()
    with torch.no_grad():
        (sample,) = case.model(*case.arguments, return_dict=False)
        assert torch.equal(sample, case.model(*case.arguments).sample)


def test_configuration_survives_saving(tmp_path: Path) -> None:
    case = make_case(patch=(1, 1, 2), window=3, stride=2, image_tokens=0)
    case.model.save_pretrained(tmp_path)
    loaded = MultiTalkTransformer3DModel.from_pretrained(tmp_path)
    changed = {"_name_or_path", "_use_default_values"}
    assert {n: v for n, v in loaded.config.items() if n not in changed} == {
        n: list(v) if isinstance(v, tuple) else v for n, v in case.model.config.items() if n not in changed
    }
    with torch.no_grad():
        assert torch.equal(loaded(*case.arguments).sample, case.model(*case.arguments).sample)


def test_defaults_are_the_released_model() -> None:
    with torch.device("meta"):
        config = MultiTalkTransformer3DModel(num_layers=1).config
    assert (config.num_layers, config.in_channels, config.image_dim, config.audio_context_tokens) == (1, 36, 1280, 32)


def test_fused_projections_change_nothing() -> None:
    case = make_case()
    model = MultiTalkTransformer3DModel.from_config(case.model.config)
    model.load_state_dict(case.model.state_dict())
    with torch.no_grad():
        before = model.eval()(*case.arguments).sample
        model.fuse_qkv_projections()
        assert hasattr(model.blocks[0].audio_attn, "to_kv")
        torch.testing.assert_close(model(*case.arguments).sample, before, rtol=1e-4, atol=1e-5)
        model.unfuse_qkv_projections()
        assert torch.equal(model(*case.arguments).sample, before)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    case = make_case()
    model = MultiTalkTransformer3DModel.from_config(case.model.config)
    model.load_state_dict(case.model.state_dict())
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model.train()(*case.arguments).sample.square().mean().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
    assert all(gradients[0][name].any() for name in gradients[0] if "audio" in name and not name.endswith("to_k.bias"))


@pytest.mark.parametrize("people", [1, 3])
def test_blocks_compile_into_one_graph(people: int) -> None:
    case = make_case(people=people)
    model = MultiTalkTransformer3DModel.from_config(case.model.config)
    model.load_state_dict(case.model.state_dict())
    torch.compiler.reset()
    model.eval().compile_repeated_blocks(fullgraph=True, backend="eager")
    with torch.no_grad():
        expected = case.model(*case.arguments).sample
        torch.testing.assert_close(model(*case.arguments).sample, expected, rtol=1e-4, atol=1e-5)


def test_whole_network_compiles_into_one_graph() -> None:
    case = make_case(people=3)
    torch.compiler.reset()
    compiled = torch.compile(case.model, fullgraph=True, backend="eager")
    with torch.no_grad():
        expected = case.model(*case.arguments).sample
        torch.testing.assert_close(compiled(*case.arguments).sample, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_stays_finite_and_close() -> None:
    case = make_case(people=2)
    model = MultiTalkTransformer3DModel.from_config(case.model.config).to(torch.bfloat16).eval()
    model.load_state_dict(case.model.state_dict())
    arguments = [each if each is None else each.to(torch.bfloat16) for each in case.arguments]
    with torch.no_grad():
        sample = model(*arguments).sample
    assert sample.dtype == torch.bfloat16
    assert sample.isfinite().all()


def test_frames_may_have_timesteps_of_their_own() -> None:
    """A clean first frame: its modulation changes, and only through attention the others'."""
    case = make_case(grid=(3, 2, 2))
    latents, timestep, *rest = case.arguments
    each = timestep[:, None].repeat(1, 3)
    each[:, 0] = 0
    with torch.no_grad():
        assert not torch.allclose(case.model(latents, each, *rest).sample, case.model(*case.arguments).sample)


def test_recorder_leaves_no_hooks() -> None:
    case = make_case(people=4)
    with torch.no_grad(), record_person_maps(case.model) as maps:
        case.model(*case.arguments)
    assert [tuple(each.shape) for each in maps] == [(1, 5, 24)] * 2
    assert not any(block.attn1._forward_hooks for block in case.model.blocks)


def test_windows_are_clamped_at_the_ends() -> None:
    features = torch.arange(4.0)[:, None, None]
    assert window_audio(features, 3).flatten(1).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert window_audio(features[None], 5, start=3, stop=5).flatten(2).tolist() == [[[1, 2, 3, 3, 3], [2, 3, 3, 3, 3]]]
    with pytest.raises(InputError, match="0 frames"):
        window_audio(features[:0], 3)


def _replace(case, **changed: torch.Tensor | None) -> list[torch.Tensor | None]:
    names = ["latents", "timestep", "text", "image", "audio", "masks"]
    return [changed.get(name, argument) for name, argument in zip(names, case.arguments, strict=True)] + [
        changed[name] for name in changed if name not in names
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"latents": torch.zeros(1, 4, 2, 6, 8)}, r"hidden_states is \[1, 4, 2, 6, 8\], expected \[B, 5, T, H, W\]"),
        ({"latents": torch.zeros(1, 5, 2, 7, 8)}, r"\[2, 7, 8\].*no multiple of \[1, 2, 2\]"),
        ({"audio": torch.zeros(1, 2, 6, 5, 2, 3)}, r"expected \[1, people, 5, 5, 2, 3\]"),
        ({"audio": torch.zeros(1, 2, 5, 3, 2, 3)}, r"expected \[1, people, 5, 5, 2, 3\]"),
        ({"audio": torch.zeros(2, 2, 5, 5, 2, 3)}, r"expected \[1, people, 5, 5, 2, 3\]"),
        ({"audio": torch.zeros(5)}, r"audio_hidden_states is \[5\]"),
        ({"masks": None}, r"person_masks is None; 2 people need \[1, 3, H, W\]"),
        ({"masks": torch.ones(1, 2, 6, 8)}, r"person_masks is \[1, 2, 6, 8\]; 2 people need"),
        ({"masks": torch.tensor([1.0, 0, 1])[None, :, None, None].expand(1, 3, 6, 8)}, "mask of person 2 covers no"),
        ({"image": torch.zeros(1, 2, 11)}, r"encoder_hidden_states_image is \[1, 2, 11\], expected \[1, tokens, 10\]"),
        ({"text": torch.zeros(2, 5, 6)}, r"encoder_hidden_states is \[2, 5, 6\], expected \[1, tokens, 6\]"),
        ({"timestep": torch.zeros(1, 5)}, r"timestep is \[1, 5\]"),
        ({"timestep": torch.zeros(3)}, r"timestep is \[3\]"),
    ],
)
def test_input_that_does_not_fit_is_refused(changed: dict[str, torch.Tensor | None], message: str) -> None:
    case = make_case()
    with pytest.raises(InputError, match=message):
        case.model(*_replace(case, **changed))


def test_image_tokens_need_a_network_made_for_them() -> None:
    case = make_case(image_tokens=0)
    with pytest.raises(InputError, match="image_dim"):
        case.model(*_replace(case, image=torch.zeros(1, 3, 10)))


def test_nothing_is_kept_between_calls() -> None:
    model = tiny_network()
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    case = make_case()
    with torch.no_grad():
        case.model(*case.arguments)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == {n: set(v) for n, v in before.items()}
