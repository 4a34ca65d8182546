// A dialogue in one text: its people become those of the picture, its lines are spoken and laid out.

import * as api from "./api.js";
import { $, busy, toast } from "./dom.js";
import { say, voicesFor } from "./people.js";
import { changed, endOf, keepTurns, languages, newId, REACTION_SECONDS, round, save, state } from "./state.js";

export function start() {
  const text = $("script-text");
  text.value = state.script;
  text.addEventListener("input", () => {
    state.script = text.value;
    save();
  });
  $("script-speak").addEventListener("click", () => busy($("script-speak"), speak));
}

async function speak() {
  try {
    const { speakers, turns } = await api.post("/studio/api/script", { text: $("script-text").value });
    await cast(speakers);
    await perform(turns, speakers);
  } finally {
    $("script-state").textContent = "";
  }
}

const same = (name) => name.normalize("NFKC").trim().toLowerCase();

// Names of the script go to people who have them, then to the others from left to right.
async function cast(speakers) {
  if (!state.picture) throw new Error("Choose a picture first: its people speak the dialogue.");
  const free = state.people.filter((person) => !speakers.some((speaker) => same(speaker.name) === same(person.name)));
  if (speakers.length > state.people.length) {
    throw new Error(`The dialogue has ${speakers.length} people, the picture ${state.people.length}. Add the others to the picture.`);
  }
  for (const speaker of speakers) {
    const person = state.people.find((other) => same(other.name) === same(speaker.name)) ?? free.shift();
    const guessed = speaker.language !== "en" && speaker.language in languages();
    person.name = speaker.name;
    if (guessed || speaker.voice) person.language = speaker.language in languages() ? speaker.language : person.language;
    if (speaker.voice) person.voice = speaker.voice;
    else if (guessed && !(await voicesFor(person.language)).some((voice) => voice.name === person.voice)) person.voice = null;
  }
  changed();
}

async function perform(lines, speakers) {
  const people = new Map(speakers.map((speaker) => [speaker.name, state.people.find((person) => person.name === speaker.name)]));
  const spoken = [];
  for (const [index, line] of lines.entries()) {
    $("script-state").textContent = `Speaking ${index + 1} of ${lines.length} …`;
    spoken.push(line.text ? await say(people.get(line.speaker), line.text) : { id: null, seconds: REACTION_SECONDS });
  }
  let clock = 0;
  keepTurns(lines.map((line, index) => {
    const start = round(Math.max(0, clock + line.pause));
    const turn = { id: newId(), person: people.get(line.speaker).id, file: spoken[index].id, seconds: spoken[index].seconds, start, label: line.text ?? "", does: line.does ?? "" };
    clock = Math.max(clock, line.text ? endOf(turn) : start);  // nobody waits for a nod
    return turn;
  }));
  changed();
  const notes = new Set(spoken.map((entry) => entry.note).filter(Boolean));
  for (const note of notes) toast(note);
}
