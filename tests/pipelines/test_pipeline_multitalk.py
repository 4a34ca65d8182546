"""The whole pipeline with tiny real parts: what goes in, what comes out, what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from PIL import Image

from talkies.domain.clip import FrameSize
from talkies.domain.directions import Cue
from talkies.domain.errors import InputError, NumericalError
from talkies.models.audio_encoder import SpeechEncoder
from talkies.pipelines.inputs import GenerationRequest
from talkies.pipelines.output import Progress
from talkies.pipelines.pipeline_multitalk import MultiTalkPipeline
from talkies.pipelines.prompts import SegmentTexts, clean_prompt, segment_texts
from talkies.pipelines.settings import NEGATIVE_PROMPT, GenerationSettings
from talkies.sampling.noise import cpu_generator
from talkies.sampling.segments import plan_segments
from tiny_pipeline import GENERATION, reference_pipeline, stripes, voice, wan_pipeline

PROMPT = "two people talk"


def pixels(video: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(frame) for frame in video])


@pytest.fixture(params=["wan", "small"])
def pipeline(request: pytest.FixtureRequest) -> MultiTalkPipeline:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("people", [1, 2, 3, 4])
def test_any_number_of_people_with_unequal_tracks(
    pipeline: MultiTalkPipeline, picture: Image.Image, people: int
) -> None:
    voices = [voice(0.2 + 0.1 * person, person) for person in range(people)]
    masks = stripes(people) if people > 1 else None
    video = pipeline(picture, voices, PROMPT, person_masks=masks, generator=cpu_generator(0)).frames
    assert len(video) == 1
    assert abs(len(video[0]) - 25 * (0.2 + 0.1 * (people - 1))) <= 0.5
    assert video[0][0].size == (64, 64)


def test_cues_change_the_segments_they_are_for(pipeline: MultiTalkPipeline, picture: Image.Image) -> None:
    """A cue for the end leaves the beginning as it was; one for all of it is a longer prompt."""

    def run(prompt: str, *cues: Cue) -> np.ndarray:
        return pipeline(picture, [voice(1.2)], prompt, generator=cpu_generator(0), cues=cues, output_type="np").frames[
            0
        ]

    plain, late = run(PROMPT), run(PROMPT, Cue("She nods.", 1.0, 1.1))
    segments = pipeline.plan(GenerationRequest(picture, [voice(1.2)], prompt=PROMPT)).segments.segments
    last = next(s for s in segments if s.first_kept + s.kept_frames > 25)
    assert len(segments) > 1 and 0 < last.first_kept < 25
    assert np.array_equal(plain[: last.first_kept], late[: last.first_kept])
    assert np.abs(plain[last.first_kept :] - late[last.first_kept :]).max() > 1e-6
    assert np.array_equal(run(PROMPT, Cue("She nods.", 0, 9)), run(f"{PROMPT} She nods."))
    with pytest.raises(InputError, match="Cues join a prompt"):
        embeds = pipeline.encode_prompt([PROMPT], 12)
        pipeline(picture, [voice(0.4)], prompt_embeds=embeds, cues=[Cue("She nods.", 0, 1)])


def test_cues_have_a_guidance_of_their_own(pipeline: MultiTalkPipeline, picture: Image.Image) -> None:
    """It is text guidance in the segments that have words of their own, and none elsewhere."""

    def run(cues: list[Cue], **settings: float) -> np.ndarray:
        plain = {"text_guidance_scale": 1.0, **settings}
        return pipeline(
            picture, [voice(1.2)], PROMPT, generator=cpu_generator(0), cues=cues, output_type="np",
            settings=pipeline.defaults.replace(plain),
        ).frames  # fmt: skip

    always, late = [Cue("She nods.", 0, 9)], [Cue("She nods.", 1.0, 1.1)]
    assert np.array_equal(run(always, cue_guidance_scale=3.0), run(always, text_guidance_scale=3.0))
    assert np.array_equal(run([], cue_guidance_scale=3.0), run([]))
    weak, strong = run(late), run(late, cue_guidance_scale=3.0)
    assert np.array_equal(weak[:, :5], strong[:, :5]) and np.abs(weak - strong).max() > 1e-6


def test_texts_of_segments() -> None:
    segments = plan_segments(100, 33, 5).segments
    cues = [Cue("B.", 2.0, 2.5), Cue("A.", 0.0, 0.5), Cue("never", 5.0, 6.0)]
    texts = segment_texts(["x", "y"], cues, segments, 2)
    assert texts[0] == SegmentTexts(("x A.", "y A."), {})
    for segment in segments[1:]:
        on = segment.first_kept < 62.5 and segment.first_kept + segment.kept_frames > 50
        assert texts.get(segment.index) == (SegmentTexts(("x B.", "y B."), {}) if on else None)
    assert segment_texts("x", [], segments, 2) == {}
    own = [Cue("He nods.", 0.1, 0.2, 1), Cue("Rain.", 0.0, 0.5)]
    assert segment_texts("x", own, segments, 2)[0] == SegmentTexts(("x Rain.",), {1: ("x Rain. He nods.",)})
    few = segment_texts("He sits. It is late.", own, segments, 1, fits=lambda text: len(text.split()) <= 5)
    assert few[0] == SegmentTexts(("He sits. Rain. He nods.",), {})
    assert segment_texts("It is very late", own, segments, 1, fits=lambda text: len(text.split()) <= 5)[0] == (
        SegmentTexts(("It is Rain. He nods.",), {})
    )
    assert segment_texts("x", own, segments, 1)[0] == SegmentTexts(("x Rain. He nods.",), {})


def test_a_persons_cue_is_read_by_their_part_of_the_picture(pipeline: MultiTalkPipeline, picture: Image.Image) -> None:
    def run(*cues: Cue, prompt: str = PROMPT) -> np.ndarray:
        return pipeline(
            picture, [voice(0.2), voice(0.2, 1)], prompt, person_masks=stripes(2), generator=cpu_generator(0),
            cues=cues, output_type="np",
        ).frames  # fmt: skip

    both = [Cue("She nods.", 0, 1, person) for person in range(2)]
    runs = [run(), run(both[0]), run(both[1]), run(*both), run(Cue("She nods.", 0, 1))]
    for k, one in enumerate(runs[:4]):
        assert all(np.abs(one - other).max() > 1e-6 for other in runs[k + 1 : 4])
    request = GenerationRequest(
        picture, [voice(0.2), voice(0.2, 1)], prompt=PROMPT, person_masks=stripes(2), size=FrameSize(64, 64),
        cues=[both[1]], settings=pipeline.defaults,
    )  # fmt: skip
    latent = (2, 2)
    conditions = pipeline.encode_conditions(
        request, pipeline.plan(request), pipeline.defaults, torch.zeros(1, 3, 64, 64), latent
    )
    directed, masks = conditions.directed[0], conditions.masks
    assert directed.regions is not None and masks is not None
    assert torch.equal(directed.regions[:, 0], masks[:, 1]) and not (directed.regions.sum(1) != 1).any()
    words = pipeline.encode_prompt([f"{PROMPT} She nods.", PROMPT], pipeline.defaults.max_sequence_length)
    torch.testing.assert_close(directed.prompts[0], words)
    with pytest.raises(InputError, match="person 2"):
        run(Cue("She nods.", 0, 1, 2))


def test_everybody_reads_their_own_words_wherever_they_are_listed(
    pipeline: MultiTalkPipeline, picture: Image.Image
) -> None:
    prompt = "Two people talk. The person on the left nods. The person on the right waves."

    def run(own_words: bool, *cues: Cue, masks: object = None, prompt: str = prompt) -> np.ndarray:
        return pipeline(
            picture, [voice(0.2), voice(0.2, 1)], prompt, person_masks=masks or stripes(2), cues=cues, output_type="np",
            generator=cpu_generator(0), settings=pipeline.defaults.replace({"own_words": own_words}),
        ).frames  # fmt: skip

    told = [Cue("The person on the left nods.", 0, 9, 0), Cue("The person on the right waves.", 0, 9, 1)]
    people_alone = "Two people talk."
    settings = pipeline.defaults.replace({"own_words": True, "max_sequence_length": 64})
    request = GenerationRequest(
        picture, [voice(0.2), voice(0.2, 1)], prompt=prompt, person_masks=stripes(2)[::-1], size=FrameSize(64, 64),
        cues=[Cue("He smiles.", 0, 1, 0)], settings=settings,
    )  # fmt: skip
    conditions = pipeline.encode_conditions(
        request, pipeline.plan(request), settings, torch.zeros(1, 3, 64, 64), (2, 2)
    )
    directed, masks = conditions.directed[0], conditions.masks
    assert directed.regions is not None and masks is not None and torch.equal(directed.regions, masks)
    texts = [
        f"{people_alone} {told[1].text} He smiles.",
        f"{people_alone} {told[0].text}",
        prompt,
    ]  # the first is right
    torch.testing.assert_close(directed.prompts[0], pipeline.encode_prompt(texts, settings.max_sequence_length))
    assert np.abs(run(True) - run(False)).max() > 1e-6
    assert np.array_equal(run(True, prompt=people_alone), run(False, prompt=people_alone))


def test_clean_latents_can_be_kept_within_limits(pipeline: MultiTalkPipeline, picture: Image.Image) -> None:
    def run(**settings: object) -> np.ndarray:
        return pipeline(
            picture, [voice(0.4)], PROMPT, generator=cpu_generator(0), output_type="np",
            settings=pipeline.defaults.replace({"prediction": "sample", **settings}),
        ).frames  # fmt: skip

    wide, narrow = run(), run(clip_sample=[[0, 4, 0.01]])
    assert np.array_equal(wide, run(clip_sample=[[0, 4, 1e6]])) and np.abs(wide - narrow).max() > 1e-6
    with pytest.raises(InputError, match="clip_sample"):
        pipeline.defaults.replace({"clip_sample": "much"})


def test_everything_given_matters(pipeline: MultiTalkPipeline, picture: Image.Image) -> None:
    def run(**changes: object) -> np.ndarray:
        arguments = {
            "image": picture,
            "audio": [voice(0.4), voice(0.4, 1)],
            "prompt": PROMPT,
            "person_masks": stripes(2),
            "generator": cpu_generator(0),
            "text_guidance_scale": 3.0,
            "output_type": "np",
        }
        return pipeline(**{**arguments, **changes}).frames

    base = run()
    assert base.shape == (1, 10, 64, 64, 3)
    assert np.array_equal(base, run())
    for changes in (
        {"image": picture.rotate(90)},
        {"audio": [voice(0.4, 2), voice(0.4, 1)]},
        {"audio": [voice(0.4, 1), voice(0.4)]},
        {"audio": [voice(0.4), None]},
        {"prompt": "a dog"},
        {"negative_prompt": "sing"},
        {"person_masks": stripes(2)[::-1]},
        {"generator": cpu_generator(1)},
        {"num_inference_steps": 3},
        {"text_guidance_scale": 5.0},
        {"audio_guidance_scale": 1.5},
        {"height": 32, "width": 48},
    ):
        other = run(**changes)
        assert other.shape != base.shape or np.abs(other - base).max() > 1e-6, changes


def test_batch_equals_its_samples(pipeline: MultiTalkPipeline, picture: Image.Image) -> None:
    voices = [[voice(0.6, 0), voice(0.6, 1)], [voice(0.3, 2), voice(0.6, 3)]]
    prompts, pictures = ["two people talk", "a dog"], [picture, picture.rotate(180)]
    together = pipeline(
        pictures,
        voices,
        prompts,
        person_masks=stripes(2),
        generator=[cpu_generator(5), cpu_generator(6)],
        output_type="np",
    ).frames
    for index in range(2):
        alone = pipeline(
            pictures[index],
            voices[index],
            prompts[index],
            person_masks=stripes(2),
            generator=cpu_generator(5 + index),
            output_type="np",
        ).frames
        np.testing.assert_allclose(together[index], alone[0], atol=2e-4)


def test_output_types(small: MultiTalkPipeline, picture: Image.Image) -> None:
    def run(output_type: str, **more: object) -> object:
        return small(picture, [voice(0.2)], PROMPT, generator=cpu_generator(0), output_type=output_type, **more)

    as_np, as_pt, as_pil = (run(kind).frames for kind in ("np", "pt", "pil"))
    np.testing.assert_allclose(as_np[0], as_pt[0].permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(as_np[0] * 255, pixels(as_pil[0]), atol=0.51)
    latents = run("latent", return_dict=False)[0]
    channels = small.vae.config.latent_channels
    assert [tuple(segment.shape) for segment in latents] == [(1, channels, 2, 4, 4)]


def test_saved_and_loaded(pipeline: MultiTalkPipeline, picture: Image.Image, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.bin"))
    loaded = MultiTalkPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.defaults == pipeline.defaults
    assert (loaded.image_encoder is None) == (pipeline.image_encoder is None)
    arguments = {"person_masks": stripes(2), "output_type": "np"}
    voices = [voice(0.4), voice(0.2, 1)]
    first = pipeline(picture, voices, PROMPT, generator=cpu_generator(0), **arguments).frames
    second = loaded(picture, voices, PROMPT, generator=cpu_generator(0), **arguments).frames
    # a fortieth of a grey level: sums round by how memory happens to lie, and noise looked up elsewhere shows it
    np.testing.assert_allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_one_precision_leaves_autoencoder_and_hearing_alone(wan: MultiTalkPipeline, tmp_path: Path, name: str) -> None:
    wan.save_pretrained(tmp_path)
    loaded = MultiTalkPipeline.from_pretrained(tmp_path, **{name: torch.bfloat16})
    assert loaded.transformer.dtype == loaded.text_encoder.dtype == torch.bfloat16
    assert loaded.vae.dtype == loaded.audio_encoder.dtype == torch.float32


def test_embeddings_replace_their_encoders(wan: MultiTalkPipeline, picture: Image.Image) -> None:
    voices = [voice(0.2)]
    whole = wan(picture, voices, PROMPT, generator=cpu_generator(0), output_type="np").frames
    settings = wan.defaults
    request = GenerationRequest(picture, voices, size=FrameSize(64, 64))
    from talkies.pipelines.inputs import load_reference

    ready = wan(
        picture,
        prompt_embeds=wan.encode_prompt([PROMPT], 12),
        negative_prompt_embeds=wan.encode_prompt([settings.negative_prompt], 12),
        image_embeds=wan.encode_image(load_reference(request, 1, FrameSize(64, 64))),
        # As many frames as its windows can reach, of the voice followed by silence.
        audio_embeds=[wan.audio_encoder.encode_speech(voices[0], 7)],
        num_frames=5,
        generator=cpu_generator(0),
        output_type="np",
    ).frames
    np.testing.assert_allclose(whole, ready, atol=1e-6)


def test_two_passes_without_text_guidance(small: MultiTalkPipeline, picture: Image.Image) -> None:
    names: list[str] = []
    original = small.transformer.cache_context

    def spy(name: str):
        names.append(name)
        return original(name)

    small.transformer.cache_context = spy
    try:
        small(picture, [voice(0.2)], PROMPT, generator=cpu_generator(0))
    finally:
        del small.transformer.cache_context
    assert names == ["cond", "drop_audio"] * 2


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(), None])
def test_euler_of_diffusers_is_ours(picture: Image.Image, scheduler: object) -> None:
    pipeline = reference_pipeline()
    expected = pipeline(picture, [voice(0.8)], PROMPT, generator=cpu_generator(0), output_type="np").frames
    pipeline.scheduler = scheduler
    got = pipeline(picture, [voice(0.8)], PROMPT, generator=cpu_generator(0), output_type="np").frames
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_multistep_scheduler_runs_over_segments(picture: Image.Image) -> None:
    pipeline = reference_pipeline()
    pipeline.scheduler = UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    frames = pipeline(picture, [voice(0.8)], PROMPT, generator=cpu_generator(0), output_type="np").frames
    assert frames.shape[1] == 20 and np.isfinite(frames).all()


def test_callback_sees_and_changes_latents(small: MultiTalkPipeline, picture: Image.Image) -> None:
    seen: list[int] = []

    def stop_moving(_pipeline: MultiTalkPipeline, step: int, timestep: float, tensors: dict) -> dict:
        seen.append(step)
        assert 0 < timestep <= 1000
        return {"latents": torch.zeros_like(tensors["latents"])}

    run = {"generator": cpu_generator(0), "callback_on_step_end": stop_moving, "output_type": "latent"}
    latents = small(picture, [voice(0.8)], PROMPT, **run).frames
    assert seen == [0, 1, 2, 3]
    assert not latents[0].any()


def test_progress_counts_the_whole_run(small: MultiTalkPipeline, picture: Image.Image) -> None:
    events: list[Progress] = []
    request = GenerationRequest(picture, [voice(0.8)], prompt=PROMPT, generator=cpu_generator(0))
    chunks = list(small.stream(request, events.append))
    assert [event.done for event in events] == [1, 2, 3, 4]
    assert {event.total for event in events} == {4}
    assert [(chunk.index, chunk.segments, chunk.start, chunk.frames.shape[1]) for chunk in chunks] == [
        (0, 2, 0, 13),
        (1, 2, 13, 7),
    ]
    whole = small(picture, [voice(0.8)], PROMPT, generator=cpu_generator(0)).frames[0]
    np.testing.assert_array_equal(np.concatenate([chunk.frames[0] for chunk in chunks]), pixels(whole))


def test_plan_says_what_a_run_will_do(wan: MultiTalkPipeline, picture: Image.Image) -> None:
    request = GenerationRequest(picture, [voice(0.8), None], prompt=PROMPT)
    plan = wan.plan(request)
    assert (plan.people, plan.batch, set(plan.passes), plan.sampling.steps) == (2, 1, {3}, 2)
    assert plan.segments.total_frames == 20
    assert (plan.size.width, plan.size.height) == (64, 64)


def test_masks_of_the_picture_and_of_the_frame_agree(wan: MultiTalkPipeline) -> None:
    from talkies.pipelines.inputs import load_masks

    picture = Image.new("RGB", (64, 48))
    masks = stripes(2, 48, 64)
    of_picture = GenerationRequest(picture, person_masks=masks)
    scaled = np.stack([np.asarray(Image.fromarray(mask).resize((32, 24), Image.Resampling.NEAREST)) for mask in masks])
    of_frame = GenerationRequest(picture, person_masks=scaled)
    size = FrameSize(32, 24)
    one, other = (load_masks(request, 1, 2, size, (12, 16)) for request in (of_picture, of_frame))
    assert one is not None and torch.equal(one, other)
    assert torch.equal(one.sum(1), torch.ones(1, 12, 16))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio": None}, "audio"),
        ({"audio": []}, "one waveform per person"),
        ({"audio": [np.zeros((2, 100), np.float32)]}, "not samples"),
        ({"audio": [None, None]}, "silent"),
        ({"audio": [voice(0.2), voice(0.2)], "person_masks": None}, "person_masks"),
        ({"person_masks": stripes(3)}, "people need"),
        ({"person_masks": stripes(2, 7, 7)}, "picture's size"),
        ({"person_masks": stripes(2) * np.array([1, 0])[:, None, None]}, "person 2 is empty"),
        ({"prompt": None}, "no prompt"),
        ({"prompt": ["a", "b", "c"], "image": [Image.new("RGB", (50, 50))] * 2}, "batch"),
        ({"generator": [cpu_generator(0)] * 3}, "3 generators"),
        ({"height": 32}, "both height and width"),
        ({"height": 72, "width": 70}, "multiples of"),
        ({"num_inference_steps": 0}, "steps"),
        ({"audio_guidance_scale": -1.0}, "audio guidance"),
        ({"output_type": "gif"}, "output_type"),
        ({"image": torch.zeros(1, 3, 8, 8)}, "image tensor"),
        ({"callback_on_step_end_tensor_inputs": ["nothing"]}, "callback"),
        ({"settings": GenerationSettings(**{**GENERATION, "hand_over": "post"})}, "hand_over"),
        ({"settings": GenerationSettings(**{**GENERATION, "size": "multitalk-1"})}, "table of sizes"),
    ],
)
def test_bad_input_is_refused(wan: MultiTalkPipeline, picture: Image.Image, changes: dict, message: str) -> None:
    arguments = {"image": picture, "audio": [voice(0.2), None], "prompt": PROMPT, "person_masks": stripes(2)}
    with pytest.raises(InputError, match=message):
        wan(**{**arguments, **changes})


def test_missing_parts_are_named(picture: Image.Image) -> None:
    pipeline = wan_pipeline()
    pipeline.text_encoder = None
    with pytest.raises(InputError, match="no text_encoder"):
        pipeline(picture, [voice(0.2)], PROMPT)
    pipeline.audio_encoder = None
    with pytest.raises(InputError, match="audio_encoder"):
        pipeline(picture, [voice(0.2)], PROMPT)
    with pytest.raises(InputError, match="no vae and no transformer"):
        MultiTalkPipeline()(picture, [voice(0.2)], PROMPT)
    with pytest.raises(InputError, match="Unknown generation settings: stepz"):
        MultiTalkPipeline(generation={"stepz": 3})


@pytest.mark.parametrize("broken", ["transformer", "vae"])
def test_nan_stops_with_its_place(picture: Image.Image, broken: str) -> None:
    pipeline = reference_pipeline()
    part = pipeline.transformer.proj_out if broken == "transformer" else pipeline.vae

    def spoil_late(_pipeline: MultiTalkPipeline, step: int, _timestep: float, tensors: dict) -> dict:
        if step == 2:  # the first step of the second segment
            for parameter in part.parameters():
                parameter.fill_(float("nan"))
        return tensors

    with pytest.raises(NumericalError, match="segment 2 of 2") as caught:
        pipeline(picture, [voice(0.8)], PROMPT, generator=cpu_generator(0), callback_on_step_end=spoil_late)
    assert ("step 2" in str(caught.value)) == (broken == "transformer")


def test_defaults_are_the_papers() -> None:
    settings = GenerationSettings()
    assert (settings.num_inference_steps, settings.text_guidance_scale, settings.audio_guidance_scale) == (40, 5.0, 4.0)
    assert (settings.segment_frames, settings.negative_prompt) == (81, NEGATIVE_PROMPT)
    assert settings.sampling(FrameSize(832, 448)).shift == 7.0
    assert settings.sampling(FrameSize(1280, 704)).shift == 11.0
    assert settings.frame_size(1920, 1080, 16) == FrameSize(896, 448)
    assert settings.replace({"size": "480x272"}).frame_size(1, 1, 16) == FrameSize(480, 272)
    assert dataclasses.replace(settings, size=336 * 192).frame_size(1920, 1080, 16) == FrameSize(336, 192)
    each = dataclasses.replace(settings, size="30720 each")
    assert each.frame_size(1920, 1080, 16, 2) == dataclasses.replace(settings, size=61440).frame_size(1920, 1080, 16)


def test_prompts_are_cleaned_as_wan_does() -> None:
    assert clean_prompt(" two  people\n &amp;amp; a dog ") == "two people & a dog"


def test_parts_fit_the_protocol(pipeline: MultiTalkPipeline) -> None:
    assert isinstance(pipeline.audio_encoder, SpeechEncoder)
