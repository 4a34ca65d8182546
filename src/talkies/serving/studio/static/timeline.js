// Who speaks when: a lane per person, recordings as blocks that can be moved by mouse, finger and keyboard.

import { $, element, spell } from "./dom.js";
import * as sound from "./sound.js";
import { addReaction, changed, clashes, colour, describe, end, endOf, keepTurns, round, spoken, state, turnsOf, watch } from "./state.js";

const MIN_SCALE = 48, MAX_SCALE = 260;
let playhead = null;
let dragged = null, drawn = 0;

export function start() {
  $("play").addEventListener("click", listen);
  $("in-turn").addEventListener("click", () => {
    followEachOther(sorted());
    changed();
  });
  $("together").addEventListener("click", () => {
    for (const person of state.people) followEachOther(sorted(turnsOf(person)));
    changed();
  });
  $("clip-does").addEventListener("input", () => {
    chosen().does = $("clip-does").value.trim();
    changed();
  });
  $("clip-start").addEventListener("change", () => moveTo(chosen(), Number($("clip-start").value)));
  $("clip-play").addEventListener("click", () => sound.play([chosen()], follow));
  $("clip-remove").addEventListener("click", () => remove(chosen()));
  new ResizeObserver(() => $("lanes").clientWidth !== drawn && render()).observe($("lanes"));
  watch(render);
}

function followEachOther(turns) {
  let clock = 0;
  for (const turn of turns) {
    turn.start = round(clock, 0.05);
    if (spoken(turn)) clock = endOf(turn) + 0.25;  // nobody waits for a nod
  }
}

// Adds something that a person does without words, and asks for the words that tell it.
export function act(person) {
  addReaction(person);
  changed();
  $("clip-does").focus();
}

const sorted = (turns = state.turns) => [...turns].sort((a, b) => a.start - b.start);
const chosen = () => state.turns.find((turn) => turn.id === state.selected);
const nameWidth = () => (matchMedia("(max-width: 34rem)").matches ? 5.6 : 6.5) * parseFloat(getComputedStyle(document.documentElement).fontSize);

function scale() {
  const room = $("lanes").clientWidth - nameWidth() - 8;
  return Math.min(MAX_SCALE, Math.max(MIN_SCALE, room / Math.max(4, end() + 0.5)));
}

function render() {
  if (dragged) return;  // a block that is replaced while it is held would be dropped
  drawn = $("lanes").clientWidth;
  const any = state.turns.length > 0;
  $("timeline-empty").hidden = any;
  for (const id of ["play", "in-turn", "together"]) $(id).disabled = !state.turns.some(spoken);
  const focused = document.activeElement?.dataset?.turn;
  const width = Math.max(end() + 0.5, 4) * scale();
  const inner = element("div", { className: "inner" });
  inner.style.width = `${width + nameWidth()}px`;
  if (any) inner.append(ruler(), ...state.people.map(lane));
  $("lanes").replaceChildren(inner);
  playhead = null;
  tools();
  if (focused) document.querySelector(`[data-turn="${focused}"]`)?.focus({ preventScroll: true });
}

function ruler() {
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60].find((seconds) => seconds * scale() > 44) ?? 120;
  const marks = [];
  for (let at = 0; at <= end() + 0.5; at += step) {
    const mark = element("span", {}, spell(at).replace(".0 s", " s"));
    mark.style.left = `${at * scale()}px`;
    marks.push(mark);
  }
  return element("div", { className: "ruler", "aria-hidden": "true" }, ...marks);
}

function lane(person) {
  const number = element("span", { className: "number" }, String(state.people.indexOf(person) + 1));
  const name = element("div", { className: "name" }, number, element("span", {}, person.name));
  const turns = turnsOf(person);
  const track = element("div", { className: "track", role: "group", "aria-label": `${person.name}'s turns` }, ...turns.map(clip));
  return element("div", { className: turns.every(spoken) ? "lane" : "lane acting", colour: colour(person) }, name, track);
}

function clip(turn) {
  const person = state.people.find((other) => other.id === turn.person);
  const said = spoken(turn), wave = said ? element("canvas", { width: 200, height: 40 }) : null;
  const block = element("button", { type: "button", className: !said ? "clip act" : clashes(turn) ? "clip clash" : "clip" }, wave, element("span", {}, describe(turn)));
  block.dataset.turn = turn.id;
  block.setAttribute("aria-pressed", String(turn.id === state.selected));
  block.title = describe(turn);
  block.setAttribute("aria-label",
    `${person.name}${said ? ":" : ""} ${describe(turn)}, from ${turn.start.toFixed(2)} s, ${spell(turn.seconds)}${clashes(turn) ? ", overlaps another turn of theirs" : ""}. Arrow keys move it.`);
  block.style.left = `${turn.start * scale()}px`;
  block.style.width = `${Math.max(14, turn.seconds * scale())}px`;
  block.addEventListener("pointerdown", (event) => drag(event, block, turn));
  block.addEventListener("keydown", (event) => press(event, turn));
  block.addEventListener("click", (event) => { if (event.detail === 0) select(turn); });
  if (said) sound.peaks(turn.file, 100).then((values) => paint(wave, values, colour(person)), () => {});
  return block;
}

function paint(canvas, values, ink) {
  const pen = canvas.getContext("2d");
  pen.fillStyle = ink;
  values.forEach((value, index) => pen.fillRect(index * 2, 20 - 18 * value, 1.4, 36 * value + 1));
}

function select(turn) {
  if (state.selected === turn.id) return;
  state.selected = turn.id;
  changed();
}

function drag(event, block, turn) {
  if (event.button !== 0) return;
  const from = { x: event.clientX, start: turn.start };
  dragged = turn;
  block.setPointerCapture(event.pointerId);
  const moved = (now) => {
    turn.start = snap(turn, from.start + (now.clientX - from.x) / scale());
    block.style.left = `${turn.start * scale()}px`;
    block.classList.toggle("clash", clashes(turn));
  };
  block.addEventListener("pointermove", moved);
  block.addEventListener("lostpointercapture", () => {
    dragged = null;
    state.selected = turn.id;
    changed();
  }, { once: true });
}

// Sticks to the ends of other turns when it comes near them.
function snap(turn, start) {
  const edges = [0, ...state.turns.filter((other) => other !== turn).map(endOf)];
  const near = edges.find((edge) => Math.abs(edge - start) * scale() < 7);
  return near === undefined ? Math.max(0, round(start, 0.05)) : Math.ceil(near * 100 - 1e-6) / 100;
}

function moveTo(turn, start) {
  if (!turn || !Number.isFinite(start)) return;
  turn.start = Math.min(3600, Math.max(0, round(start)));
  changed();
}

function press(event, turn) {
  const step = { ArrowLeft: -0.1, ArrowRight: 0.1 }[event.key];
  if (step) {
    event.preventDefault();
    state.selected = turn.id;
    moveTo(turn, turn.start + step * (event.shiftKey ? 10 : 1));
  } else if (event.key === "Delete" || event.key === "Backspace") {
    remove(turn);
  }
}

function remove(turn) {
  const place = sorted().indexOf(turn);
  keepTurns(state.turns.filter((other) => other !== turn));
  changed();
  // What had the focus is gone: a neighbour takes it.
  const next = sorted()[Math.min(place, state.turns.length - 1)];
  (document.querySelector(`[data-turn="${next?.id}"]`) ?? $("timeline-title")).focus({ preventScroll: true });
}

function tools() {
  const turn = chosen();
  $("clip-tools").hidden = !turn;
  if (!turn) return;
  const person = state.people.find((other) => other.id === turn.person);
  const said = spoken(turn);
  $("clip-text").textContent = said
    ? `${person.name}: “${turn.label}”, ${spell(turn.seconds)}${clashes(turn) ? " (overlaps another turn of theirs)" : ""}`
    : `${person.name}, without words`;
  $("clip-does-label").textContent = said ? "Meanwhile" : "What is done";
  if (document.activeElement !== $("clip-does")) $("clip-does").value = turn.does ?? "";
  $("clip-play").hidden = !said;
  if (document.activeElement !== $("clip-start")) $("clip-start").value = turn.start;
  $("clip-play").setAttribute("aria-label", `Listen to this turn of ${person.name}`);
}

function listen() {
  if (sound.isPlaying()) sound.stop();
  else sound.play(state.turns.filter(spoken), follow);
}

function follow(seconds) {
  $("play").textContent = seconds === null ? "▶ Listen" : "■ Stop";
  if (seconds === null) {
    playhead?.remove();
    playhead = null;
    return;
  }
  if (!playhead?.isConnected) {
    playhead = element("div", { className: "playhead" });
    document.querySelector(".inner")?.append(playhead);
  }
  playhead.style.left = `${nameWidth() + seconds * scale()}px`;
}

export const ready = () => !state.turns.some(clashes);
