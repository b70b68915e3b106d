/**
 * What history costs with and without thinning, for docs/guide/thinning.md: a guest with a hot set, a checkpoint every 5 s, thinned to one a minute and then to one
 * an hour. Sizes only; the clock is not asked. Run: node libs/io/journal-file/dist/testing/thinning-cost.js [hours [writes per checkpoint]]
 */
import { argv, stdout } from 'node:process';
import { GiB, KiB, MiB } from '@tidemark/base';
import { MemoryVolume } from '@tidemark/volume';
import { FileBench, write } from './fixture.js';

const HOURS = Number(argv[2] ?? 4);
const CHECKPOINTS_AN_HOUR = 720;
/** 4 KiB each, per checkpoint: 48 are 38 KiB/s, 3.2 GiB a day. */
const WRITES = Number(argv[3] ?? 48);
const HOT_BYTES = 64 * MiB;
const DISK_BYTES = GiB;

let state = 1;
/** mulberry32 */
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

/** Four of five writes go to the hot set, and there to its front by preference, as those of a database do. */
function place(): number {
  const bytes = random() < 0.8 ? HOT_BYTES * random() ** 3 : DISK_BYTES * random();
  return Math.floor(bytes / 4096) * 4096;
}

const bench = await FileBench.make({ mirrors: [new MemoryVolume({ sizeBytes: DISK_BYTES })], segmentBytes: 16 * MiB });
await bench.base();
const ids: number[] = [];
for (let i = 0; i < HOURS * CHECKPOINTS_AN_HOUR; i += 1) {
  bench.send(Array.from({ length: WRITES }, () => {
    const payload = new Uint8Array(4 * KiB);
    for (let at = 0; at < payload.byteLength; at += 512) payload.fill(Math.floor(random() * 256), at, at + 512);
    return write(place(), payload);
  }));
  ids.push(await bench.checkpoint());
}

const report = (what: string): void => void stdout.write(`${what}: ${String(Math.round(bench.journal.journalBytes / MiB))} MiB\n`);
const settled = async (): Promise<void> => {
  while (bench.journal.stats().unindexedSegments > 0) await new Promise((resolve) => setTimeout(resolve, 5));
};

async function thinned(every: number, what: string): Promise<void> {
  const dropped = ids.filter((_, i) => i % every !== 0 && i < ids.length - 1);
  for (let at = 0; at < dropped.length; at += 2000) await bench.journal.thin(dropped.slice(at, at + 2000));
  await settled();
  const { rewrittenSegments, readBytes } = await bench.journal.compact({ beforeSeq: Infinity, allow: () => Promise.resolve(), shouldStop: () => false, pause: () => Promise.resolve() });
  report(`${what} (${String(rewrittenSegments)} segments rewritten, ${String(Math.round(readBytes / MiB))} MiB read)`);
}

await settled();
report(`${String(HOURS)} hours, every checkpoint`);
await thinned(12, 'one a minute');
await thinned(720, 'one an hour');
await bench.remove();
