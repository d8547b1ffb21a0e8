// How fast something grows, over the last few seconds.

const WARM_UP_MS = 1000; // the first megabytes only fill buffers on this side
const WINDOW_MS = 8000;
const LEAST_MS = 1000; // before that it is a guess

export class Meter {
  #began = 0;
  #seen = []; // [when, how much], oldest first

  reset() {
    this.#began = performance.now();
    this.#seen = [];
  }

  add(amount) {
    const now = performance.now();

    if (now - this.#began < WARM_UP_MS) return;
    this.#seen.push([now, amount]);
    while (this.#seen.length > 2 && this.#seen[1][0] < now - WINDOW_MS) this.#seen.shift();
  }

  // 0 when it can't be told. Time in which nothing came counts.
  get perSecond() {
    if (this.#seen.length < 2) return 0;
    const [began, first] = this.#seen[0];
    const ms = performance.now() - began;
    return ms < LEAST_MS ? 0 : (Math.max(0, this.#seen.at(-1)[1] - first) / ms) * 1000;
  }
}
