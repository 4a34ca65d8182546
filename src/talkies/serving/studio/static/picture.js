// The picture and where its people are: boxes that can be drawn, dragged, resized, and moved with the keyboard.

import * as api from "./api.js";
import { $, busy, element, toast } from "./dom.js";
import { addPerson, changed, colour, keepTurns, removePerson, save, state, watch } from "./state.js";

const SMALLEST = 16;
const made = new Map();
let shown = null;

export function start() {
  const drop = $("drop");
  for (const input of [$("picture-file"), $("change-picture").querySelector("input")]) {
    input.addEventListener("change", () => {
      if (input.files[0]) take(input.files[0]);
      input.value = "";
    });
  }
  for (const target of [drop, $("frame")]) {
    target.addEventListener("dragover", (event) => {
      event.preventDefault();
      target.classList.add("over");
    });
    target.addEventListener("dragleave", () => target.classList.remove("over"));
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      target.classList.remove("over");
      const file = event.dataTransfer.files[0];
      if (file) take(file);
    });
  }
  $("find-again").addEventListener("click", () => busy($("find-again"), () => find()));
  $("add-person").addEventListener("click", () => {
    const { width, height } = state.picture;
    const left = 0.05 + 0.22 * (state.people.length % 4);  // beside one another, so that each can be seen
    const person = addPerson([width * left, height * 0.2, width * (left + 0.24), height].map(Math.round));
    changed();
    made.get(person.id).focus();
  });
  $("boxes").addEventListener("pointerdown", draw);
  watch(render);
  render();
}

async function take(file) {
  $("drop").classList.add("busy");
  $("frame").classList.add("busy");
  hint("Looking at the picture …");
  try {
    const uploaded = await api.upload(file);
    if (uploaded.kind !== "image") throw new Error("That is not a picture.");
    const { people, turns } = state;
    Object.assign(state, { people: [], turns: [], selected: null });
    state.picture = { file: uploaded.id, width: uploaded.width, height: uploaded.height };
    state.film.consent = $("consent").checked = false;  // that was given for the people of another picture
    changed();
    await find(people, turns);
  } catch (error) {
    toast(error);
    hint("");
  } finally {
    $("drop").classList.remove("busy");
    $("frame").classList.remove("busy");
  }
}

// Finds people anew; those who are there already keep their names, voices and turns, from left to right.
async function find(known = state.people, turns = state.turns) {
  const { people } = await api.post("/studio/api/people", { file: state.picture.file });
  const kept = [...known];
  if (people.length || !state.people.length) {
    state.people = [];
    for (const found of people) {
      const person = addPerson(found.box, found.face);
      const old = kept.shift();
      if (old) Object.assign(person, { id: old.id, name: old.name, language: old.language, voice: old.voice, liveliness: old.liveliness });
    }
    const here = new Set(state.people.map((person) => person.id));
    state.turns = turns;
    keepTurns(turns.filter((turn) => here.has(turn.person)));
  }
  changed();
  const count = people.length;
  hint(count === 0 ? "Nobody was found. Add the people yourself." :
    `${count === 1 ? "One person was" : `${count} people were`} found. Drag a box or its corners where it is not right.`);
}

function hint(text) {
  $("picture-hint").textContent = text;
}

async function render() {
  const { picture } = state;
  $("drop").hidden = picture !== null;
  $("frame").hidden = picture === null;
  for (const id of ["add-person", "find-again", "change-picture"]) $(id).hidden = picture === null;
  if (picture === null) hint("");
  if (shown !== picture?.file) {
    shown = picture?.file;
    const path = `/studio/api/files/${shown}`;
    if (shown) $("photo").src = await api.source(path);
  }
  $("photo").width = picture?.width ?? 0;
  $("photo").height = picture?.height ?? 0;
  for (const [id, box] of made) {
    if (!state.people.some((person) => person.id === id)) {
      box.remove();
      made.delete(id);
    }
  }
  for (const person of state.people) place(person);
}

function place(person) {
  const { width, height } = state.picture;
  let box = made.get(person.id);
  if (!box) {
    box = build(person.id);
    made.set(person.id, box);
    $("boxes").append(box);
  }
  const [left, top, right, bottom] = person.box;
  const percent = (value, whole) => `${(100 * value) / whole}%`;
  Object.assign(box.style, {
    left: percent(left, width), top: percent(top, height),
    width: percent(right - left, width), height: percent(bottom - top, height),
    // Smaller ones lie above larger ones, so that each can be reached.
    zIndex: Math.round(1000 - (900 * (right - left) * (bottom - top)) / (width * height)),
  });
  box.style.setProperty("--c", colour(person));
  box.querySelector("i").textContent = state.people.indexOf(person) + 1;
  box.querySelector("b span").textContent = person.name;
  box.setAttribute("aria-label", `Where ${person.name} is. Arrow keys move it, with Shift they resize it, Delete removes it.`);
}

function build(id) {
  const person = () => state.people.find((other) => other.id === id);
  const grips = ["nw", "ne", "sw", "se"].map((corner) => element("div", { className: `grip ${corner}` }));
  const box = element("div", { className: "box", tabIndex: 0, role: "group" },
    element("b", {}, element("i"), element("span")), ...grips);
  box.dataset.person = id;
  box.addEventListener("pointerdown", (event) => {
    event.stopPropagation();
    const corner = grips.includes(event.target) ? event.target.className.split(" ")[1] : null;
    drag(event, box, person(), corner);
  });
  box.addEventListener("keydown", (event) => press(event, person()));
  return box;
}

function scale() {
  return state.picture.width / $("frame").clientWidth;
}

function drag(event, box, person, corner) {
  if (event.button !== 0) return;
  const from = { x: event.clientX, y: event.clientY, box: [...person.box] };
  box.focus({ preventScroll: true });
  follow(event, box, (now) => {
    const dx = (now.clientX - from.x) * scale(), dy = (now.clientY - from.y) * scale();
    if (Math.hypot(dx, dy) > 2) move(person, change(from.box, dx, dy, corner));
  });
}

function follow(event, target, moved) {
  target.setPointerCapture(event.pointerId);
  const stop = () => {
    target.removeEventListener("pointermove", moved);
    changed();
  };
  target.addEventListener("pointermove", moved);
  target.addEventListener("lostpointercapture", stop, { once: true });
}

function change([left, top, right, bottom], dx, dy, corner) {
  if (corner === null) return [left + dx, top + dy, right + dx, bottom + dy];
  return [
    corner.includes("w") ? Math.min(left + dx, right - SMALLEST) : left,
    corner.includes("n") ? Math.min(top + dy, bottom - SMALLEST) : top,
    corner.includes("e") ? Math.max(right + dx, left + SMALLEST) : right,
    corner.includes("s") ? Math.max(bottom + dy, top + SMALLEST) : bottom,
  ];
}

// Keeps a box inside the picture: moved ones keep their size, resized ones are cut.
function move(person, box) {
  const sides = [state.picture.width, state.picture.height];
  const [width, height] = [box[2] - box[0], box[3] - box[1]];
  const whole = width === person.box[2] - person.box[0] && height === person.box[3] - person.box[1];
  for (const axis of [0, 1]) {
    const shift = whole ? Math.max(0, -box[axis]) - Math.max(0, box[axis + 2] - sides[axis]) : 0;
    box[axis] = Math.max(0, box[axis] + shift);
    box[axis + 2] = Math.min(sides[axis], box[axis + 2] + shift);
  }
  person.box = box.map(Math.round);
  person.moved = true;
  place(person);
  save();
}

function press(event, person) {
  const step = Math.max(1, Math.round(state.picture.width / 100));
  const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
  if (dx || dy) {
    event.preventDefault();
    move(person, change(person.box, dx, dy, event.shiftKey ? "se" : null));
  } else if (event.key === "Delete" || event.key === "Backspace") {
    removePerson(person);
    changed();
    $("add-person").focus();
  }
}

// Drawing a new box on free ground. With a finger that would scroll the page: there is a button for it.
function draw(event) {
  if (event.button !== 0 || event.pointerType === "touch") return;
  const frame = $("frame").getBoundingClientRect();
  const at = (point) => [(point.clientX - frame.left) * scale(), (point.clientY - frame.top) * scale()];
  const from = at(event);
  let person = null;
  follow(event, $("boxes"), (now) => {
    const to = at(now);
    if (!person && Math.hypot(to[0] - from[0], to[1] - from[1]) > SMALLEST) {
      person = addPerson([from[0], from[1], from[0] + SMALLEST, from[1] + SMALLEST]);
    }
    if (!person) return;
    const low = [0, 1].map((axis) => Math.min(from[axis], to[axis]));
    const high = [0, 1].map((axis) => Math.max(from[axis], to[axis], low[axis] + SMALLEST));
    move(person, [...low, ...high]);
  });
}
