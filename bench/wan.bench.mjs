/**
 * RPO of a VPG whose recovery site is 100 ms away (50 ms each way) behind 100 Mbit/s, under a load of 80 % of that link, incompressible; then with one
 * connection reset a minute. The link is the project's own proxy, on loopback. RPO is what an operator would lose now: the age of the newest listed checkpoint,
 * sampled every 25 ms. What it is measured against is not a program but the design's bound: checkpoint interval + 2 round trips + one frame + one fsync; after a
 * reset, 5 × the outage + 2 s until RPO is inside that bound again.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fdatasyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startPair } from './lib/pair.mjs';
import { median, quantile } from './lib/statistics.mjs';

export const tools = ['taskset'];

const MiB = 1024 * 1024;
const LINK = { oneWayMs: 50, bytesPerSecond: 12_500_000 };
const ROUND_TRIP_MS = 2 * LINK.oneWayMs;
const LOAD_BYTES_PER_SECOND = 0.8 * LINK.bytesPerSecond;
const INTERVAL_MS = 1000;
/** The longest frame on a link of that speed (engine-host/outbound.ts: 10 ms of the link, at least 64 KiB). */
const FRAME_BYTES = 128 * 1024;
const WRITE_BYTES = 16 * 1024;
const SAMPLE_MS = 25;
const VOLUME_BYTES = 64 * MiB;

function fsyncMs(folder) {
  const file = openSync(join(folder, 'fsync'), 'w');
  const bytes = randomBytes(FRAME_BYTES);
  const times = Array.from({ length: 50 }, () => {
    const beganMs = performance.now();
    writeSync(file, bytes);
    fdatasyncSync(file);
    return performance.now() - beganMs;
  });
  closeSync(file);
  return quantile(times, 0.99);
}

/** Writes at an even rate until told to stop; what did not fit in time is made up for. */
function startLoad(guest) {
  const pool = Array.from({ length: 64 }, () => randomBytes(WRITE_BYTES));
  const beganMs = performance.now();
  let sentBytes = 0;
  let isStopping = false;
  const done = (async () => {
    while (!isStopping) {
      const dueBytes = ((performance.now() - beganMs) * LOAD_BYTES_PER_SECOND) / 1000;
      if (sentBytes >= dueBytes) {
        await delay(2);
        continue;
      }
      const offset = Math.floor(Math.random() * (VOLUME_BYTES / WRITE_BYTES)) * WRITE_BYTES;
      await guest.write(offset, pool[Math.floor(Math.random() * pool.length)]);
      sentBytes += WRITE_BYTES;
    }
  })();
  return {
    bytesPerSecond: () => (sentBytes * 1000) / (performance.now() - beganMs),
    async stop() {
      isStopping = true;
      await done;
    },
  };
}

/** RPO from now on, for so long. */
async function sampleRpo(pair, forMs) {
  const samples = [];
  let newest;
  let lastChange = 0;
  while ((await pair.listing(0)).held.length === 0) await delay(SAMPLE_MS); // the first one may take a while after a start
  const untilMs = performance.now() + forMs;
  while (performance.now() < untilMs) {
    const askedMs = performance.now();
    const listing = await pair.listing(lastChange);
    const nowMs = performance.now();
    lastChange = listing.lastChange;
    const held = listing.held.at(-1);
    // The age was true when the answer was made, somewhere between asking and now: the older reading counts.
    if (held) newest = { ageMs: held.ageMs, atMs: askedMs };
    if (newest) samples.push({ atMs: nowMs, rpoMs: newest.ageMs + nowMs - newest.atMs });
    await delay(SAMPLE_MS);
  }
  return samples;
}

/** How long the stream was away: from the reset until something is acknowledged again. */
async function outageOf(pair, beganMs) {
  let hasBeenAway = false;
  for (;;) {
    const { state } = await pair.state();
    hasBeenAway ||= state !== 'replicating';
    if (hasBeenAway && state === 'replicating') return performance.now() - beganMs;
    if (!hasBeenAway && performance.now() - beganMs > 3000) return SAMPLE_MS; // shorter than a sample
    await delay(5);
  }
}

const bound = (input) => ({ ...input, peerName: 'bound', ratio: input.peer / input.ours, goal: 1, spread: [input.peer / input.ours, input.peer / input.ours] });

export async function run({ isTiny, folder, progress }) {
  mkdirSync(folder, { recursive: true });
  const syncMs = fsyncMs(folder);
  const allowedMs = INTERVAL_MS + 2 * ROUND_TRIP_MS + (FRAME_BYTES * 1000) / LINK.bytesPerSecond + syncMs;
  const pair = await startPair({ folder, sizeBytes: VOLUME_BYTES, intervalMs: INTERVAL_MS, isCompressed: true, link: LINK });
  const load = startLoad(pair.guest);
  try {
    await delay(isTiny ? 1200 : 6000); // the sender learns what the link carries
    const quiet = (await sampleRpo(pair, isTiny ? 1500 : 60_000)).map(({ rpoMs }) => rpoMs);
    progress(`wan: RPO p50 ${quantile(quiet, 0.5).toFixed(0)} p99 ${quantile(quiet, 0.99).toFixed(0)} max ${Math.max(...quiet).toFixed(0)} ms, allowed ${allowedMs.toFixed(0)}; load ${(load.bytesPerSecond() / 1e6).toFixed(2)} MB/s`);
    const rows = [
      bound({ case: 'RPO p50, no resets', unit: 'ms', ours: quantile(quiet, 0.5), peer: allowedMs }),
      bound({ case: 'RPO p99, no resets', unit: 'ms', ours: quantile(quiet, 0.99), peer: allowedMs }),
    ];
    const resets = isTiny ? 1 : 2;
    const all = [];
    const backs = [];
    const allowances = [];
    for (let index = 0; index < resets; index += 1) {
      const beganMs = performance.now();
      pair.proxy.reset();
      const outage = outageOf(pair, beganMs);
      const samples = await sampleRpo(pair, isTiny ? 2500 : 60_000);
      const outageMs = await outage;
      // Back when RPO is inside its bound and stays there for the rest of the minute.
      const lastOutside = samples.findLast(({ rpoMs }) => rpoMs > allowedMs);
      backs.push(Math.max(SAMPLE_MS, (lastOutside?.atMs ?? beganMs) - beganMs));
      allowances.push(5 * outageMs + 2000);
      all.push(...samples.map(({ rpoMs }) => rpoMs));
      progress(`wan: reset ${index + 1}: away ${outageMs.toFixed(0)} ms, back inside after ${backs.at(-1).toFixed(0)} ms, allowed ${allowances.at(-1).toFixed(0)}`);
    }
    rows.push(bound({ case: 'back inside after a reset', unit: 'ms', ours: median(backs), peer: median(allowances) }));
    rows.push(bound({ case: 'RPO p50, one reset a minute', unit: 'ms', ours: quantile(all, 0.5), peer: allowedMs }));
    // For a minute with a reset the bound of the 99th percentile is that of the time outside: RPO may grow by the outage and what it takes to catch up.
    rows.push(bound({ case: 'RPO p99, one reset a minute', unit: 'ms', ours: quantile(all, 0.99), peer: allowedMs + median(allowances) }));
    return rows;
  } finally {
    await load.stop();
    await pair.stop();
  }
}
