import { createHash, randomBytes } from 'node:crypto';
import { MiB } from '@tidemark/base';
import { NbdGuest } from '../guest/nbd-guest.js';
import { plannedLane, type PlannedLane, readRange, uriOf } from '../guest/workload.js';
import type { VmStatus } from '../status.js';

/** Who lives where. web01's disk: a file system in front, lanes behind it. db01's first disk: lanes in front, old data behind them. */
export const FILE_SYSTEM = { vm: 'web01', index: 0, sizeBytes: 48 * MiB } as const;
const OLD_DATA = { vm: 'db01', index: 0, startOffset: 32 * MiB, sizeBytes: 64 * MiB } as const;

/** web01 runs on the first host, db01 on the second: lanes 3 and 4 cross VMs and hosts with every write. */
export const LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [
    { vm: 'db01', index: 0, startOffset: 8 * MiB, sizeBytes: 8 * MiB },
    { vm: 'db01', index: 1, startOffset: 0, sizeBytes: 8 * MiB },
  ]),
  plannedLane(3, [
    { vm: 'web01', index: 0, startOffset: 48 * MiB, sizeBytes: 4 * MiB },
    { vm: 'db01', index: 1, startOffset: 8 * MiB, sizeBytes: 4 * MiB },
  ]),
  plannedLane(4, [
    { vm: 'db01', index: 1, startOffset: 16 * MiB, sizeBytes: 4 * MiB },
    { vm: 'web01', index: 0, startOffset: 52 * MiB, sizeBytes: 4 * MiB },
  ]),
];

/** Data that was there before protection and that nobody touches: it travels in the initial sync. @returns its digest. */
export async function writeOldData(vms: readonly VmStatus[]): Promise<string> {
  const bytes = Buffer.alloc(OLD_DATA.sizeBytes);
  for (let at = 0; at < bytes.byteLength; at += MiB) randomBytes(MiB / 2).copy(bytes, at);
  const guest = new NbdGuest(uriOf(vms, OLD_DATA));
  try {
    for (let at = 0; at < bytes.byteLength; at += 4 * MiB) await guest.write(OLD_DATA.startOffset + at, bytes.subarray(at, at + 4 * MiB));
    await guest.flush();
  } finally {
    guest.close();
  }
  return createHash('sha256').update(bytes).digest('hex');
}

export async function digestOldData(vms: readonly VmStatus[]): Promise<string> {
  return createHash('sha256').update(await readRange(uriOf(vms, OLD_DATA), OLD_DATA.startOffset, OLD_DATA.sizeBytes)).digest('hex');
}

/** Garbage over superblock, group descriptors and inodes, and here and there in the files. */
export async function wreckFileSystem(vms: readonly VmStatus[]): Promise<number> {
  const guest = new NbdGuest(uriOf(vms, FILE_SYSTEM));
  const garbage = randomBytes(MiB);
  const offsets = [0, 1, 2, 3, 8, 16, 24, 32, 33, 34, 40].map((number) => number * MiB);
  try {
    for (const offset of offsets) await guest.write(offset, garbage);
    await guest.flush();
  } finally {
    guest.close();
  }
  return offsets.length * garbage.byteLength;
}
