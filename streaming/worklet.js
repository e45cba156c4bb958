// Passes the microphone's samples to the page, 100 ms at a time.
class Tap extends AudioWorkletProcessor {
  constructor() { super(); this.held = new Float32Array(1600); this.filled = 0; }
  process([input]) {
    for (const sample of input[0] || []) {
      this.held[this.filled++] = sample;
      if (this.filled === this.held.length) { this.port.postMessage(this.held.slice()); this.filled = 0; }
    }
    return true;
  }
}
registerProcessor("tap", Tap);
