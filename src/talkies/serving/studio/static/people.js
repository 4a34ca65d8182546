// One card per person: name, synthetic voice, and how they get something to say.

import * as api from "./api.js";
import { $, busy, element, spell, toast } from "./dom.js";
import * as sound from "./sound.js";
import { act } from "./timeline.js";
import { addTurn, changed, colour, languages, removePerson, save, spoken, state, turnsOf, watch } from "./state.js";

const cards = new Map();
const known = new Map();
// How much a head moves.
const MOVES = [["Moves: automatic", ""], ["Moves little", 0.6], ["Moves", 1], ["Moves much", 1.6]];

export function start() {
  watch(render);
  render();
}

export function voicesFor(language) {
  if (!known.has(language)) known.set(language, api.get(`/studio/api/voices/${encodeURIComponent(language)}`));
  return known.get(language);
}

export function say(person, text) {
  const line = { text, language: person.language, voice: person.voice, person: state.people.indexOf(person) };
  return api.post("/studio/api/speech", line);
}

function render() {
  $("people-empty").hidden = state.people.length > 0;
  for (const [id, card] of cards) {
    if (!state.people.some((person) => person.id === id)) {
      card.leave();
      card.root.remove();
      cards.delete(id);
    }
  }
  for (const person of state.people) {
    if (!cards.has(person.id)) cards.set(person.id, build(person.id));
    cards.get(person.id).update();
  }
  const order = state.people.map((person) => cards.get(person.id).root);
  if (order.some((root, index) => $("people-list").children[index] !== root)) $("people-list").replaceChildren(...order);
}

function build(id) {
  const person = () => state.people.find((other) => other.id === id);
  const number = element("span", { className: "number" });
  const name = element("input", { maxLength: 80, "aria-label": "Name", oninput: () => {
    person().name = name.value.trim() || person().name;
    changed();
  }, onblur: () => { name.value = person().name; } });
  const tag = element("span", { className: "tag" });
  const gone = element("button", { type: "button", className: "quiet icon", textContent: "✕", onclick: () => {
    removePerson(person());
    changed();
  } });
  const language = element("select", { "aria-label": "Language", onchange: () => {
    Object.assign(person(), { language: language.value, voice: null });
    changed();
  } });
  const voice = element("select", { "aria-label": "Voice", onchange: () => {
    person().voice = voice.value || null;
    save();
  } });
  const moves = element("select", { "aria-label": "Movement", onchange: () => {
    person().liveliness = Number(moves.value) || null;
    save();
  } }, ...MOVES.map(([label, liveliness]) => new Option(label, liveliness)));
  const words = element("textarea", { rows: 2, maxLength: 2000, onkeydown: (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) speak.click();
  } });
  const speak = element("button", { type: "button", textContent: "Say it", onclick: () => busy(speak, async () => {
    const text = words.value.trim();
    if (!text) return words.focus();
    const speech = await say(person(), text);
    if (speech.note) toast(speech.note);
    addTurn(person(), speech, text);
    words.value = "";
    changed();
  }) });
  const file = element("input", { type: "file", accept: "audio/*,video/*", onchange: () => busy(file, async () => {
    const chosen = file.files[0];
    if (chosen) await add(person(), chosen, chosen.name);
    file.value = "";
  }) });
  const record = element("button", { type: "button", className: "quiet", textContent: "● Record" });
  const leave = recorder(record, person);
  const root = element("li", { className: "person" },
    element("div", { className: "who" }, number, name, tag, gone),
    words,
    element("div", { className: "voice" }, language, voice, moves),
    element("div", { className: "row" }, speak, record, element("label", { className: "button quiet" }, "From a file", file),
      element("button", { type: "button", className: "quiet", textContent: "Does something", onclick: () => act(person()) })));
  let listed = null;

  async function update() {
    const me = person();
    root.style.setProperty("--c", colour(me));
    number.textContent = state.people.indexOf(me) + 1;
    if (document.activeElement !== name) name.value = me.name;
    const turns = turnsOf(me).filter(spoken);
    tag.textContent = turns.length ? spell(turns.reduce((sum, turn) => sum + turn.seconds, 0)) : "silent";
    gone.setAttribute("aria-label", `Remove ${me.name}`);
    words.placeholder = `What does ${me.name} say?`;
    words.setAttribute("aria-label", words.placeholder);
    if (!language.options.length) {
      language.replaceChildren(...Object.entries(languages()).map(([code, label]) => new Option(label, code)));
    }
    language.value = me.language;
    moves.value = me.liveliness ?? "";
    if (listed === me.language) return;
    listed = me.language;
    const found = await voicesFor(me.language).catch(() => []);
    const labels = found.slice(0, 24).map((entry) => new Option(entry.label + (entry.gender ? ` (${entry.gender})` : ""), entry.name));
    voice.replaceChildren(new Option("Voice: automatic", ""), ...labels);
    voice.value = person()?.voice ?? "";
    if (voice.selectedIndex < 0) voice.append(new Option(person().voice, person().voice, true, true));
  }
  return { root, update, leave };
}

async function add(person, blob, label) {
  const uploaded = await api.upload(blob);
  if (uploaded.kind !== "audio") throw new Error(`${label} is not a recording.`);
  if (!state.people.some((other) => other.id === person.id)) return api.remove(`/v1/files/${uploaded.id}`);
  addTurn(person, uploaded, label);
  return changed();
}

// Makes a button record; returns what lets go of the microphone when the button goes.
function recorder(button, person) {
  let recording = null;

  async function begin() {
    const stop = await sound.record();
    if (!person()) return stop();  // removed while the browser asked for permission
    recording = stop;
    button.textContent = "■ Stop";
    button.classList.add("recording");
  }

  function end() {
    const stop = recording;
    recording = null;
    button.textContent = "● Record";
    button.classList.remove("recording");
    return stop();
  }

  button.addEventListener("click", () => busy(button, async () => {
    if (!recording) return begin();
    const speaker = person();
    return add(speaker, await end(), "recorded");
  }));
  return () => recording && end();
}
