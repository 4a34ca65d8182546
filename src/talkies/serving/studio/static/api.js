// Talking to the service: every request in one place, errors as sentences.

let key = sessionStorage.getItem("talkies.key") ?? "";
const urls = new Map();

function headers(more = {}) {
  return key ? { Authorization: `Bearer ${key}`, ...more } : more;
}

async function askForKey() {
  const dialog = document.getElementById("key-dialog");
  document.getElementById("key-refused").textContent = key ? "The service does not know this key." : "";
  if (!dialog.open) dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  key = document.getElementById("key").value.trim();
  sessionStorage.setItem("talkies.key", key);
}

async function request(path, options = {}) {
  const used = key;
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  if (response.status === 401) {
    if (used === key) await askForKey();  // else another request has asked meanwhile
    return request(path, options);
  }
  if (!response.ok) {
    const told = await response.json().catch(() => null);
    const refusal = new Error(told?.error?.message ?? `The service answered ${response.status}.`);
    refusal.status = response.status;
    throw refusal;
  }
  return response;
}

export const get = async (path) => (await request(path)).json();

export async function post(path, body = {}, more = {}) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...more } };
  return (await request(path, options)).json();
}

export const remove = async (path) => (await request(path, { method: "DELETE" })).json();

export async function upload(blob) {
  const form = new FormData();
  form.append("file", blob, "upload");
  return (await request("/v1/files", { method: "POST", body: form })).json();
}

export const bytes = async (path) => (await request(path)).arrayBuffer();

// An address for <img> and <video>. Those cannot send a key, so with one the content is fetched here.
export async function source(path) {
  if (!key) return path;
  if (!urls.has(path)) urls.set(path, URL.createObjectURL(await (await request(path)).blob()));
  return urls.get(path);
}

export async function fresh(path) {
  return URL.createObjectURL(await (await request(path, { cache: "no-store" })).blob());
}

// Server-sent events, read by hand for the same reason. Ends when the server ends.
export async function* events(path, signal) {
  const reader = (await request(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").find((line) => line.startsWith("data: "));
        if (data) yield JSON.parse(data.slice(6));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
