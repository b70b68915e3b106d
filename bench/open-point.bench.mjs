/**
 * Opening the checkpoint in the middle of a journal, until its first sector is read, for 10⁴ and 10⁶ writes of 4 KiB and 10⁷ of 512 bytes (each at the start of a random block of
 * an 8 GiB volume; 4 KiB payloads would take 41 GB); the journal was opened by this process, and nothing of it is in the page cache. Then 1000 random reads of 4 KiB, one at a
 * time, in turns with a raw file of 1 GiB that holds data and is not in the page cache either; and the memory of the index at the end.
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { BlockFile } from '@tidemark/block-file';
import { dropCaches, fill } from './lib/files.mjs';
import { makeJournal } from './lib/journal.mjs';
import { median, quantile, rowOf } from './lib/statistics.mjs';

export const tools = [];

const GiB = 1024 ** 3;
const MiB = 1024 ** 2;
const CASES = [{ writes: 1e4, payloadBytes: 4096 }, { writes: 1e6, payloadBytes: 4096 }, { writes: 1e7, payloadBytes: 512 }];
const OPEN_MS_MAX = 1000;
const MEMORY_BYTES_MAX = 64 * MiB;
const READS = 1000;

const nameOf = ({ writes, payloadBytes }) => `10^${Math.log10(writes).toFixed(0)} writes of ${payloadBytes} B`;

async function timed(act) {
  const from = performance.now();
  await act();
  return performance.now() - from;
}

async function measure(journal, raw, { rounds, reads, sizeBytes, isTiny }) {
  const openMs = [];
  const [ours, peer] = [[], []];
  let memoryBytes = 0;
  for (let round = 0; round < rounds; round += 1) {
    let view;
    if (!isTiny) dropCaches();
    openMs.push(await timed(async () => {
      view = await journal.openView({ checkpointId: 1 });
      await view.volumes[0].read(4096 * Math.floor(Math.random() * (sizeBytes / 4096)), new Uint8Array(512));
    }));
    const [us, them] = [[], []];
    for (let i = 0; i < reads; i += 1) {
      const anywhere = (bytes) => 4096 * Math.floor(Math.random() * (bytes / 4096));
      const target = new Uint8Array(4096);
      const [offset, rawOffset] = [anywhere(sizeBytes), anywhere(raw.sizeBytes)];
      us.push(1000 * await timed(() => view.volumes[0].read(offset, target)));
      them.push(1000 * await timed(() => raw.file.read(target, 0, 4096, rawOffset)));
    }
    ours.push(quantile(us, 0.99));
    peer.push(quantile(them, 0.99));
    memoryBytes = Math.max(memoryBytes, journal.stats().indexMemoryBytes);
    await view.close();
  }
  return { openMs, ours, peer, memoryBytes };
}

function rowsFor(name, { openMs, ours, peer, memoryBytes }) {
  const spread = [quantile(openMs, 0.75), quantile(openMs, 0.25)].map((ms) => OPEN_MS_MAX / ms);
  return [
    { case: `${name}: open, first sector read`, unit: 'ms', ours: median(openMs), peer: OPEN_MS_MAX, peerName: 'bound', ratio: OPEN_MS_MAX / median(openMs), goal: 1, spread },
    rowOf({ case: `${name}: p99 of random 4 KiB reads`, unit: 'µs', goal: 1 / 3, ours, peer, peerName: 'raw file', isLessBetter: true }),
    { case: `${name}: memory of the index with a view`, unit: 'MiB', ours: memoryBytes / MiB, peer: MEMORY_BYTES_MAX / MiB, peerName: 'bound', ratio: MEMORY_BYTES_MAX / memoryBytes, goal: 1 },
  ];
}

export async function run({ rounds, isTiny, only, folder, progress }) {
  const sizeBytes = isTiny ? 16 * MiB : 8 * GiB;
  const rawPath = join(folder, 'raw');
  const raw = { sizeBytes: isTiny ? 16 * MiB : GiB };
  fill(rawPath, raw.sizeBytes);
  raw.file = await open(rawPath, 'r');
  const rows = [];
  const openMs = [];
  try {
    for (const each of CASES.map((plan) => (isTiny ? { ...plan, writes: plan.writes / 1000 } : plan))) {
      if (!nameOf(each).includes(only)) continue;
      const own = join(folder, String(each.writes));
      const mirror = await BlockFile.open({ path: `${own}-mirror`, sizeBytes, isReadOnly: false, create: true });
      const identity = { vpgId: 'bench', vmId: 'vm' };
      const journal = await makeJournal({ folder: own, identity, volumes: [{ sizeBytes, mirror }], ...each });
      progress(`${nameOf(each)}: ${journal.stats().segmentCount} segments, ${journal.stats().indexFiles.length} index files`);
      const measured = await measure(journal, raw, { rounds, reads: isTiny ? 20 : READS, sizeBytes, isTiny });
      openMs.push({ writes: each.writes, ms: median(measured.openMs) });
      rows.push(...rowsFor(nameOf(each), measured));
      progress(`open ${median(measured.openMs).toFixed(1)} ms, p99 ${median(measured.ours).toFixed(0)} µs, raw ${median(measured.peer).toFixed(0)} µs`);
      await journal.remove();
      await mirror.close();
    }
  } finally {
    await raw.file.close();
  }
  const [first, last] = [openMs[0], openMs.at(-1)];
  if (first !== undefined && last !== first) {
    const [grown, allowed] = [last.ms / first.ms, Math.log(last.writes) / Math.log(first.writes)];
    rows.push({ case: 'growth of opening, fewest to most writes', unit: '×', ours: grown, peer: allowed, peerName: 'log', ratio: allowed / grown, goal: 1 });
  }
  return rows;
}
