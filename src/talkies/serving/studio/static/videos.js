// What was made and is being made: progress with preview, players, downloads, credentials.

import * as api from "./api.js";
import { $, busy, element, spell, toast } from "./dom.js";

const PAGE = 12;
const cards = new Map();

export async function start() {
  $("more").addEventListener("click", () => busy($("more"), older));
  await older();
}

async function older() {
  const oldest = $("videos-list").lastElementChild?.dataset.video;
  let page;
  try {
    page = await api.get(`/v1/videos?limit=${PAGE}${oldest ? `&after=${oldest}` : ""}`);
  } catch (error) {
    if (error.status !== 404 || !oldest) throw error;
    cards.get(oldest).vanish();  // it was deleted elsewhere
    return older();
  }
  for (const video of page.data) $("videos-list").append(card(video).root);
  $("more").hidden = !page.has_more;
  count();
}

export function add(video) {
  const made = card(video);
  $("videos-list").prepend(made.root);
  count();
  made.root.scrollIntoView({ behavior: "smooth", block: "center" });
}

function count() {
  $("videos-empty").hidden = cards.size > 0;
}

const over = (video) => video.status === "completed" || video.status === "failed";

function card(first) {
  if (cards.has(first.id)) return cards.get(first.id);
  let video = first;
  const path = `/v1/videos/${first.id}`;
  const screen = element("div", { className: "screen" });
  const title = element("p", { className: "title" });
  const meta = element("p", { className: "meta", role: "status" });
  const bar = element("progress", { max: 100, "aria-label": "Progress" });
  const buttons = element("div", { className: "row" });
  const details = element("details", { hidden: true }, element("summary", {}, "Where it comes from"));
  const root = element("li", { className: "video" }, screen, element("div", { className: "about" }, title, bar, meta, buttons, details));
  root.dataset.video = first.id;
  const began = { at: 0, progress: 0 };
  let picture = null, shown = "", looked = -Infinity;

  const button = (label, work, kind = "") => {
    const made = element("button", { type: "button", className: `quiet ${kind}`, textContent: label });
    made.addEventListener("click", () => busy(made, work));
    return made;
  };

  async function update(now) {
    video = now;
    title.textContent = now.prompt || "A talk";
    bar.hidden = over(now);
    bar.value = now.progress;
    meta.textContent = words(now, began);
    meta.classList.toggle("failed", now.status === "failed");
    if (shown !== now.status) {
      shown = now.status;
      await settle(now);
    }
    if (now.status === "in_progress" && now.progress > 0) await preview();
  }

  async function settle(now) {
    const destroy = button("Delete", async () => {
      await api.remove(path);
      vanish();
    }, "danger");
    if (now.status === "completed") {
      const address = await api.source(`${path}/content`);
      const poster = await api.source(`${path}/content?variant=thumbnail`).catch(() => "");
      const player = element("video", { controls: true, preload: "metadata", playsInline: true, src: address, "aria-label": title.textContent });
      if (poster) player.poster = poster;
      screen.replaceChildren(player);
      buttons.replaceChildren(element("a", { className: "button quiet", href: address, download: `${now.id}.mp4`, textContent: "Download" }), destroy);
      details.hidden = false;
    } else if (now.status === "failed") {
      screen.replaceChildren(element("span", {}, now.error?.code === "cancelled" ? "Stopped" : "Failed"));
      buttons.replaceChildren(button("Try again", async () => follow(await api.post(`${path}/retry`))), destroy);
    } else {
      screen.replaceChildren(element("span", {}, now.status === "queued" ? "Waiting for its turn" : "The first pictures are coming"));
      buttons.replaceChildren(button("Stop", async () => update(await api.post(`${path}/cancel`))));
    }
  }

  async function preview() {
    if (performance.now() - looked < 1500) return;
    looked = performance.now();
    try {
      const address = await api.fresh(`${path}/content?variant=preview`);
      picture ??= element("img", { alt: "Preview" });
      const before = picture.src;
      picture.src = address;
      await picture.decode();
      if (before) URL.revokeObjectURL(before);
      if (video.status === "in_progress" && !picture.isConnected) screen.replaceChildren(picture);
    } catch {
      // There is none yet.
    }
  }

  async function follow(now) {
    await update(now);
    while (!over(video)) {
      try {
        for await (const next of changes(path)) {
          if (next.status === undefined) return vanish();
          await update(next);
        }
      } catch (error) {
        if (error.status === 404) return vanish();
        if (error.name !== "AbortError") meta.textContent = error.message;
      }
      if (!over(video)) await pause(500);
    }
  }

  function vanish() {
    root.remove();
    cards.delete(first.id);
    count();
  }

  details.addEventListener("toggle", async () => {
    if (!details.open || details.childElementCount > 1) return;
    try {
      details.append(await origin(path));
    } catch (error) {
      toast(error);
    }
  });
  const made = { root, vanish };
  cards.set(first.id, made);
  follow(first).catch(toast);
  return made;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let streaming = false;

// A video's changes. Browsers open few connections to one server, all tabs together, and a stream holds one: only one
// video is streamed, and only while the page is looked at. The others are asked about now and then.
async function* changes(path) {
  if (streaming || document.hidden) {
    await pause(2500);
    yield await api.get(path);
    return;
  }
  const leaving = new AbortController();
  const hide = () => document.hidden && leaving.abort();
  document.addEventListener("visibilitychange", hide);
  streaming = true;
  try {
    yield* api.events(`${path}/events`, leaving.signal);
  } finally {
    streaming = false;
    document.removeEventListener("visibilitychange", hide);
  }
}

function words(video, began) {
  const when = new Date(video.created_at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  if (video.status === "failed") return video.error?.code === "cancelled" ? `Stopped · ${when}` : video.error?.message ?? "Failed.";
  if (video.status === "completed") return `${spell(Number(video.seconds))} · ${video.size} · ${when}`;
  if (video.status === "queued") return `Waiting · ${when}`;
  // Counted from where progress begins to grow, so without the loading, also of a video that is gone on with.
  if (video.progress <= began.progress) Object.assign(began, { at: performance.now(), progress: video.progress });
  const passed = (performance.now() - began.at) / 1000, gained = video.progress - began.progress;
  const left = gained > 1 && passed > 4 ? ` · ${roughly(((100 - video.progress) * passed) / gained)} left` : "";
  return `${video.progress} % · ${video.stage || "being made"}${left}`;
}

const roughly = (seconds) => seconds < 10 ? "a few seconds" : seconds < 90 ? `about ${10 * Math.ceil(seconds / 10)} s` : `about ${Math.round(seconds / 60)} min`;

async function origin(path) {
  const { credentials } = await api.get(`/studio/api${path.replace("/v1", "")}/credentials`);
  if (!credentials) return element("p", { className: "hint" }, "This file carries no content credentials.");
  const record = credentials.record ?? {};
  const rows = [
    ["Credentials", credentials.intact ? "intact" : `broken: ${credentials.problems.join(", ")}`, credentials.intact ? "ok" : "no"],
    ["Made by", `${credentials.generator}${credentials.ai_generated ? ", AI-generated" : ""}`],
    ["Signed by", `${credentials.signer}${credentials.trusted ? "" : " (self-made key: says what, not who)"}`],
    ["Model", record.model], ["Seed", record.seed], ["Prompt", record.prompt],
    ["People", record.people?.join("; ")], ["Consent", record.consent?.statement], ["Mark", record.mark],
  ];
  const shown = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return element("dl", {}, ...shown.flatMap(([name, value, kind]) => [element("dt", {}, name), element("dd", { className: kind ?? "" }, String(value))]));
}
