"""How several voices are told apart: every way against the plain twin, and what each promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from plain_multitalk import plain_forward
from talkies.domain.errors import InputError
from talkies.models.audio_injection import AUDIO_INJECTIONS, attend_owned, pick_owned, strip_owner
from talkies.models.speaker_rope import PersonLabels, audio_labels
from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel, record_person_maps
from tiny_multitalk import LAWS, Case, cases, close, make_case, no_near_tie

OTHERS = AUDIO_INJECTIONS[1:]
RANGES = [(2.0, 2.0), (0.0, 1.0), (3.0, 30.5)]  # and strides


@LAWS
@given(st.sampled_from(OTHERS).flatmap(lambda name: cases(injection=name)))
def test_other_injections_equal_the_plain_implementation(case: Case) -> None:
    assume(case.people <= case.grid[2])
    with torch.no_grad(), record_person_maps(case.model) as maps:
        sample = case.model(*case.arguments[:5]).sample  # no masks: where people are is not asked
    assert close(sample, plain_forward(case.model, *case.arguments).sample)
    assert not maps


@LAWS
@given(
    st.sampled_from([(2.0, 2.0), (0.0, 1.0), (3.0, 30.5)]).flatmap(lambda r: cases(label_range=r[0], label_stride=r[1]))
)
def test_other_labels_equal_the_plain_implementation(case: Case) -> None:
    plain = plain_forward(case.model, *case.arguments)
    assume(no_near_tie(plain.maps))
    with torch.no_grad():
        assert close(case.model(*case.arguments).sample, plain.sample)


@LAWS
@given(cases(people=1))
def test_one_voice_is_heard_alike_by_all(case: Case) -> None:
    with torch.no_grad():
        expected = case.model(*case.arguments).sample
        for name in OTHERS:
            other = with_injection(case.model, name)
            assert torch.equal(other(*case.arguments).sample, expected)


@LAWS
@given(st.sampled_from(["concat", "add"]).flatmap(lambda name: cases(injection=name)))
def test_without_labels_the_order_of_voices_is_nothing(case: Case) -> None:
    *rest, audio, _ = case.arguments
    with torch.no_grad():
        assert close(case.model(*rest, audio.flip(1)).sample, case.model(*rest, audio).sample)


@pytest.mark.parametrize("people", [2, 3, 5])
def test_a_strip_hears_its_own_person_alone(people: int) -> None:
    """Seen in the first block's audio attention, before self-attention carries it on."""
    case = make_case(people=people, grid=(2, 2, 5), injection="split")
    *rest, audio, _ = case.arguments
    changed = audio.clone()
    changed[:, people - 1] += 1
    states = []
    for voices in (audio, changed):
        seen: list[torch.Tensor] = []
        handle = case.model.blocks[0].register_forward_hook(lambda _m, _a, out, seen=seen: seen.append(out))
        with torch.no_grad():
            case.model(*rest, voices)
        handle.remove()
        states.append(seen[0])
    moved = (states[0] != states[1]).any(-1)[0]
    assert torch.equal(moved, strip_owner(people, (2, 2, 5)) == people - 1)


@LAWS
@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9))
def test_strips_are_equal_and_go_from_left_to_right(people: int, frames: int, rows: int, columns: int) -> None:
    assume(columns >= people)
    owner = strip_owner(people, (frames, rows, columns)).view(frames, rows, columns)
    assert (owner == owner[0, 0]).all() and (owner[0, 0].diff() >= 0).all()
    counts = owner[0, 0].bincount(minlength=people)
    assert len(counts) == people and counts.max() - counts.min() <= (columns % people > 0)


@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 4), st.data())
def test_attending_to_ones_own_is_picking(batch: int, count: int, candidates: int, data: st.DataObject) -> None:
    """Values and gradients, whoever owns how many tokens, none included."""
    owner = data.draw(st.lists(st.integers(0, candidates - 1), min_size=batch * count, max_size=batch * count))
    owned = torch.tensor(owner).view(batch, count)
    random = torch.Generator().manual_seed(count)
    states = torch.randn(batch, count, 4, generator=random, requires_grad=True)
    texts = [torch.randn(batch, 3, 4, generator=random) for _ in range(candidates)]

    def attend(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return torch.softmax(queries @ keys.mT, -1) @ keys

    found = attend_owned(attend, states, texts, owned)
    expected = pick_owned([attend(states, text) for text in texts], owned)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.square().sum(), states)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_more_people_than_columns_are_not_split() -> None:
    case = make_case(people=3, grid=(1, 2, 2), injection="split")
    with pytest.raises(InputError, match="2 token columns cannot be split among 3 people"):
        case.model(*case.arguments)


def test_labels_by_default_are_the_papers() -> None:
    labels = PersonLabels()
    assert (labels.range, labels.stride, labels.background) == (4.0, 20.0, 12.0)
    assert audio_labels(2, 1, labels=PersonLabels(2.0, 2.0)).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"audio_injection": "rope"}, "'rope'.*l-rope, concat, add, split"),
        ({"person_label_range": 21.0}, "person_label_range 21.0 .* tell people apart"),
        ({"person_label_range": -1.0}, "person_label_range -1.0"),
        ({"person_label_range": float("nan")}, "person_label_range nan"),
        ({"person_label_range": 0.0, "person_label_stride": 0.0}, "person_label_stride 0.0"),
        ({"person_label_stride": float("inf")}, "person_label_stride inf"),
    ],
)
def test_what_does_not_exist_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MultiTalkTransformer3DModel(num_layers=0, **changed)


@pytest.mark.parametrize("name", OTHERS)
def test_compiles_and_trains(name: str) -> None:
    case = make_case(people=2, injection=name)
    torch.compiler.reset()
    compiled = torch.compile(case.model, fullgraph=True, backend="eager")
    with torch.no_grad():
        expected = case.model(*case.arguments).sample
        torch.testing.assert_close(compiled(*case.arguments).sample, expected, rtol=1e-4, atol=1e-5)
    model = with_injection(case.model, name)
    model.enable_gradient_checkpointing()
    model.train()(*case.arguments).sample.square().mean().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if "audio" in n and not n.endswith("to_k.bias")}
    assert gradients and all(gradient is not None and gradient.any() for gradient in gradients.values())


def with_injection(model: MultiTalkTransformer3DModel, name: str) -> MultiTalkTransformer3DModel:
    """The same weights, heard in another way."""
    other = MultiTalkTransformer3DModel.from_config({**model.config, "audio_injection": name}).eval()
    other.load_state_dict(model.state_dict())
    return other
