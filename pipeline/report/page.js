"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const CHUNK = 0.4, RATE = 16000, LEFT = 104, RIGHT = 14;
const at = (id) => document.getElementById(id);
const fixed = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const words = (slug) => slug.replaceAll("_", " ");

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function draw(parent, name, attributes = {}, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function table(target, columns, rows) {
  const head = node("tr", {}, ...columns.map(([title, , number]) => node("th", number ? { class: "number" } : {}, title)));
  const body = rows.map((row, place) => node("tr", {}, ...columns.map(([, cell, number]) => node("td", number ? { class: "number" } : {}, cell(row, place)))));
  target.replaceChildren(node("thead", {}, head), node("tbody", {}, ...body));
  return body;
}

function overview() {
  const { status } = data, shards = status.shards;
  at("name").textContent = data.name;
  const missing = shards.planned - shards.committed, why = status.stopped ? ` The last run stopped early: ${status.stopped}.` : "";
  const unfinished = missing ? ` This build is incomplete: ${missing} of ${shards.planned} shards ${missing === 1 ? "is" : "are"} missing.${why}` : "";
  at("about").textContent = `${data.description} Fingerprint ${data.fingerprint.slice(0, 12)}, SoundFlow ${data.version}.${unfinished}`.trim();
  const totals = {
    streams: fixed(status.streams, 0), hours: fixed(status.hours, 2), "chunks of 400 ms": fixed(data.chunks, 0), responses: fixed(data.responses, 0),
    "silent chunks": `${fixed(100 * (1 - data.responses / data.chunks), 1)} %`, shards: `${shards.committed} of ${shards.planned}`,
  };
  at("totals").append(...Object.entries(totals).map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value))));
  table(at("tasks"), [
    ["capability", (row, place) => (place && data.tasks[place - 1].capability === row.capability ? "" : words(row.capability))],
    ["sub-task", (row) => words(row.task)], ["streams", (row) => fixed(row.streams, 0), 1], ["hours", (row) => fixed(row.hours, 3), 1],
    ["events per stream", (row) => fixed(row.rounds, 1), 1], ["responses", (row) => fixed(row.responses, 0), 1],
    ["responses per minute", (row) => fixed(row.per_minute, 1), 1], ["silent chunks", (row) => `${fixed(100 * row.silence, 1)} %`, 1],
  ], data.tasks);
  at("balance").textContent = data.balance === "label" ? "The recipe draws labels uniformly, then a clip of the label." : "The recipe draws clips uniformly.";
  table(at("limits"), [
    ["limit", (row) => row.limit], ["allowed", (row) => (row.allowed === null ? "no limit" : fixed(row.allowed, 1)), 1],
    ["reached", (row) => fixed(row.reached, 1), 1],
  ], data.limits);
  table(at("labels"), [
    ["label", (row) => row.label], ["decision", (row) => row.decision], ["clips", (row) => fixed(row.clips, 0), 1],
    ["uses", (row) => fixed(row.uses, 0), 1], ["share of events", (row) => `${fixed(100 * row.share, 1)} %`, 1],
  ], data.labels);
  at("more-labels").textContent = data.more_labels ? `${fixed(data.more_labels, 0)} more labels are used less often.` : "";
  table(at("sources"), [
    ["source", (row) => row.source], ["licence", (row) => row.licence], ["clips", (row) => fixed(row.clips, 0), 1], ["uses", (row) => fixed(row.uses, 0), 1],
    ["hours used", (row) => fixed(row.hours, 3), 1], ["attribution", (row) => row.attribution], ["note", (row) => node("span", { class: "warn" }, row.note)],
  ], data.sources);
  const listed = (counts) => Object.entries(counts).map(([name, count]) => `${name} (${fixed(count, 0)})`).join(", ");
  at("provenance").textContent = `Planners of the scenes: ${listed(data.planners)}. The planners template and random use no language model. ` +
    `Sources of the responses: ${listed(data.answers)}.`;
}

function funnel() {
  const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
  const redrawn = sum(data.redraws), planned = data.planned_streams, { status } = data;
  const rows = [["planned streams", planned, "foreground"], ["rejected draws, drawn again", redrawn, "background", data.redraws],
    ["rejected streams", status.rejected, "response", data.rejected], ["quarantined streams", status.quarantined, "response"],
    ["committed streams", status.streams, "ambient"]];
  bars(at("funnel"), rows);
}

function bars(box, rows) {
  const most = Math.max(1, ...rows.map(([, count]) => count));
  for (const [name, count, kind, reasons] of rows) {
    const why = Object.entries(reasons || {}).map(([reason, times]) => `${words(reason)} ${times}`).join(", ");
    const bar = node("i", { class: kind, style: `width:${(100 * count) / most}%` });
    box.append(node("span", {}, name), node("span", { class: "track" }, bar), node("span", { class: "value" }, `${fixed(count, 0)}${why ? ` (${why})` : ""}`));
  }
}

function curation() {
  const { curation: curated } = data;
  if (!curated) return;
  at("curation").hidden = false;
  bars(at("grounding"), curated.funnel.map((row) => [row.name, row.count, row.kind, row.reasons]));
  table(at("costs"), [
    ["role", (row) => words(row.role)], ["calls", (row) => fixed(row.calls, 0), 1], ["tokens", (row) => fixed(row.tokens, 0), 1],
    ["cost", (row) => fixed(row.money, 4), 1], ["calls answered from the cache", (row) => fixed(row.replayed_calls, 0), 1],
    ["original cost of these", (row) => fixed(row.replayed_money, 4), 1], ["failed calls", (row) => fixed(row.faults, 0), 1],
    ["answers with thoughts, which are left out", (row) => fixed(row.thoughts, 0), 1],
  ], curated.costs);
  at("spent").textContent = curated.spent ? `Total of all runs of this build, interrupted ones included: ${curated.spent}.` : "";
}

function describeScene(story) {
  at("story").hidden = !story;
  if (!story) return;
  at("story-title").textContent = `${story.title}: ${story.setting}`;
  at("story-text").textContent = story.narrative;
  table(at("story-events"), [
    ["role", (row) => row.role], ["planned sound", (row) => row.sound], ["clip", (row) => row.clip], ["origin", (row) => row.how],
    ["verdicts", (row) => row.verdicts.join("; ")], ["responses", (row) => row.says.join(" ")],
  ], story.events);
}

function voices() {
  if (!data.voices) return;
  at("speech").hidden = false;
  const percent = (name) => (row) => `${fixed(100 * row[name], 1)} %`;
  table(at("voices"), [
    ["voice", (row) => row.voice], ["clips", (row) => fixed(row.clips, 0), 1], ["clips without errors", percent("perfect"), 1],
    ["mean", percent("mean"), 1], ["median", percent("p50"), 1], ["95th percentile", percent("p95"), 1], ["maximum", percent("max"), 1],
  ], data.voices);
  const distributions = data.voices.map((row) => ({ title: `${row.voice}: word error rate (%)`, edges: row.edges, counts: row.counts }));
  histograms(at("wer"), distributions);
}

function rejectedTranscripts() {
  const rejected = data.rejected_transcripts;
  if (!rejected) return;
  at("transcripts").hidden = false;
  at("rejectedCount").textContent = `Alignment found that ${fixed(rejected.clips, 0)} speech clips of the index differ from their transcripts. ` +
    `Streams of this corpus use ${fixed(rejected.used, 0)} of them.`;
  table(at("rejectedTranscripts"), [
    ["clip", (row) => row.clip], ["reason", (row) => words(row.reason)], ["used", (row) => (row.used ? "yes" : "no")],
  ], rejected.named);
}

function histograms(target, distributions) {
  for (const { title, edges, counts } of distributions) {
    if (!counts.some(Boolean)) continue;
    const first = Math.max(0, counts.findIndex(Boolean)), last = counts.length - 1 - [...counts].reverse().findIndex(Boolean);
    const shown = counts.slice(first, last + 1), most = Math.max(...shown), width = Math.min(290 / shown.length, 60);
    const svg = draw(node("div"), "svg", { viewBox: "0 0 300 112", role: "img", "aria-label": title });
    shown.forEach((count, place) => {
      const height = (78 * count) / most, low = edges[first + place], high = edges[first + place + 1];
      const bar = draw(svg, "rect", { class: "bar", x: 5 + place * width, y: 92 - height, width: Math.max(width - 1.5, 1), height });
      draw(bar, "title", {}, `${low} to ${high}: ${fixed(count, 0)}`);
      const every = Math.ceil(shown.length / 9);  // drop labels that would overlap the last one
      if (place % every === 0 && (!place || (shown.length - place) * width > 24)) draw(svg, "text", { class: "soft", x: 5 + place * width, y: 106, "text-anchor": place ? "middle" : "start" }, low);
    });
    draw(svg, "text", { class: "soft", x: 5 + shown.length * width, y: 106, "text-anchor": "end" }, edges[last + 1]);
    draw(svg, "line", { class: "rule", x1: 5, x2: 295, y1: 92.5, y2: 92.5 });
    draw(svg, "text", { class: "soft", x: 295, y: 9, "text-anchor": "end" }, `max ${fixed(most, 0)}`);
    target.append(node("figure", {}, node("figcaption", {}, title), svg));
  }
}

const audio = at("audio");
let stream, stage;

function show(index) {
  stream = data.samples[index];
  audio.pause();
  audio.src = stream.audio;
  [...at("picker").children].forEach((tab, place) => tab.setAttribute("aria-selected", String(place === index)));
  at("instruction").textContent = `“${stream.instruction}”`;
  at("detail").textContent = `${stream.sample_id}: ${stream.title}; planner ${stream.planner}, ${fixed(stream.seconds, 1)} s, gain ${fixed(stream.scale, 3)}.`;
  stage = paint();
  const rows = table(at("timeline"), [
    ["chunk", (row) => String(row.chunk), 1], ["due chunk", (row) => String(row.due_chunk), 1], ["time", (row) => `${fixed(row.chunk * CHUNK, 1)} s`, 1],
    ["event", (row) => named(stream.clips[row.event])], ["response", (row) => row.text], ["source of the text", (row) => row.source],
  ], stream.responses);
  stage.rows = rows;
  describeScene(stream.story);
  follow();
  document.body.dataset.drawn = stream.sample_id;
}

function lanesOf(clips) {
  const lanes = [];
  for (const clip of [...clips].sort((a, b) => a.offset - b.offset)) {
    let lane = lanes.find((taken) => taken.end <= clip.offset);
    if (!lane) lanes.push((lane = { end: 0, clips: [] }));
    lane.end = clip.offset + clip.length;
    lane.clips.push(clip);
  }
  return lanes;
}

function fit(text, width, perCharacter = 6.1) {
  const room = Math.floor(width / perCharacter);
  return text.length <= room ? text : room > 3 ? `${text.slice(0, room - 1)}…` : "";
}

function paint() {
  const box = at("stage"), width = Math.max(box.clientWidth - 2, LEFT + RIGHT + stream.chunks * 7);
  const x = (seconds) => LEFT + (seconds / stream.seconds) * (width - LEFT - RIGHT);
  const svg = draw(node("div"), "svg", { width });
  let y = 8;
  const label = (text, middle) => draw(svg, "text", { class: "soft", x: LEFT - 10, y: middle + 4, "text-anchor": "end" }, text);
  const grid = draw(svg, "g");

  label("waveform", y + 32);
  const step = (width - LEFT - RIGHT) / stream.wave.length, height = 32 / Math.max(...stream.wave.flat().map(Math.abs), 0.01);
  const outline = stream.wave.map(([, high], place) => `${LEFT + place * step},${y + 32 - high * height}`)
    .concat(stream.wave.map(([low], place) => `${LEFT + place * step},${y + 32 - low * height}`).reverse());
  draw(svg, "polygon", { class: "wave", points: outline.join(" ") });
  y += 72;
  label("spectrogram", y + 42);
  label("60 Hz–8 kHz", y + 58);
  draw(svg, "image", { href: stream.spectrum, x: LEFT, y, width: width - LEFT - RIGHT, height: 104, preserveAspectRatio: "none" });
  y += 116;

  const events = new Map();
  for (const role of ["foreground", "background", "ambient"]) {
    lanesOf(stream.clips.filter((clip) => clip.role === role)).forEach((lane, number) => {
      if (!number) label(role, y + 10);
      for (const clip of lane.clips) events.set(clip, event(svg, role, x(clip.offset / RATE), y, x((clip.offset + clip.length) / RATE), named(clip), about(clip)));
      y += 26;
    });
  }
  for (const noise of stream.noises) {
    label(`${noise.track} noise`, y + 8);
    const name = `${noise.clip_id || noise.procedural} at ${fixed(noise.snr_db, 1)} dB SNR`;
    event(svg, "noise", LEFT, y, width - RIGHT, name, `${noise.track} noise: ${name}, from ${noise.source} (${noise.licence}), repeated from sample ${noise.start}.`, 16);
    y += 22;
  }
  y += 12;
  label("decisions", y + 9);
  const answers = new Map(stream.responses.map((response) => [response.chunk, response])), cells = [];
  for (let chunk = 1; chunk <= stream.chunks; chunk++) {
    const from = x((chunk - 1) * CHUNK), to = x(chunk * CHUNK), answer = answers.get(chunk);
    draw(grid, "line", { class: "grid", x1: to, x2: to, y1: 8, y2: y, opacity: chunk % 5 ? 0.35 : 1 });
    const cell = draw(svg, "rect", { class: answer ? "cell response" : "cell silent", x: from + 0.5, y, width: Math.max(to - from - 1, 1), height: 18 });
    draw(cell, "title", {}, `chunk ${chunk}: ${answer ? answer.text : "silent"}`);
    cells.push(cell);
  }
  const ends = [], replies = new Map(), decisions = y;
  for (const response of stream.responses) {
    const clip = stream.clips[response.event], from = x((response.chunk - 0.5) * CHUNK), due = x(response.evidence / RATE), top = events.get(clip) || 0;
    draw(grid, "path", { class: "link", d: `M${due},${top + 22} V${decisions - 6} L${from},${decisions}` });
    draw(svg, "path", { class: "response", d: `M${due - 4},${top - 3} h8 l-4,6 z` });
    const text = fit(response.text, 430), length = text.length * 5.9 + 10, start = Math.min(from - 4, width - RIGHT - length);
    let row = ends.findIndex((end) => end < start);
    if (row < 0) row = ends.push(0) - 1;
    ends[row] = start + length;
    draw(grid, "path", { class: "link", d: `M${from},${decisions + 18} V${decisions + 27 + row * 18}` });
    replies.set(response.chunk, draw(svg, "text", { class: "reply", x: start, y: decisions + 38 + row * 18 }, text));
  }
  y += 26 + Math.max(ends.length, 1) * 18 + 8;
  draw(svg, "line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y + 0.5, y2: y + 0.5 });
  const every = [1, 2, 5, 10, 20, 30, 60].find((seconds) => x(seconds) - x(0) > 44) || 120;
  for (let second = 0; second <= stream.seconds; second += every) {
    draw(svg, "line", { class: "grid", x1: x(second), x2: x(second), y1: y, y2: y + 5 });
    draw(svg, "text", { class: "soft", x: x(second), y: y + 17, "text-anchor": "middle" }, `${second} s`);
  }
  svg.setAttribute("height", y + 26);
  const head = draw(svg, "line", { class: "head", y1: 4, y2: y });
  box.replaceChildren(svg);
  svg.addEventListener("click", (click) => {
    const seconds = ((click.clientX - svg.getBoundingClientRect().left - LEFT) / (width - LEFT - RIGHT)) * stream.seconds;
    if (seconds >= 0) seek(seconds);
  });
  return { x, head, cells, replies, rows: [] };
}

function event(svg, kind, from, y, to, name, detail, height = 20) {
  const group = draw(svg, "g", { class: "event", tabindex: 0, role: "button", "aria-label": detail });
  draw(group, "title", {}, detail);
  draw(group, "rect", { class: kind, x: from, y, width: Math.max(to - from, 2), height, rx: 2 });
  draw(group, "text", { x: from + 6, y: y + height / 2 + 4 }, fit(name, to - from - 10));
  for (const how of ["mouseenter", "focus"]) group.addEventListener(how, () => { at("detail").textContent = detail; });
  return y;
}

const named = (clip) => (clip.transcript ? `“${clip.transcript}”` : clip.label);

function about(clip) {
  const from = clip.offset / RATE, to = (clip.offset + clip.length) / RATE;
  const crop = clip.start ? `, from sample ${clip.start} of the clip` : "", words = clip.transcript ? `, “${clip.transcript}”` : clip.caption ? `, ${clip.caption}` : "";
  return `${clip.role}: ${clip.label}${words}. ${fixed(from, 2)}–${fixed(to, 2)} s${crop}, ${fixed(clip.gain_db, 0)} dB; clip ${clip.clip_id} from ` +
    `${clip.source}, ${clip.licence}${clip.attribution ? `, ${clip.attribution}` : ""}.`;
}

function follow() {
  const seconds = audio.currentTime || 0, chunk = Math.min(stream.chunks, Math.floor(seconds / CHUNK) + 1), place = stage.x(Math.min(seconds, stream.seconds));
  stage.head.setAttribute("x1", place);
  stage.head.setAttribute("x2", place);
  stage.cells.forEach((cell, number) => cell.classList.toggle("now", number + 1 === chunk));
  const reached = stream.responses.filter((response) => response.chunk * CHUNK <= seconds).pop();
  for (const [when, text] of stage.replies) text.classList.toggle("current", reached !== undefined && when === reached.chunk);
  stream.responses.forEach((response, number) => stage.rows[number]?.classList.toggle("now", response === reached));
  const decision = stream.responses.some((response) => response.chunk === chunk) ? node("b", {}, "respond") : "stay silent";
  at("now").replaceChildren(`${fixed(seconds, 1)} / ${fixed(stream.seconds, 1)} s, chunk ${chunk} of ${stream.chunks}: `, decision);
  at("play").textContent = audio.paused ? "▶" : "❚❚";
  if (!audio.paused) requestAnimationFrame(follow);
}

function seek(seconds) {
  audio.currentTime = Math.min(Math.max(seconds, 0), stream.seconds - 0.01);
  follow();
}

function toggle() {
  if (audio.paused) audio.play().then(follow, follow);
  else audio.pause();
}

function wire() {
  data.samples.forEach((sample, index) => {
    const tab = node("button", { type: "button", role: "tab" }, `${words(sample.task)} · ${fixed(sample.seconds, 0)} s`);
    tab.addEventListener("click", () => { location.hash = String(index + 1); });
    at("picker").append(tab);
  });
  const chosen = () => { const index = Number(location.hash.slice(1)) - 1; return Number.isInteger(index) && data.samples[index] ? index : 0; };
  addEventListener("hashchange", () => show(chosen()));
  addEventListener("resize", () => { const { rows } = stage; stage = Object.assign(paint(), { rows }); follow(); });
  at("play").addEventListener("click", toggle);
  for (const how of ["pause", "play", "seeked", "ended", "timeupdate"]) audio.addEventListener(how, follow);
  at("stage").addEventListener("keydown", (key) => {
    const steps = { ArrowLeft: -CHUNK, ArrowRight: CHUNK };
    if (key.key === " ") toggle();
    else if (key.key in steps) seek(audio.currentTime + steps[key.key]);
    else return;
    key.preventDefault();
  });
  show(chosen());
}

overview();
funnel();
curation();
histograms(at("histograms"), data.histograms);
voices();
rejectedTranscripts();
wire();
