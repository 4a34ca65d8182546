// How the video is to be made, what is still missing, and asking for it.

import * as api from "./api.js";
import { $, busy } from "./dom.js";
import { ready } from "./timeline.js";
import { newId, save, spoken, state, turnsOf, watch } from "./state.js";

const FIELDS = ["prompt", "seconds", "seed", "model", "size", "num_inference_steps", "text_guidance_scale", "audio_guidance_scale", "negative_prompt"];
const STEPS = { draft: 0.5, fine: 1.5 };  // of the model's own number
let operator = null, models = [];

export function start(setup, made) {
  operator = setup.consent;
  models = setup.models;
  $("model").replaceChildren(...setup.models.map((model) => new Option(model.id, model.id)));
  $("consent-row").hidden = operator !== null;
  fill();
  $("film-form").addEventListener("input", () => {
    keep();
    review();
  });
  $("dice").addEventListener("click", () => {
    $("seed").value = Math.floor(Math.random() * 1_000_000);
    keep();
  });
  $("film-form").addEventListener("submit", (event) => {
    event.preventDefault();
    busy($("make"), async () => {
      const video = await api.post("/v1/videos", order(), { "Idempotency-Key": newId() + newId() });
      made(video);
    }).then(review);
  });
  watch(review);
  review();
}

export function fill() {
  const { film } = state;
  for (const id of FIELDS) $(id).value = film[id] ?? (id === "seed" ? "0" : id === "model" ? $("model").options[0]?.value : "");
  document.querySelector(`input[name=quality][value="${film.quality ?? ""}"]`).checked = true;
  $("consent").checked = film.consent ?? false;
}

function keep() {
  for (const id of FIELDS) state.film[id] = $(id).value;
  state.film.quality = document.querySelector("input[name=quality]:checked").value;
  state.film.consent = $("consent").checked;
  save();
}

function review() {
  const missing = [];
  if (!state.picture) missing.push("a picture");
  else if (!state.people.length) missing.push("somebody in the picture");
  else if (!state.turns.some(spoken)) missing.push("somebody who speaks");
  if (!operator && !$("consent").checked) missing.push("your word on consent");
  const wrong = [...$("film-form").querySelectorAll("input")].find((input) => !input.checkValidity());
  const problems = [
    missing.length ? `Still missing: ${missing.join(", ")}.` : "",
    ready() ? "" : "Somebody would say two things at once: move the red turn.",
    state.turns.every((turn) => spoken(turn) || turn.does) ? "" : "Say on the timeline what is done, or remove it.",
    new Set(state.people.map((person) => person.name.normalize("NFC"))).size < state.people.length ? "Two people have the same name." : "",
    wrong ? `${wrong.closest("label").firstChild.textContent.trim()}: ${wrong.validationMessage}` : "",
  ].filter(Boolean);
  $("missing").textContent = problems.join(" ");
  $("make").disabled = problems.length > 0;
}

function region(person) {
  // An untouched box stands for the outline that was found around the face; a drawn one is meant to the pixel.
  return person.moved ? { box: person.box } : { point: person.face };
}

function steps({ model, quality }) {
  const own = (models.find((one) => one.id === model) ?? models[0])?.steps;
  return STEPS[quality] && own ? Math.max(1, Math.round(own * STEPS[quality])) : undefined;
}

export function order() {
  const { film } = state;
  const number = (id) => (film[id] ? Number(film[id]) : undefined);
  return {
    prompt: film.prompt?.trim() || undefined,
    negative_prompt: film.negative_prompt?.trim() || undefined,
    model: film.model || undefined,
    size: film.size?.trim() || undefined,
    seconds: number("seconds"),
    seed: number("seed") ?? 0,
    num_inference_steps: number("num_inference_steps") ?? steps(film),
    text_guidance_scale: number("text_guidance_scale"),
    audio_guidance_scale: number("audio_guidance_scale"),
    consent: operator ?? $("statement").textContent,
    input_reference: { file_id: state.picture.file },
    speakers: state.people.map((person) => ({ name: person.name, region: region(person), liveliness: person.liveliness ?? undefined })),
    turns: state.people.flatMap((person) => turnsOf(person))
      .sort((a, b) => a.start - b.start)
      .map((turn) => ({
        speaker: state.people.find((person) => person.id === turn.person).name,
        audio: turn.file || undefined, does: turn.does || undefined, start: turn.start,
      })),
  };
}
