// What the user has put together so far. Kept in this browser, so that a reload loses nothing.

import * as api from "./api.js";

const PLACE = "talkies.draft";
// White letters stand on them.
export const COLOURS = ["#d5341f", "#1f6fd6", "#1f7f3a", "#8a6800", "#9b3fd1", "#007a80", "#c2307f", "#6b6b6b"];
export const REACTION_SECONDS = 2;  // as the service has it
const EMPTY = { picture: null, people: [], turns: [], selected: null, film: {}, script: "" };

export const state = load();
const watchers = [];

function load() {
  try {
    return { ...structuredClone(EMPTY), ...JSON.parse(localStorage.getItem(PLACE) ?? "{}") };
  } catch {
    return structuredClone(EMPTY);
  }
}

export function save() {
  localStorage.setItem(PLACE, JSON.stringify(state));
}

export function changed() {
  save();
  for (const watcher of watchers) watcher();
}

export function watch(watcher) {
  watchers.push(watcher);
}

// Turns that are gone need their recordings no more; videos made from them have their own copies.
export function keepTurns(wanted) {
  const files = new Set(wanted.map((turn) => turn.file));
  for (const turn of state.turns) {
    if (turn.file && !files.has(turn.file)) api.remove(`/v1/files/${turn.file}`).catch(() => {});
  }
  state.turns = wanted;
  if (!wanted.some((turn) => turn.id === state.selected)) state.selected = null;
}

export function clear() {
  keepTurns([]);
  Object.assign(state, structuredClone(EMPTY));
  changed();
}

export const newId = () => Math.random().toString(36).slice(2, 10);
export const colour = (person) => COLOURS[state.people.indexOf(person) % COLOURS.length];
export const turnsOf = (person) => state.turns.filter((turn) => turn.person === person.id);
export const endOf = (turn) => turn.start + turn.seconds;
export const end = () => Math.max(0, ...state.turns.map(endOf));
// A turn without a recording is something done without words.
export const spoken = (turn) => Boolean(turn.file);
export const describe = (turn) => (spoken(turn) ? turn.label + (turn.does ? ` [${turn.does}]` : "") : turn.does || "does …");
export const round = (value, step = 0.01) => Number((Math.round(value / step) * step).toFixed(3));

export function clashes(turn) {
  const close = (other) => other !== turn && other.person === turn.person && spoken(other);
  return spoken(turn) && state.turns.some((other) => close(other) && turn.start < endOf(other) - 0.001 && other.start < endOf(turn) - 0.001);
}

export function addPerson(box, face = null) {
  const number = state.people.length + 1;
  const names = new Set(state.people.map((person) => person.name));
  let name = `Person ${number}`;
  for (let next = number; names.has(name); ) name = `Person ${++next}`;
  const person = { id: newId(), name, box, face, moved: face === null, language: language(), voice: null, liveliness: null };
  state.people.push(person);
  return person;
}

export function removePerson(person) {
  state.people = state.people.filter((other) => other !== person);
  keepTurns(state.turns.filter((turn) => turn.person !== person.id));
}

export function addTurn(person, file, label, start = end() ? end() + 0.25 : 0) {
  const turn = { id: newId(), person: person.id, file: file.id, seconds: file.seconds, start: round(start, 0.05), label };
  state.turns.push(turn);
  state.selected = turn.id;
  return turn;
}

// It comes with the turn that is chosen, as a listener's nod does, else at the beginning.
export function addReaction(person, does = "", start = state.turns.find((turn) => turn.id === state.selected)?.start ?? 0) {
  const turn = { id: newId(), person: person.id, file: null, seconds: REACTION_SECONDS, start: round(start), label: "", does };
  state.turns.push(turn);
  state.selected = turn.id;
  return turn;
}

let known = {};
export const setLanguages = (languages) => { known = languages; };
export const languages = () => known;

function language() {
  const here = navigator.language.toLowerCase();
  return [here, here.split("-")[0], "en", "en-us"].find((code) => code in known) ?? Object.keys(known)[0] ?? "en";
}
