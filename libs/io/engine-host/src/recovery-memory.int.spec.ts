import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { plainTransport } from '@tidemark/link/plain';
import type { RecoverySpec } from './types.js';
import { VraEngine } from './vra-engine.js';

const SITE = 'aaaaaaaa-0000-4000-8000-000000000001';
const VPG = 'bbbbbbbb-0000-4000-8000-000000000001';
/** Receiving may fill three quarters of 10/9 of it, half of that is guaranteed: 6.6 × 64 KiB and a header. */
const CAPTURE_BYTES = 1 * MiB;
const ROOM = 6;

let folder: string;
let engine: VraEngine;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-room-'));
  engine = await start();
});
afterEach(async () => {
  await engine.close();
  await rm(folder, { recursive: true });
});

async function start(): Promise<VraEngine> {
  const self = { siteId: SITE, role: 'vra', instanceId: 'r' } as const;
  return await VraEngine.start({
    vraId: 'r', transport: plainTransport({ self, peer: self }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, 'r.sock'),
    stateFolder: join(folder, 'state'), captureBytesMax: CAPTURE_BYTES, log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
}

const recovery = (vm: number): RecoverySpec => ({
  vpgId: VPG, vmId: `vm-${vm}`, protectedSiteId: SITE, epoch: 1, recoverers: [], volumes: [{ diskId: 'd', sizeBytes: MiB, mirrorPath: join(folder, `${vm}.raw`) }],
  journalFolder: join(folder, 'journals', String(vm)), datastore: { path: folder, capacityBytes: 1024 * MiB }, historyMs: 3_600_000,
});

it('a VRA takes no recovery whose stream could wait for memory for ever; those that it has go on, and one that goes makes room', async () => {
  for (let vm = 1; vm <= ROOM; vm += 1) await engine.putRecovery(recovery(vm));
  await expect(engine.putRecovery(recovery(ROOM + 1))).rejects.toMatchObject({ code: 'VRA_MEMORY', message: expect.stringContaining(`memory to recover ${ROOM} VMs and recovers ${ROOM}`) });
  await engine.putRecovery({ ...recovery(1), historyMs: 7_200_000 });
  await engine.close();
  engine = await start();
  expect(engine.status().recoveries).toHaveLength(ROOM);
  await engine.removeRecovery({ vpgId: VPG, vmId: 'vm-1', epoch: 1, isMirrorKept: false });
  await engine.putRecovery(recovery(ROOM + 1));
});
