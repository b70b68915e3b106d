import { stat } from 'node:fs/promises';
import { afterEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { qemuIo, until, VraRig } from './rig.js';

let rig: VraRig | undefined;
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const allocatedMiB = async (path: string): Promise<number> => ((await stat(path)).blocks * 512) / MiB;

it('keeps a mirror volume as thin as its protected volume: holes stay holes in the first sync, discards and zeroes become holes when they are applied', async () => {
  const vras = await VraRig.start({ protectingCount: 1, recoveringCount: 1, historyMs: 2000, intervalMs: 250, vms: [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [64 * MiB] }] });
  rig = vras;
  const guest = vras.uri('p', 0, 'vm-1-0');
  const [disk, mirror] = [vras.diskPath('vm-1', 0), vras.mirrorPath('vm-1', 0)];
  // Written and trimmed, as a file system does it; and zeroes that a guest wrote as data.
  await qemuIo(guest, 'write -P 0x11 0 16M', 'discard 4M 8M', 'write -P 0 32M 4M', 'flush');
  await vras.protect();
  await until('the first checkpoint', () => vras.listed()[0]);
  expect(await allocatedMiB(disk)).toBeGreaterThanOrEqual(8);
  expect(await allocatedMiB(mirror)).toBeLessThanOrEqual(8.5);
  await qemuIo(guest, 'discard 0 2M', 'write -z -u 12M 2M', 'write -P 0x22 48M 1M', 'flush');
  const now = Math.max(...vras.listed());
  await until('that is applied', () => (vras.listed()[0] ?? 0) > now + 1, 30_000);
  const isThin = (mib: number): boolean => mib >= 5 && mib <= 5.5; // 4 MiB of the first sync are left, and the MiB of now
  for (let tries = 0; tries < 200 && !isThin(await allocatedMiB(mirror)); tries += 1) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await allocatedMiB(mirror)).toBeLessThanOrEqual(5.5);
  expect(await allocatedMiB(mirror)).toBeGreaterThanOrEqual(5);
}, 60_000);
