import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { until, VraRig } from '@tidemark/testing';
import { GuestFileSystem } from '../database/guest-file-system.js';
import { missingForBlockDevices } from './nbd-block-device.js';
import { runTool } from './run-tool.js';

let rig: VraRig | undefined;
let mounted: GuestFileSystem | undefined;
afterEach(async () => {
  await mounted?.abandon();
  mounted = undefined;
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const allocatedMiB = async (path: string): Promise<number> => ((await stat(path)).blocks * 512) / MiB;
/** A guest's kernel: what it deletes and trims is gone from its disk. */
async function useFileSystem(vras: VraRig, uri: string, isNew: boolean, act: (folder: string) => Promise<void>): Promise<void> {
  const mountPoint = join(vras.folder, 'mounted');
  mounted = await GuestFileSystem.mount(uri, { folder: join(vras.folder, 'device'), mountPoint, isNew });
  await act(mountPoint);
  await runTool('sync', ['-f', mountPoint]);
  await runTool('fstrim', [mountPoint]);
  await mounted.unmount();
  mounted = undefined;
}

/** Promoted and applied in the background, a few MiB at a time. */
async function thinAs(path: string, miB: number): Promise<void> {
  for (let tries = 0; tries < 300 && (await allocatedMiB(path)) > miB; tries += 1) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await allocatedMiB(path)).toBeLessThanOrEqual(miB);
}

it('ext4 with fstrim in the guest: mirror and promoted disk are as thin as what the guest has on its disk', async () => {
  expect(await missingForBlockDevices()).toBeUndefined();
  const vms = [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [96 * MiB] }];
  const vras = await VraRig.start({ protectingCount: 1, recoveringCount: 1, historyMs: 2000, intervalMs: 250, vms });
  rig = vras;
  const [disk, mirror] = [vras.diskPath('vm-1', 0), vras.mirrorPath('vm-1', 0)];
  const kept = randomBytes(4 * MiB);
  await vras.protect();
  await useFileSystem(vras, vras.uri('p', 0, 'vm-1-0'), true, async (folder) => {
    await writeFile(join(folder, 'kept'), kept);
    await writeFile(join(folder, 'deleted'), randomBytes(40 * MiB));
    await runTool('sync', ['-f', folder]);
    expect(await allocatedMiB(disk)).toBeGreaterThan(44);
    await rm(join(folder, 'deleted'));
  });
  expect(await allocatedMiB(disk)).toBeLessThan(10);
  const now = Math.max(...vras.listed());
  await until('that is applied', () => (vras.listed()[0] ?? 0) > now + 1, 30_000);
  await thinAs(mirror, (await allocatedMiB(disk)) + 0.5);

  const recovering = vras.recovering[0];
  if (!recovering) throw new Error('one recovering VRA');
  const ref = { vpgId: vras.vpgId, vmId: 'vm-1', epoch: 2 };
  await recovering.reserveEpoch(ref);
  const viewId = randomUUID();
  const checkpointId = vras.listed().at(-1) ?? 0;
  await recovering.openView({ viewId, vpgId: vras.vpgId, vmId: 'vm-1', checkpointId, purpose: 'live', volumes: [{ diskId: 'scsi:0:0', exportName: 'recovered' }] });
  await useFileSystem(vras, vras.uri('r', 0, 'recovered'), false, async (folder) => {
    expect((await readFile(join(folder, 'kept'))).equals(kept)).toBe(true);
    await writeFile(join(folder, 'scratch'), randomBytes(30 * MiB));
    await runTool('sync', ['-f', folder]);
    await rm(join(folder, 'scratch'));
  });
  await recovering.commitEpoch(ref);
  await recovering.promoteView(viewId);
  await until('promotion', () => recovering.status().views[0]?.state === 'promoted', 30_000);
  await thinAs(mirror, (await allocatedMiB(disk)) + 0.5);
  await useFileSystem(vras, vras.uri('r', 0, 'recovered'), false, async (folder) => expect((await readFile(join(folder, 'kept'))).equals(kept)).toBe(true));
}, 120_000);
