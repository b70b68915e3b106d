/**
 * A first copy of a 4 GiB volume, 40 % of it zero, onto a recovery disk, both ends flushed, cold cache: ours over TCP with checksums, and once more over
 * mutual TLS 1.3 (as every VRA speaks it; TCP alone is for this harness), from the request to
 * the durable end of the sync, against nbdcopy and qemu-img between the same disks (one process each, no network).
 */
import { TestSite } from '@tidemark/testing';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { interleaved } from './lib/rounds.mjs';
import { median, rowOf } from './lib/statistics.mjs';
import { assertSame, coolDown, makeVolume, MiB, SyncPair } from './lib/sync-pair.mjs';

export const tools = ['nbdcopy', 'qemu-img', 'taskset'];

/** Rounds are long: no new one begins after this. */
const MEASURE_MS = 130_000;
/** Of what the same machine does without TLS. */
const TLS_GOAL = 0.8;
const CASE = '4 GiB, 40 % zero';

export async function run({ rounds, isTiny, folder, progress }) {
  const sizeBytes = (isTiny ? 20 : 4096) * MiB;
  const source = join(folder, 'source.raw');
  makeVolume(source, sizeBytes);
  const site = await TestSite.in(folder);
  const ours = { tidemark: undefined, 'tidemark TLS': site };
  const targets = { tidemark: join(folder, 'tidemark.raw'), 'tidemark TLS': join(folder, 'tidemark-tls.raw'), 'nbdcopy --flush': join(folder, 'nbdcopy.raw'), 'qemu-img convert': join(folder, 'qemu.raw') };
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
  const measure = async ({ name }) => {
    const target = targets[name];
    rmSync(target, { force: true });
    coolDown(source);
    if (name in ours) return await measurePair({ folder, source, sizeBytes, target, site: ours[name] });
    const startedAt = performance.now();
    copies[name](target);
    return { seconds: (performance.now() - startedAt) / 1000 };
  };
  const samples = await untilTime({ rounds, contestants: Object.keys(targets).map((name) => ({ name })), measure, progress });
  for (const target of Object.values(targets)) assertSame(source, target);
  return rowsFor({ samples, sizeBytes, peers: Object.keys(copies) });
}

/** A pair of its own each time, started before the clock: the source's lock goes from one to the next. */
async function measurePair({ folder, source, sizeBytes, target, site }) {
  const home = mkdtempSync(join(folder, 'pair-'));
  const mirror = join(home, 'recovery', 'mirror.raw');
  mkdirSync(dirname(mirror));
  const pair = await SyncPair.start({ folder: home, disk: source, sizeBytes, site });
  try {
    const sample = await pair.protect({ mirror });
    await pair.unprotect();
    renameSync(mirror, target);
    return sample;
  } finally {
    await pair.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

function rowsFor({ samples, sizeBytes, peers }) {
  const gigabytes = sizeBytes / 1e9;
  const secondsOf = (name) => samples[name].map(({ seconds }) => seconds);
  const row = ({ name, caseName, peerName, goal }) => ({
    ...rowOf({ case: caseName, unit: 's', goal, ours: secondsOf(name), peer: secondsOf(peerName), peerName, isLessBetter: true }),
    sentShare: median(samples[name].map(({ sentBytes }) => sentBytes)) / sizeBytes,
    cpuSecondsPerGigabyte: median(samples[name].map(({ cpuMicros }) => cpuMicros)) / 1e6 / gigabytes,
  });
  return [
    ...peers.map((peerName) => row({ name: 'tidemark', caseName: CASE, peerName, goal: 1 })),
    ...peers.map((peerName) => row({ name: 'tidemark TLS', caseName: `${CASE} TLS`, peerName, goal: 1 })),
    { ...row({ name: 'tidemark TLS', caseName: `${CASE} TLS`, peerName: 'tidemark', goal: TLS_GOAL }), peerName: 'ours without TLS' },
  ];
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
