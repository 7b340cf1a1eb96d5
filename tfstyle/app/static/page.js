// The page: a form, the picture while it is painted, and the pictures of this browser.

import { Board } from "/static/board.js";

const find = (selector, within = document) => within.querySelector(selector);
const form = find("#form");
const board = new Board(find(".board"), find("#brush"), find("#eraser"));

let offer;
let current = null; // The job that is shown.
let events = null; // Its stream of events.
let curve = [];
let working = null; // The job that this page has seen at work.

// ---- The form

class Picture {
  // A file or a sample, with its preview. `onchange` is called with the address of the preview.
  constructor(fieldset, samples, onchange = () => {}) {
    this.input = find("input[type=file]", fieldset);
    this.image = find("img", fieldset);
    this.buttons = [];
    this.sample = null;
    this.onchange = onchange;
    const drop = find(".drop", fieldset);
    this.input.addEventListener("change", () => this.choose(null));
    for (const name of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(name, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", name === "dragover");
        if (name === "drop" && event.dataTransfer.files.length) {
          this.input.files = event.dataTransfer.files;
          this.choose(null);
        }
      });
    }
    for (const sample of samples) {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      const image = document.createElement("img");
      image.src = `/v1/samples/${encodeURIComponent(sample.name)}`;
      image.alt = sample.title;
      image.loading = "lazy";
      button.append(image);
      button.addEventListener("click", () => this.choose(sample));
      find(".samples", fieldset).append(button);
      this.buttons.push([sample, button]);
    }
  }

  choose(sample) {
    this.sample = sample;
    if (sample) this.input.value = "";
    for (const [own, button] of this.buttons) button.setAttribute("aria-pressed", String(own === sample));
    const file = this.input.files[0];
    const address = sample ? `/v1/samples/${encodeURIComponent(sample.name)}` : file ? URL.createObjectURL(file) : "";
    this.image.hidden = !address;
    this.image.onerror = () => { this.image.hidden = true; }; // A format that only the server reads.
    if (address) this.image.src = address;
    this.onchange(address);
  }

  addTo(data, fileName, sampleName) {
    if (this.sample) data.append(sampleName, this.sample.name);
    else if (this.input.files[0]) data.append(fileName, this.input.files[0]);
    else return false;
    return true;
  }
}

let photograph, painting;

function fillForm() {
  const of = (kind) => offer.samples.filter((sample) => sample.kind === kind);
  photograph = new Picture(find("#photograph"), of("photograph"), (address) => board.show(address));
  painting = new Picture(find("#painting"), of("painting"));
  const sizes = [256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096].filter((size) => size <= offer.largest_size);
  if (!sizes.length) sizes.push(offer.largest_size);
  for (const size of sizes) find("#size").append(new Option(`${size} pixels`, size, size === 512, size === 512));
  find("#version").textContent = `tfstyle ${offer.version}`;
}

const scale = () => 2 ** Number(find("#style_scale").value);

function showForm() {
  const fast = form.method.value === "fast";
  find("#stroke-size").hidden = fast;
  find("#color-strength").hidden = find("#color").value === "style";
  const percent = (id) => `${Math.round(100 * Number(find(`#${id}`).value))} %`;
  const values = {
    strength: percent("strength"), color_strength: percent("color_strength"), style_scale: `× ${scale().toFixed(2)}`,
  };
  for (const [id, text] of Object.entries(values)) {
    find(`output[for=${id}]`).textContent = text;
    find(`#${id}`).setAttribute("aria-valuetext", text);
  }
}

async function makeForm() {
  const data = new FormData();
  if (!photograph.addTo(data, "content", "content_name")) throw new Error("Choose a photograph first.");
  if (!painting.addTo(data, "styles", "style_names")) throw new Error("Choose a painting first.");
  const method = form.method.value;
  if (method === "fast") data.append("fast", "true");
  else data.append("recipe", method);
  data.append("size", find("#size").value);
  data.append("attended", "true");
  const set = (name, value, usual) => { if (Number(value) !== usual) data.append(name, value); };
  set("strength", find("#strength").value, 1);
  if (method !== "fast") set("style_scale", scale().toFixed(4), 1);
  if (find("#color").value !== "style") {
    data.append("color", find("#color").value);
    set("color_strength", find("#color_strength").value, 1);
  }
  const mask = find("#mask-file").files[0] ?? await board.makeMask();
  if (mask && find("#regions").open) data.append(form.region.value === "mask" ? "masks" : "protect", mask, "mask.png");
  const size = [...data.values()].reduce((sum, value) => sum + (value.size ?? 0), 0);
  if (size > offer.largest_upload) {
    throw new Error(`The pictures have ${Math.ceil(size / 1e6)} MB; at most ${Math.floor(offer.largest_upload / 1e6)} MB are possible.`);
  }
  return data;
}

async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer. Is tfstyle app still running?");
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({ message: `The server answered ${response.status}.` }));
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

async function attempt(action) {
  find("#problem").textContent = "";
  try {
    await action();
  } catch (error) {
    find("#problem").textContent = error.message;
  }
}

async function paint() {
  checkRoom();
  find("#paint").disabled = true;
  try {
    const job = await ask("/v1/jobs", { method: "POST", body: await makeForm() });
    follow(job);
    find("#run").scrollIntoView({ block: "nearest" });
    await showGallery();
  } finally {
    find("#paint").disabled = false;
  }
}

// ---- The picture

const streams = new Map(); // Id → events of each job that is not over: one that nobody follows is stopped.

const MOST = 4; // A browser has six connections: one for each of these, one for a picture of the gallery, one for the rest.

function checkRoom() {
  if (streams.size >= MOST) throw new Error(`${MOST} of your pictures are not finished. Wait for one, or stop one.`);
}

function forget(id) {
  streams.get(id)?.close();
  streams.delete(id);
}

function follow(job) {
  curve = [];
  find("#spoken").textContent = "";
  find("#after").removeAttribute("src");
  find("#before").src = `/v1/jobs/${job.id}/content`;
  show(job);
  events = listen(job);
}

function listen(job) {
  forget(job.id);
  const stream = new EventSource(`/v1/jobs/${job.id}/events`);
  streams.set(job.id, stream);
  if (streams.size > MOST + 1) forget([...streams.keys()].at(-2));
  stream.onmessage = (event) => {
    const news = JSON.parse(event.data);
    if (isOver(news)) forget(news.id);
    if (stream !== events) { // Another picture is shown.
      if (isOver(news)) showGallery();
      return;
    }
    addToCurve(news.curve);
    show(news);
    if (!isOver(news)) {
      working = news.id;
      return;
    }
    if (news.message === "the page was closed" && working === news.id) attempt(resume); // It was only out of reach.
    else showGallery();
    working = null;
  };
  stream.onopen = () => { if (stream === events) curve = []; }; // Every stream begins with the whole curve.
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) reconnect(job.id, stream);
    else if (stream === events) find("#state").textContent = "The server does not answer; waiting for it.";
  };
  return stream;
}

function reconnect(id, stream) {
  setTimeout(async () => {
    if (streams.get(id) !== stream) return;
    const job = await ask(`/v1/jobs/${id}`).catch(() => null);
    if (streams.get(id) !== stream) return;
    if (!job) reconnect(id, stream);
    else if (events === stream) follow(job);
    else listen(job);
  }, 2000);
}

async function resume() {
  follow(await ask(`/v1/jobs/${current.id}/resume`, { method: "POST" }));
}

const isOver = (job) => ["done", "stopped", "failed"].includes(job.state);

function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function describe(job) {
  if (job.state === "queued") return job.place === 0 ? "Begins now." : `Waits; ${job.place} before it.`;
  if (job.state === "running") {
    if (job.is_stopping) return "Stops after this step.";
    if (!job.step) return "Begins.";
    const left = job.seconds_left === null ? "" : `, about ${duration(job.seconds_left)} left`;
    return `Step ${job.step} of ${job.steps}${left}.`;
  }
  if (job.state === "done") return `Done, ${job.width} × ${job.height} pixels.`;
  const where = job.step ? ` at step ${job.step} of ${job.steps}` : "";
  return job.state === "stopped" ? `Stopped${where}: ${job.message}.` : `Failed: ${job.message}`;
}

function speak(job) {
  // A screen reader hears changes of the state, and each quarter; not each step.
  const part = job.state === "running" ? Math.floor(4 * job.progress) : 0;
  const spoken = `${job.state} ${part}`;
  if (find("#spoken").dataset.said === `${job.id} ${spoken}`) return;
  find("#spoken").dataset.said = `${job.id} ${spoken}`;
  find("#spoken").textContent = describe(job);
}

async function showPicture(job) {
  const address = job.state === "done" ? job.result : job.preview;
  const image = find("#after");
  if (!address || image.getAttribute("src") === address) return;
  const next = new Image(); // Loaded first, so that the picture does not flicker.
  next.src = address;
  await next.decode().catch(() => {});
  if (current?.id === job.id) image.src = address;
}

function show(job) {
  current = job;
  find("#run").hidden = false;
  find("#start").hidden = true;
  find("#title").textContent = job.name;
  find("#state").textContent = describe(job);
  speak(job);
  find("#progress").hidden = isOver(job);
  if (job.progress > 0) find("#progress").value = job.progress;
  else find("#progress").removeAttribute("value");
  showPicture(job);
  const shown = job.preview !== null || job.result !== null;
  find("#before").hidden = find("#divider").hidden = !(isOver(job) && shown);
  cut();
  find("#curve").toggleAttribute("hidden", curve.length < 2);
  find("#stop").hidden = isOver(job) || job.is_stopping;
  find("#resume").hidden = !job.can_go_on;
  find("#delete").hidden = !isOver(job);
  for (const [id, address] of [["#download", job.result], ["#archive", job.result && `/v1/jobs/${job.id}/archive`]]) {
    find(id).hidden = !address;
    if (address) find(id).href = address;
  }
  find("#download").download = job.name;
  find("#command code").textContent = job.command;
}

function cut() {
  find("#before").style.clipPath = `inset(0 ${100 - find("#cut").value}% 0 0)`;
}

function addToCurve(rows) {
  if (rows.length && curve.length && rows[0][0] <= curve[curve.length - 1][0]) {
    curve = curve.filter(([step]) => step < rows[0][0]);
  }
  curve.push(...rows);
  const values = curve.map(([, , loss]) => Math.log(Math.max(loss, 1e-12)));
  const low = Math.min(...values), high = Math.max(...values);
  const total = curve.length ? Math.max(curve[curve.length - 1][0], 2) : 2;
  const lines = new Map(); // One line for each level: their losses are of other images.
  curve.forEach(([step, level], number) => {
    const across = 300 * (step - 1) / (total - 1);
    const down = 56 - 52 * (values[number] - low) / (high - low || 1);
    lines.set(level, `${lines.get(level) ?? ""} ${across.toFixed(1)},${down.toFixed(1)}`);
  });
  find("#curve").replaceChildren(...[...lines.values()].map((points) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("points", points);
    return line;
  }));
}

// ---- The pictures of this browser

async function showGallery() {
  const jobs = await ask("/v1/jobs");
  find("#gallery").hidden = !jobs.length;
  find("#gallery ul").replaceChildren(...jobs.map((job) => {
    const button = document.createElement("button");
    button.type = "button";
    if (job.preview) {
      const image = document.createElement("img");
      image.src = job.preview;
      image.alt = "";
      button.append(image);
    }
    const name = document.createElement("span");
    name.textContent = job.name;
    const state = document.createElement("span");
    state.textContent = job.can_go_on ? "unfinished; can go on" : job.state;
    button.append(name, state);
    button.addEventListener("click", () => follow(job));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  return jobs;
}

// ---- The beginning

form.addEventListener("input", showForm);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(paint);
});
find("#cut").addEventListener("input", cut);
find("#undo").addEventListener("click", () => board.undo());
find("#clear").addEventListener("click", () => board.clear());
find("#stop").addEventListener("click", () => attempt(() => ask(`/v1/jobs/${current.id}/stop`, { method: "POST" })));
find("#resume").addEventListener("click", () => attempt(async () => {
  checkRoom();
  await resume();
}));
find("#delete").addEventListener("click", () => attempt(async () => {
  await ask(`/v1/jobs/${current.id}`, { method: "DELETE" });
  find("#run").hidden = true;
  find("#start").hidden = false;
  await showGallery();
}));
find("#copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText(find("#command code").textContent);
  find("#copy").textContent = "Copied";
});

attempt(async () => {
  offer = await ask("/v1");
  fillForm();
  showForm();
  const jobs = await showGallery();
  const open = jobs.find((job) => !isOver(job)) ?? jobs.find((job) => job.can_go_on);
  jobs.filter((job) => !isOver(job) && job !== open).slice(-3).reverse().forEach(listen); // The oldest one runs.
  if (open) follow(open);
});
