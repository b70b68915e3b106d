/**
 * 5 % of the 4 KiB blocks of a 4 GiB volume (40 % zero) have changed, at random places: ours compares hashes of both sides over TCP, from the request to the durable
 * end of the sync, against rsync between the same disks. Cold cache, both flushed.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { untilTime } from './initial-sync.bench.mjs';
import { median, rowOf } from './lib/statistics.mjs';
import { assertSame, BLOCK_BYTES, changeBlocks, coolDown, makeVolume, MiB, SyncPair } from './lib/sync-pair.mjs';

export const tools = ['rsync', 'taskset'];

const PEER = 'rsync --inplace';

export async function run({ rounds, isTiny, folder, progress }) {
  const sizeBytes = (isTiny ? 20 : 4096) * MiB;
  const source = join(folder, 'source.raw');
  const mirror = join(folder, 'recovery', 'mirror.raw');
  const copy = join(folder, 'rsync.raw');
  mkdirSync(join(folder, 'recovery'));
  makeVolume(source, sizeBytes);
  for (const target of [mirror, copy]) copyFileSync(source, target);
  const pair = await SyncPair.start({ folder, disk: source, sizeBytes });
  let changed = 0;
  let changedRound = -1;
  try {
    const measure = async ({ name }, round) => {
      if (changedRound < round) changed = changeBlocks(source, { sizeBytes, share: 0.05, seed: round + 1 });
      changedRound = round;
      coolDown(source, name === PEER ? copy : mirror);
      const startedAt = performance.now();
      if (name === PEER) {
        execFileSync('rsync', ['--inplace', '--no-whole-file', '--ignore-times', source, copy]);
        execFileSync('sync', ['-d', copy]);
        return { seconds: (performance.now() - startedAt) / 1000 };
      }
      const sample = await pair.protect({ mirror, isPreseeded: true });
      await pair.unprotect();
      return sample;
    };
    const samples = await untilTime({ rounds, contestants: [{ name: 'tidemark' }, { name: PEER }], measure, progress });
    for (const target of [mirror, copy]) assertSame(source, target);
    const ours = samples.tidemark;
    return [{
      ...rowOf({ case: '5 % of 4 KiB blocks changed', unit: 's', goal: 3, ours: ours.map(({ seconds }) => seconds), peer: samples[PEER].map(({ seconds }) => seconds), peerName: PEER, isLessBetter: true }),
      sentPerChangedByte: median(ours.map(({ sentBytes }) => sentBytes)) / (changed * BLOCK_BYTES),
      cpuSecondsPerGigabyte: median(ours.map(({ cpuMicros }) => cpuMicros)) / 1e6 / (sizeBytes / 1e9),
    }];
  } finally {
    await pair.stop();
  }
}
