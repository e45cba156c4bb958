"use strict";
// The page of `soundflow serve`: sends a microphone or a recording as PCM16 and draws the decisions below the sound.
const RATE = 16000, PIECE = 1600, SHOWN = 24, SPECTRUM = 256, BANDS = 64;
const TOKEN = new URLSearchParams(location.search).get("token");
const byId = (id) => document.getElementById(id);
const canvas = byId("view"), pen = canvas.getContext("2d");
let live = null;  // the current Stream

class Stream {
  constructor(socket) {
    this.socket = socket; this.samples = 0; this.chunk = 6400; this.decisions = new Map(); this.columns = []; this.pending = [];
    this.stops = []; this.responses = 0; this.dropped = 0; this.decided = 0; this.open = null; this.ended = false;
    this.voice = null; this.playing = new Set(); this.spokenUntil = 0; this.aloud = 0;
  }
  play(encoded) {  // queue a piece of speech: base64 of PCM16
    this.voice ??= new AudioContext({ sampleRate: RATE });
    const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0)), pcm = new Int16Array(bytes.buffer);
    const buffer = this.voice.createBuffer(1, pcm.length, RATE), source = this.voice.createBufferSource();
    buffer.copyToChannel(Float32Array.from(pcm, (sample) => sample / 32768), 0);
    source.buffer = buffer; source.connect(this.voice.destination);
    const at = Math.max(this.voice.currentTime + 0.05, this.spokenUntil);
    this.spokenUntil = at + buffer.duration; this.aloud += buffer.duration;
    this.playing.add(source); byId("interrupt").disabled = false;
    source.onended = () => { this.playing.delete(source); if (!this.playing.size) byId("interrupt").disabled = true; };
    source.start(at);
  }
  silence() { this.playing.forEach((source) => source.stop()); this.playing.clear(); this.spokenUntil = 0; byId("interrupt").disabled = true; }
  send(piece) {
    const pcm = new Int16Array(piece.length);
    piece.forEach((sample, k) => { pcm[k] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768))); });
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(pcm.buffer);
    this.pending.push(...piece);
    while (this.pending.length >= 320) this.columns.push(column(this.pending.splice(0, 320)));
    this.samples += piece.length;
  }
}

const twiddles = Array.from({ length: BANDS }, (_, band) => {
  const frequency = 60 * (8000 / 60) ** ((band + 0.5) / BANDS), step = 2 * Math.PI * frequency / RATE;
  return Array.from({ length: SPECTRUM }, (_, k) => [Math.cos(step * k), Math.sin(step * k), 0.5 - 0.5 * Math.cos(2 * Math.PI * k / SPECTRUM)]);
});

function column(samples) {  // one column of the view, 20 ms: lowest and highest sample, level of each band in dB
  const levels = twiddles.map((factors) => {
    let real = 0, imaginary = 0;
    for (let k = 0; k < SPECTRUM; k++) { const s = samples[k] * factors[k][2]; real += s * factors[k][0]; imaginary += s * factors[k][1]; }
    return 10 * Math.log10((real * real + imaginary * imaginary) / (SPECTRUM * SPECTRUM) + 1e-10);
  });
  return { low: Math.min(...samples), high: Math.max(...samples), levels };
}

function draw() {
  const { width, height } = canvas, wave = 70, spectrum = 140, ticks = 232;
  pen.clearRect(0, 0, width, height);
  if (live) {
    const seconds = live.samples / RATE, left = Math.max(0, seconds - SHOWN), x = (time) => (time - left) / SHOWN * width;
    const first = Math.floor(left * 50), pixel = width / (SHOWN * 50);
    for (let k = first; k < live.columns.length; k++) {
      const { low, high, levels } = live.columns[k], at = x(k / 50);
      pen.fillStyle = "#5b6470";
      pen.fillRect(at, 36 - high * wave / 2, Math.max(pixel, 0.7), Math.max((high - low) * wave / 2, 1));
      levels.forEach((level, band) => {
        const heat = Math.max(0, Math.min(1, (level + 85) / 60));
        pen.fillStyle = `hsl(${265 - 235 * heat} ${60 + 30 * heat}% ${8 + 55 * heat}%)`;
        pen.fillRect(at, 80 + spectrum * (1 - (band + 1) / BANDS), pixel + 0.6, spectrum / BANDS + 0.6);
      });
    }
    const chunk = live.chunk / RATE;
    for (let number = Math.floor(left / chunk) + 1; (number - 1) * chunk < seconds; number++) {
      const from = x((number - 1) * chunk), decision = live.decisions.get(number);
      pen.fillStyle = decision === "response" ? "#c8500a" : "#c9ccd3";
      if (decision) pen.fillRect(from + 1, ticks, chunk / SHOWN * width - 2, 16);
      else { pen.strokeStyle = "#c9ccd3"; pen.strokeRect(from + 1.5, ticks + 0.5, chunk / SHOWN * width - 3, 15); }
      if (number % 5 === 0) { pen.fillStyle = "#666a73"; pen.font = "12px system-ui"; pen.fillText(`${(number * chunk).toFixed(0)} s`, x(number * chunk) - 12, 264); }
    }
  }
  requestAnimationFrame(draw);
}

function addLine(chunk, text, kind = "") {
  const line = document.createElement("li"), when = document.createElement("time"), words = document.createElement("span");
  when.textContent = `${(chunk * (live ? live.chunk / RATE : 0.4)).toFixed(1)} s`;
  words.textContent = text;
  line.className = kind;
  line.append(when, words);
  byId("log").prepend(line);
  return line;
}

function handle(stream, event) {
  switch (event.type) {
    case "session.created":
      stream.chunk = event.session.chunk_ms * RATE / 1000;
      byId("chunk-ms").textContent = event.session.chunk_ms;
      break;
    case "chunk.silent": case "response.created":
      stream.decisions.set(event.chunk, event.type === "chunk.silent" ? "silent" : "response");
      stream.decided++;
      byId("chunks").textContent = stream.decided;
      byId("latency").textContent = event.latency_ms.toFixed(0); byId("latency-meter").value = event.latency_ms;
      byId("queue").textContent = event.queue; byId("queue-meter").value = event.queue;
      if (event.type === "response.created") { stream.open = addLine(event.chunk, "", "open"); byId("responses").textContent = ++stream.responses; }
      break;
    case "response.output_text.delta":
      if (stream.open) stream.open.lastChild.textContent += event.delta;
      break;
    case "response.done":
      if (stream.open) { stream.open.lastChild.textContent = event.text || "(empty response)"; stream.open.className = ""; stream.open = null; }
      break;
    case "response.output_audio.delta": stream.play(event.delta); break;
    case "response.output_audio.done": if (event.stopped) stream.silence(); break;
    case "input_audio.dropped": stream.dropped += event.chunks; byId("dropped").textContent = stream.dropped; break;
    case "session.restarted": stream.open = null; addLine(event.chunk, `Restarted after a failure (${event.died.join(", ")}). The context is empty.`, "trouble"); break;
    case "error": addLine(stream.decided, event.error.message, "trouble"); break;
  }
}

function state(text, on = false) { byId("state").textContent = text; byId("state").className = on ? "state live" : "state"; }

function stop(text = "stopped") {
  if (!live || live.ended) return;
  live.ended = true;
  live.stops.forEach((end) => end());
  live.silence();
  if (live.socket.readyState === WebSocket.OPEN) live.socket.send(JSON.stringify({ type: "session.close" }));
  byId("stop").disabled = true; byId("microphone").disabled = false;
  state(text);
}

function connect() {
  stop();
  const query = new URLSearchParams({ instruction: byId("instruction").value, threshold: byId("threshold").value });
  if (byId("aloud").checked) query.set("speak", "1");
  if (TOKEN) query.set("token", TOKEN);
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/listen?${query}`;
  return new Promise((resolve, reject) => {
    const stream = new Stream(new WebSocket(address));
    for (const id of ["chunks", "responses", "dropped"]) byId(id).textContent = "0";
    byId("log").replaceChildren();
    stream.socket.onopen = () => { live = stream; byId("stop").disabled = false; byId("microphone").disabled = true; resolve(stream); };
    stream.socket.onmessage = (message) => handle(stream, JSON.parse(message.data));
    stream.socket.onclose = () => { if (stream === live) stop("the server closed the connection"); reject(new Error("the server refused the connection")); };
  });
}

async function context() { const audio = new AudioContext({ sampleRate: RATE }); await audio.resume(); return audio; }

async function microphone() {
  state("waiting for permission to use the microphone");
  const source = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  const audio = await context();
  await audio.audioWorklet.addModule("worklet.js");
  const stream = await connect(), tap = new AudioWorkletNode(audio, "tap");
  tap.port.onmessage = ({ data }) => { if (!stream.ended) stream.send(data); };
  audio.createMediaStreamSource(source).connect(tap);
  stream.stops.push(() => { source.getTracks().forEach((track) => track.stop()); audio.close(); });
  state("streaming the microphone", true);
}

async function recording(file) {
  state(`reading ${file.name}`);
  const audio = await context(), buffer = await audio.decodeAudioData(await file.arrayBuffer());
  const samples = new Float32Array(Math.ceil(buffer.length / PIECE) * PIECE);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) buffer.getChannelData(channel).forEach((sample, k) => { samples[k] += sample / buffer.numberOfChannels; });
  const stream = await connect(), begun = performance.now(), player = audio.createBufferSource();
  player.buffer = buffer; player.connect(audio.destination); player.start();
  let at = 0;
  const timer = setInterval(() => {
    while (at < samples.length && at / RATE <= (performance.now() - begun) / 1000) { stream.send(samples.subarray(at, at + PIECE)); at += PIECE; }
    if (at >= samples.length) { clearInterval(timer); state(`${file.name}: end of the recording`); }
  }, 50);
  stream.stops.push(() => { clearInterval(timer); player.stop(); audio.close(); });
  state(`playing ${file.name}`, true);
}

const fail = (error) => { state(`${error.message || error}`); };
byId("microphone").onclick = () => microphone().catch(fail);
byId("file").onchange = ({ target }) => { if (target.files[0]) recording(target.files[0]).catch(fail); target.value = ""; };
byId("stop").onclick = () => stop();
byId("interrupt").onclick = () => { if (live) { live.silence(); live.socket.send(JSON.stringify({ type: "response.cancel" })); } };
fetch(TOKEN ? `healthz?${new URLSearchParams({ token: TOKEN })}` : "healthz").then((answer) => answer.json()).then(({ speaks, instruction }) => { byId("instruction").value ||= instruction ?? ""; byId("aloud-label").hidden = byId("interrupt").hidden = !speaks; }, () => {});
byId("controls").onsubmit = (event) => event.preventDefault();
byId("drop").ondragover = (event) => { event.preventDefault(); byId("drop").classList.add("over"); };
byId("drop").ondragleave = () => byId("drop").classList.remove("over");
byId("drop").ondrop = (event) => { event.preventDefault(); byId("drop").classList.remove("over"); const [file] = event.dataTransfer.files; if (file) recording(file).catch(fail); };
requestAnimationFrame(draw);
