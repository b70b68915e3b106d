import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { VraEngine, type DesiredState, type ProtectionSpec, type ThrottleSpec, type VraAddress } from '@tidemark/engine-host';
import { LinkProxy, type LinkShape } from '../net/link-proxy.js';
import { quietLog, until } from './rig.js';

/** What leaves a protecting VRA, measured on real sockets: the site's limit, priorities, several peers. */
let folder: string;
let closers: (() => Promise<unknown>)[];
let protecting: VraEngine;
let specs: ProtectionSpec[];
let disks: Map<string, number>;
let revision: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-outbound-'));
  closers = [];
  specs = [];
  disks = new Map();
  revision = 0;
  protecting = await vra('p');
});
afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await rm(folder, { recursive: true, force: true });
});

async function vra(vraId: string): Promise<VraEngine> {
  const engine = await VraEngine.start({
    vraId, address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, `${vraId}.sock`), stateFolder: join(folder, `${vraId}-state`), captureBytesMax: 64 * MiB, log: quietLog,
  });
  closers.push(() => engine.close());
  return engine;
}

/** A recovering VRA behind a link of that shape, and what the protecting one is told of it. */
async function recovering(vraId: string, shape: LinkShape = {}): Promise<{ readonly engine: VraEngine; readonly address: VraAddress; readonly proxy: LinkProxy }> {
  const engine = await vra(vraId);
  const proxy = await LinkProxy.listen({ target: { address: '127.0.0.1', port: engine.address.dataPort }, ...shape });
  closers.push(() => proxy.close());
  return { engine, proxy, address: { ...engine.address, dataPort: proxy.port } };
}

interface Protected {
  readonly priority?: ProtectionSpec['priority'];
  readonly bytes: number;
  readonly isCompressed?: boolean;
}

/** A VM with a disk of random bytes whose initial sync begins with the next {@link apply}. */
async function protectVm(vmId: string, to: { readonly engine: VraEngine; readonly address: VraAddress }, { priority = 'medium', bytes, isCompressed = false }: Protected): Promise<void> {
  const vpgId = randomUUID();
  await writeFile(join(folder, vmId), randomBytes(bytes));
  const home = join(folder, `${vmId}-recovery`);
  await mkdir(home);
  await to.engine.putRecovery({
    vpgId, vmId, epoch: 1, recoverers: [{ vra: to.engine.address, vmIds: [vmId] }], volumes: [{ diskId: 'd', sizeBytes: bytes, mirrorPath: join(home, 'mirror.raw') }],
    journalFolder: join(home, 'journal'), datastore: { path: home, capacityBytes: 10_000 * MiB }, historyMs: 3_600_000,
  });
  disks.set(vmId, bytes);
  specs.push({ vpgId, vmId, epoch: 1, diskIds: ['d'], recoveringVra: to.address, isCompressed, priority });
}

async function apply(throttle?: ThrottleSpec): Promise<void> {
  revision += 1;
  const desired: DesiredState = {
    revision,
    attachedVms: [...disks].map(([vmId, sizeBytes]) => ({ vmId, disks: [{ diskId: 'd', exportName: vmId, path: join(folder, vmId), sizeBytes }] })),
    protections: specs,
    barriers: [],
    ...(throttle ? { throttle } : {}),
  };
  await protecting.applyDesiredState(desired);
}

const statusOf = (vmId: string): ReturnType<VraEngine['status']>['protections'][number] => {
  const status = protecting.status().protections.find((each) => each.vmId === vmId);
  if (!status) throw new Error(`no ${vmId}`);
  return status;
};
const isDone = (vmId: string): boolean => statusOf(vmId).state === 'replicating';
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const limit = (bytesPerSecond: number, share = 1): ThrottleSpec => ({ bytesPerSecond, window: null, utcOffsetMinutes: 0, share });

describe('the limit of a site', () => {
  it('is what leaves for all peers together, within 5 %, syncs included; and the status says so', async () => {
    const [first, second] = [await recovering('r1'), await recovering('r2')];
    await protectVm('one', first, { bytes: 48 * MiB });
    await protectVm('two', second, { bytes: 48 * MiB });
    await apply(limit(10_000_000, 0.5));
    const sent = (): number => first.proxy.bytes('toTarget') + second.proxy.bytes('toTarget');
    await until('the first bytes', () => sent() > 500_000);
    const [fromBytes, fromMs] = [sent(), performance.now()];
    await sleep(5000);
    const bytesPerSecond = ((sent() - fromBytes) * 1000) / (performance.now() - fromMs);
    expect(bytesPerSecond).toBeGreaterThan(0.95 * 5_000_000);
    expect(bytesPerSecond).toBeLessThan(1.05 * 5_000_000);
    expect(protecting.status().outbound).toMatchObject({ bytesPerSecondMax: 5_000_000, isThrottled: true });
    // Both peers get their part.
    expect(Math.min(first.proxy.bytes('toTarget'), second.proxy.bytes('toTarget'))).toBeGreaterThan(0.3 * sent());
    await apply();
    await until('the syncs to end without the limit', () => isDone('one') && isDone('two'));
    expect(protecting.status().outbound.bytesPerSecondMax).toBeNull();
  });
});

describe('priority on a full link', () => {
  const SLOW: LinkShape = { bytesPerSecond: 8_000_000, oneWayMs: 10 };

  it('gives a high-priority sync nine times what a low one gets at most, which still goes on', async () => {
    const peer = await recovering('r', SLOW);
    await protectVm('low', peer, { priority: 'low', bytes: 24 * MiB });
    await protectVm('high', peer, { priority: 'high', bytes: 16 * MiB });
    await apply();
    await until('the high one to end', () => isDone('high'));
    const share = statusOf('low').sentBytes / statusOf('high').sentBytes;
    expect(share).toBeGreaterThan(1 / 100);
    expect(share).toBeLessThan(1 / 4.5);
  });

  it('lets a small high-priority VM through while a low one syncs at full rate', async () => {
    const peer = await recovering('r', SLOW);
    await protectVm('low', peer, { priority: 'low', bytes: 48 * MiB });
    await apply();
    await until('a full link', () => statusOf('low').sentBytes > 6 * MiB);
    await protectVm('high', peer, { priority: 'high', bytes: MiB / 2 });
    const beganMs = performance.now();
    await apply();
    await until('the small one', () => isDone('high'));
    // Opening (a round trip), half a MiB at nine tenths of the link (75 ms), its ack; behind the low one it would have taken 5 s.
    expect(performance.now() - beganMs).toBeLessThan(1200);
    expect(isDone('low')).toBe(false);
  });
});

describe('several recovering VRAs', () => {
  it('are independent: one that is slow, or swallows everything, does not slow the others', async () => {
    const slow = await recovering('r1', { bytesPerSecond: 300_000, oneWayMs: 50 });
    const fast = await recovering('r2');
    const stuck = await recovering('r3');
    await protectVm('to-slow', slow, { priority: 'high', bytes: 16 * MiB });
    await protectVm('to-stuck', stuck, { priority: 'high', bytes: 16 * MiB });
    await apply();
    await until('bytes to both', () => statusOf('to-slow').sentBytes > 100_000 && statusOf('to-stuck').sentBytes > 100_000);
    stuck.proxy.blackhole('toTarget', true);
    await protectVm('to-fast', fast, { priority: 'low', bytes: 16 * MiB });
    const beganMs = performance.now();
    await apply();
    await until('the fast one', () => isDone('to-fast'));
    expect(performance.now() - beganMs).toBeLessThan(4000);
    expect(isDone('to-slow')).toBe(false);
    stuck.proxy.blackhole('toTarget', false);
  });
});
