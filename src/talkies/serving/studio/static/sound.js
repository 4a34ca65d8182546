// Sound in the browser: decoding what was uploaded, playing the talk, recording a voice.

import * as api from "./api.js";

const decoded = new Map();
let context = null;
let playing = null;

function audio() {
  context ??= new AudioContext();
  return context;
}

export function load(file) {
  if (!decoded.has(file)) {
    const offline = new OfflineAudioContext(1, 1, 48000);
    decoded.set(file, api.bytes(`/studio/api/files/${file}`).then((bytes) => offline.decodeAudioData(bytes)));
    decoded.get(file).catch(() => decoded.delete(file));
  }
  return decoded.get(file);
}

// Loudest sample in each of `count` parts, 0..1.
export async function peaks(file, count) {
  const samples = (await load(file)).getChannelData(0);
  const size = Math.max(1, Math.floor(samples.length / count));
  const found = Array.from({ length: count }, (_, part) => {
    let top = 0;
    for (let i = part * size; i < Math.min(samples.length, (part + 1) * size); i += 4) top = Math.max(top, Math.abs(samples[i]));
    return top;
  });
  const loudest = Math.max(...found, 0.05);
  return found.map((value) => value / loudest);
}

// Plays turns at their times; `moved` gets the seconds that have passed, and null at the end.
export async function play(turns, moved = () => {}) {
  stop();
  const mine = { sources: [], moved };
  playing = mine;
  const buffers = await Promise.all(turns.map((turn) => load(turn.file)));
  if (playing !== mine) return;
  await audio().resume();
  const first = Math.min(...turns.map((turn) => turn.start));
  const zero = audio().currentTime + 0.05 - (turns.length === 1 ? first : 0);
  turns.forEach((turn, index) => {
    const source = audio().createBufferSource();
    source.buffer = buffers[index];
    source.connect(audio().destination);
    source.start(zero + turn.start);
    mine.sources.push(source);
  });
  const last = Math.max(...turns.map((turn) => turn.start + turn.seconds));
  const tick = () => {
    if (playing !== mine) return;
    const now = audio().currentTime - zero;
    if (now > last) return stop();
    moved(Math.max(0, now));
    requestAnimationFrame(tick);
  };
  tick();
}

export function stop() {
  const ended = playing;
  playing = null;
  for (const source of ended?.sources ?? []) source.stop();
  ended?.moved(null);
}

export const isPlaying = () => playing !== null;

// Records until the returned function is called, which gives the recording.
export async function record() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("Recording needs a secure page: https, or this very machine.");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  } catch {
    throw new Error("The microphone cannot be used. Allow it in the browser, or give a file.");
  }
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.start();
  return () => new Promise((done) => {
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      done(new Blob(parts, { type: recorder.mimeType }));
    });
    recorder.stop();
  });
}
