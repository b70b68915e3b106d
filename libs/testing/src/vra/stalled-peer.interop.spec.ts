import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { env, kill, pid } from 'node:process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { EngineStatus } from '@tidemark/engine-host';
import { WaitMeter } from '../load/wait-meter.js';
import { EngineChild } from './engine-child.js';
import { NbdClient } from './nbd-client.js';
import { SITE_ID } from './test-site.js';

/** More, to see what a VRA bears: STALLED_PEER_VOLUMES=1500. */
const VOLUMES = Number(env['STALLED_PEER_VOLUMES'] ?? 300);
const SIZE_BYTES = 2 * MiB;
/** With 300 volumes; more of them get more. */
const SHARE = Math.max(1, VOLUMES / 300);
const CAPTURE_BYTES = SHARE * 46 * MiB;
/** Written while nothing is acknowledged: more than the memory, each time. */
const WRITTEN_BYTES = SHARE * 72 * MiB;
const WRITE_BYTES = 96 * 1024;
/** Beside the pool, after a VRA with these volumes has come to rest: 32 MiB kept ready, 16 MiB that wait in a socket and its queue, and what V8 has not collected yet. */
const BASE_BYTES = 128 * MiB;
/** Design: no fault outside the capture process adds more to a write. */
const WRITE_MS_MAX = 100;
/** So often the peer stands still and moves again: one write that waits for it each time is seen. A disk that takes its time may make one late. */
const STALLS = 4;
const LATE_STALLS_MAX = 1;

let folder: string;
const engines: EngineChild[] = [];
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'tidemark-stalled-')); });
afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.kill();
  rmSync(folder, { recursive: true });
});

const vpgOf = (vm: number): string => `e2f8a1d4-0000-4000-8000-${String(1 + Math.floor(vm / 10)).padStart(12, '0')}`;
const residentBytes = (engine: EngineChild): number => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${engine.pid}/status`, 'utf8'))?.[1]) * 1024;

async function protect(protecting: EngineChild, recovering: EngineChild): Promise<void> {
  const vms = Array.from({ length: VOLUMES }, (_, vm) => {
    const path = join(folder, `disk-${vm}.raw`);
    closeSync(openSync(path, 'w'));
    truncateSync(path, SIZE_BYTES);
    return { vmId: `vm-${vm}`, vpgId: vpgOf(vm), disk: { diskId: 'disk', exportName: `disk-${vm}`, path, sizeBytes: SIZE_BYTES } };
  });
  const recovery = join(folder, 'recovery');
  await Promise.all(vms.map(({ vmId, vpgId }) => recovering.call('putRecovery', {
    vpgId, vmId, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: [vmId] }], historyMs: 3_600_000,
    volumes: [{ diskId: 'disk', sizeBytes: SIZE_BYTES, mirrorPath: join(recovery, `${vmId}.raw`) }], journalFolder: join(recovery, vmId),
    datastore: { path: recovery, capacityBytes: 2 ** 40 },
  })));
  await protecting.call('applyDesiredState', {
    revision: 1, barriers: [],
    attachedVms: vms.map(({ vmId, disk }) => ({ vmId, disks: [disk] })),
    protections: vms.map(({ vmId, vpgId }) => ({ vpgId, vmId, epoch: 1, diskIds: ['disk'], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' })),
  });
  await allReplicate(protecting);
}

async function allReplicate(protecting: EngineChild): Promise<void> {
  for (;;) {
    const { protections } = await protecting.call<EngineStatus>('status');
    if (protections.length === VOLUMES && protections.every(({ state, lagBytes }) => state === 'replicating' && lagBytes === 0)) return;
    await delay(100);
  }
}

/** All clients at once, round by round. @returns the longest round: its writes share one process, so that the bound of one holds for all of them. */
async function writeRounds(clients: readonly NbdClient[], meter: WaitMeter, afterRound: () => void): Promise<number> {
  const payload = Buffer.alloc(WRITE_BYTES, 'a write that nobody acknowledges');
  let longestMs = 0;
  for (let written = 0; written < WRITTEN_BYTES; written += clients.length * WRITE_BYTES) {
    const start = meter.start();
    await Promise.all(clients.map((client, i) => client.write(((written + i) % 20) * WRITE_BYTES, payload)));
    longestMs = Math.max(longestMs, meter.waitedMs(start));
    afterRound();
  }
  return longestMs;
}

it(`${VOLUMES} volumes with a peer that stands still: memory stays within its budget, no write stalls, and everything arrives once it moves again`, async () => {
  for (const vraId of ['protecting', 'recovering']) engines.push(await EngineChild.start(vraId, folder, { captureBytesMax: CAPTURE_BYTES }));
  const [protecting, recovering] = engines;
  if (!protecting || !recovering) throw new Error('two engines');
  await protect(protecting, recovering);
  const clients = await Promise.all(Array.from({ length: 30 }, (_, i) => NbdClient.connect(protecting.socketPath, `disk-${i * 10}`)));
  const meter = new WaitMeter(() => [protecting.pid], pid);
  const restBytes = residentBytes(protecting);
  let largestBytes = 0;
  const longestMs: number[] = [];
  for (let stall = 0; stall < STALLS; stall += 1) {
    kill(recovering.pid, 'SIGSTOP');
    longestMs.push(await writeRounds(clients, meter, () => (largestBytes = Math.max(largestBytes, residentBytes(protecting)))));
    const { memory } = await protecting.call<EngineStatus>('status');
    expect(memory.protecting.usedBytes).toBeGreaterThan(CAPTURE_BYTES / 4); // it was filled
    expect(memory.protecting.usedBytes).toBeLessThanOrEqual(CAPTURE_BYTES);
    expect(memory.protecting.vpgs.reduce((sum, vpg) => sum + vpg.usedBytes, 0)).toBe(memory.protecting.usedBytes);
    kill(recovering.pid, 'SIGCONT');
    await allReplicate(protecting);
  }
  expect(longestMs.filter((ms) => ms > WRITE_MS_MAX).length > LATE_STALLS_MAX ? longestMs : []).toEqual([]);
  expect(largestBytes - restBytes).toBeLessThan(CAPTURE_BYTES / 0.9 + BASE_BYTES);
  expect((await recovering.call<EngineStatus>('status')).memory.recovering.usedBytes).toBeLessThanOrEqual((CAPTURE_BYTES / 0.9) * 0.75);
  for (const client of clients) client.close();
}, 240_000 * SHARE);
