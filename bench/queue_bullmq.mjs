// BullMQ doing what `weir-bench queue MODE` does, with the same options and the same JSON as its last line.
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { Queue, Worker } from "bullmq";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: "string", default: "6379" },
    n: { type: "string", default: "1000" },
    concurrency: { type: "string", default: "1" },
    lock: { type: "string", default: "30000" },
    stalled: { type: "string", default: "1000" },
    trials: { type: "string", default: "3" },
  },
});
const [n, concurrency, lock, stalled, trials] = ["n", "concurrency", "lock", "stalled", "trials"].map((k) => Number(values[k]));
const connection = { host: "127.0.0.1", port: Number(values.port), maxRetriesPerRequest: null };
const BULK = 500;
const SETTLE_MS = 20;
const record = {
  id: "v_01jd0000000000000000000000", title: "Lock 7 at night", description: "", filename: "lock7.mp4",
  created_at: "2026-01-02T03:04:05.678Z",
};

const queue = new Queue("weir", { connection });
const add = () => queue.add("transcode", record, { attempts: 5, backoff: { type: "exponential", delay: 1000 } });
const now = () => performance.now();

function clock() {
  const wall = now(), cpu = process.cpuUsage();
  return (jobs) => {
    const s = (now() - wall) / 1e3, used = process.cpuUsage(cpu);
    return { s: +s.toFixed(3), jobs_per_s: Math.round(jobs / s), client_cpu_s: +((used.user + used.system) / 1e6).toFixed(3) };
  };
}

async function addAll(inFlight) {
  let left = n;
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (left-- > 0) await add();
  }));
}

async function addBulk() {
  for (let i = 0; i < n; i += BULK)
    await queue.addBulk(Array.from({ length: Math.min(BULK, n - i) }, () => ({ name: "transcode", data: record, opts: { attempts: 5 } })));
}

// A worker that does nothing, and the moment when it has done n jobs.
function worker(handler, options = {}) {
  return new Worker("weir", handler, { connection, concurrency, lockDuration: lock, stalledInterval: stalled, autorun: false, ...options });
}

function countTo(w, count) {
  return new Promise((resolve, reject) => {
    let done = 0;
    w.on("completed", () => ++done === count && resolve());
    w.on("error", reject);
  });
}

const outcome = { outcome: "published", version: "1-1767323045678000-0123456789abcdef" };
const percentile = (sorted, p) => sorted[Math.floor(((sorted.length - 1) * p) / 100)];
const round = (x) => +x.toFixed(3);

const modes = {
  async add() {
    const stop = clock();
    await addAll(concurrency);
    return stop(n);
  },
  async "add-bulk"() {
    const stop = clock();
    await addBulk();
    return stop(n);
  },
  async process() {
    await addBulk();
    const w = worker(async () => outcome);
    await w.waitUntilReady();
    const all = countTo(w, n), stop = clock();
    w.run();
    await all;
    const result = stop(n);
    await w.close();
    return result;
  },
  async both() {
    const w = worker(async () => outcome);
    await w.waitUntilReady();
    const all = countTo(w, n), stop = clock();
    w.run();
    await Promise.all([addAll(concurrency), all]);
    const result = stop(n);
    await w.close();
    return result;
  },
  async latency() {
    const samples = [];
    let started;
    const w = worker(async () => started(now()), { concurrency: 1 });
    await w.waitUntilReady();
    w.run();
    for (let i = 0; i < n; i++) {
      await sleep(SETTLE_MS);
      const start = new Promise((resolve) => (started = resolve)), before = now();
      await add();
      samples.push((await start) - before);
    }
    await w.close();
    samples.sort((a, b) => a - b);
    return { p50_ms: round(percentile(samples, 50)), p99_ms: round(percentile(samples, 99)), max_ms: round(samples.at(-1)), samples: n };
  },
  async recovery() {
    const samples = [];
    for (let i = 0; i < trials; i++) {
      let taken, found;
      const took = new Promise((resolve) => (taken = resolve)), again = new Promise((resolve) => (found = resolve));
      // The lost worker renews nothing and never ends its job.
      const lost = worker(() => new Promise(() => taken()), { concurrency: 1, skipLockRenewal: true, skipStalledCheck: true });
      await add();
      lost.run();
      await took;
      const start = now();
      await lost.disconnect?.();
      const other = worker(async () => found(now()), { concurrency: 1, maxStalledCount: 5 });
      other.run();
      samples.push((await again) - start);
      await other.close();
      await lost.close(true).catch(() => {});
    }
    samples.sort((a, b) => a - b);
    return { min_s: round(samples[0] / 1e3), p50_s: round(percentile(samples, 50) / 1e3), max_s: round(samples.at(-1) / 1e3), trials };
  },
};

await queue.waitUntilReady();
console.log(JSON.stringify(await modes[positionals[0]]()));
process.exit(0);
