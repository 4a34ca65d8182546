// The studio's page: puts its parts together.

import * as api from "./api.js";
import { $, toast } from "./dom.js";
import * as film from "./film.js";
import * as people from "./people.js";
import * as picture from "./picture.js";
import * as script from "./script.js";
import { changed, clear, setLanguages, state } from "./state.js";
import * as timeline from "./timeline.js";
import * as videos from "./videos.js";

async function start() {
  const setup = await api.get("/studio/api/setup");
  setLanguages(setup.languages);
  await dropExpired();
  picture.start();
  people.start();
  timeline.start();
  script.start();
  film.start(setup, videos.add);
  $("reset").addEventListener("click", () => {
    if (state.picture && !confirm("Clear the picture, its people and what they say? Videos stay.")) return;
    clear();
    film.fill();
    $("script-text").value = "";
    changed();
  });
  changed();
  await videos.start();
  document.documentElement.dataset.ready = "true";
}

// Uploaded files are kept for a day: a draft older than that has lost them.
async function dropExpired() {
  if (!state.picture) return;
  const { data } = await api.get("/v1/files");
  const kept = new Set(data.map((file) => file.id));
  if (!kept.has(state.picture.file)) clear();
  state.turns = state.turns.filter((turn) => !turn.file || kept.has(turn.file));
}

start().catch(toast);
