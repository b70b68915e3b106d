/**
 * A first copy of a 4 GiB volume, 40 % of it zero, onto a recovery disk, both ends flushed, cold cache: ours over TCP with checksums, from the request to
 * the durable end of the sync, against nbdcopy and qemu-img between the same disks (one process each, no network).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { interleaved } from './lib/rounds.mjs';
import { median, rowOf } from './lib/statistics.mjs';
import { assertSame, coolDown, makeVolume, MiB, SyncPair } from './lib/sync-pair.mjs';

export const tools = ['nbdcopy', 'qemu-img', 'taskset'];

/** Rounds are long: no new one begins after this. */
const MEASURE_MS = 130_000;

export async function run({ rounds, isTiny, folder, progress }) {
  const sizeBytes = (isTiny ? 20 : 4096) * MiB;
  const source = join(folder, 'source.raw');
  mkdirSync(join(folder, 'recovery'));
  makeVolume(source, sizeBytes);
  const targets = { tidemark: join(folder, 'recovery', 'mirror.raw'), 'nbdcopy --flush': join(folder, 'nbdcopy.raw'), 'qemu-img convert': join(folder, 'qemu.raw') };
  const copies = {
    'nbdcopy --flush': (target) => {
      execFileSync('truncate', ['-s', String(sizeBytes), target]);
      execFileSync('nbdcopy', ['--flush', '--destination-is-zero', source, target]);
    },
    'qemu-img convert': (target) => {
      execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', '-t', 'writeback', source, target]);
      execFileSync('sync', ['-d', target]);
    },
  };
  const pair = await SyncPair.start({ folder, disk: source, sizeBytes });
  try {
    const measure = async ({ name }) => {
      const target = targets[name];
      rmSync(target, { force: true });
      coolDown(source);
      const startedAt = performance.now();
      if (name !== 'tidemark') {
        copies[name](target);
        return { seconds: (performance.now() - startedAt) / 1000 };
      }
      const sample = await pair.protect({ mirror: target });
      await pair.unprotect();
      return sample;
    };
    const samples = await untilTime({ rounds, contestants: Object.keys(targets).map((name) => ({ name })), measure, progress });
    for (const target of Object.values(targets)) assertSame(source, target);
    const gigabytes = sizeBytes / 1e9;
    const ours = samples.tidemark;
    return Object.keys(copies).map((peerName) => ({
      ...rowOf({ case: '4 GiB, 40 % zero', unit: 's', goal: 1, ours: ours.map(({ seconds }) => seconds), peer: samples[peerName].map(({ seconds }) => seconds), peerName, isLessBetter: true }),
      sentShare: median(ours.map(({ sentBytes }) => sentBytes)) / sizeBytes,
      cpuSecondsPerGigabyte: median(ours.map(({ cpuMicros }) => cpuMicros)) / 1e6 / gigabytes,
    }));
  } finally {
    await pair.stop();
  }
}

/** Whole rounds, until the time is up. */
export async function untilTime({ rounds, contestants, measure, progress }) {
  const all = Object.fromEntries(contestants.map(({ name }) => [name, []]));
  const startedAt = performance.now();
  for (let round = 0; round < rounds && (round === 0 || performance.now() - startedAt < MEASURE_MS); round += 1) {
    const samples = await interleaved({ rounds: 1, contestants: contestants.map((_, i) => contestants[(i + round) % contestants.length]), measure: (contestant) => measure(contestant, round) });
    for (const [name, [sample]] of Object.entries(samples)) all[name].push(sample);
    progress(Object.entries(samples).map(([name, [{ seconds }]]) => `${name} ${seconds.toFixed(1)} s`).join(', '));
  }
  return all;
}
