import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { VraEngine, type DesiredState, type ProtectionSpec, type ThrottleSpec, type VraAddress } from '@tidemark/engine-host';
import { LinkProxy, type LinkShape } from '../net/link-proxy.js';
import { quietLog, until } from './rig.js';
import { SITE_ID, TestSite } from './test-site.js';

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
    vraId, transport: await (await TestSite.in(folder)).transport(vraId), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, `${vraId}.sock`), stateFolder: join(folder, `${vraId}-state`), captureBytesMax: 64 * MiB, log: quietLog,
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
    vpgId, vmId, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: to.engine.address, vmIds: [vmId] }], volumes: [{ diskId: 'd', sizeBytes: bytes, mirrorPath: join(home, 'mirror.raw') }],
    journalFolder: join(home, 'journal'), datastore: { path: home, capacityBytes: 10_000 * MiB }, historyMs: 3_600_000,
  });
  disks.set(vmId, bytes);
  specs.push({ vpgId, vmId, epoch: 1, diskIds: ['d'], recoveringVra: to.address, recoverySiteId: SITE_ID, isCompressed, priority });
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
/** Bytes of the protections' frames that the recovering VRA has read, at the first moment when `isSo`. */
async function receivedWhen(engine: VraEngine, isSo: (received: Record<'high' | 'low', number>) => boolean): Promise<Record<'high' | 'low', number>> {
  const received = (): Record<'high' | 'low', number> => {
    const of = (vmId: string): number => engine.status().recoveries.find((each) => each.vmId === vmId)?.receivedBytes ?? 0;
    return { high: of('high'), low: of('low') };
  };
  return await until('bytes at the recovery site', () => {
    const now = received();
    return isSo(now) && now;
  });
}

const isDone = (vmId: string): boolean => statusOf(vmId).state === 'replicating';
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const limit = (bytesPerSecond: number, share = 1): ThrottleSpec => ({ bytesPerSecond, window: null, utcOffsetMinutes: 0, share });

describe('the limit of a site', () => {
  it('is what leaves for all peers together, within 5 %, syncs included; and the status says so', async () => {
    const [first, second] = [await recovering('r1'), await recovering('r2')];
    await protectVm('one', first, { bytes: 48 * MiB });
    await protectVm('two', second, { bytes: 48 * MiB });
    const sent = (): number => first.proxy.bytes('toTarget') + second.proxy.bytes('toTarget');
    const [zeroBytes, zeroMs] = [sent(), performance.now()];
    await apply(limit(10_000_000, 0.5));
    await until('the first bytes', () => sent() > 500_000);
    // Never more, whatever the machine does: the rate, one frame, and one part in fifty for headers and pings. A machine that is busy may send less for a while.
    const windows: number[] = [];
    while (windows.length < 6 && !windows.some((rate) => Math.abs(rate / 5_000_000 - 1) < 0.05)) {
      const [fromBytes, fromMs] = [sent(), performance.now()];
      await sleep(2500);
      const [toBytes, toMs] = [sent(), performance.now()];
      windows.push(((toBytes - fromBytes) * 1000) / (toMs - fromMs));
      expect(toBytes - zeroBytes).toBeLessThan(1.02 * 5000 * (toMs - zeroMs) + 600_000);
    }
    expect(Math.abs((windows.at(-1) ?? 0) / 5_000_000 - 1)).toBeLessThan(0.05);
    expect(protecting.status().outbound.bytesPerSecondMax).toBe(5_000_000);
    await until('the limit to be seen', () => protecting.status().outbound.isThrottled);
    // Both peers get their part.
    expect(Math.min(first.proxy.bytes('toTarget'), second.proxy.bytes('toTarget'))).toBeGreaterThan(0.3 * sent());
    await apply();
    await until('the syncs to end without the limit', () => isDone('one') && isDone('two'));
    expect(protecting.status().outbound.bytesPerSecondMax).toBeNull();
  });
});

describe('priority on a full link', () => {
  const SLOW: LinkShape = { bytesPerSecond: 8_000_000, oneWayMs: 10 };

  it('divides it 9 : 1 among a high and a low sync', async () => {
    const peer = await recovering('r', SLOW);
    await protectVm('low', peer, { priority: 'low', bytes: 24 * MiB });
    await protectVm('high', peer, { priority: 'high', bytes: 16 * MiB });
    await apply();
    // Both have much more to send from the first to the second look, and what arrives says who was let onto the link.
    const first = await receivedWhen(peer.engine, ({ high, low }) => high > 2 * MiB && low > 0);
    const last = await receivedWhen(peer.engine, ({ high }) => high > first.high + 10 * MiB);
    expect(last.high).toBeLessThan(15 * MiB);
    const share = (last.low - first.low) / (last.high - first.high);
    // 40 frames of one to four or five of the other: two frames more or less. Equal weights give 1; a low one that only gets what is left over, 0.
    expect(share).toBeGreaterThan(0.05);
    expect(share).toBeLessThan(0.18);
  });

  it('lets a small high-priority VM through while a low one syncs at full rate', async () => {
    const peer = await recovering('r', SLOW);
    await protectVm('low', peer, { priority: 'low', bytes: 48 * MiB });
    await apply();
    await until('a full link', () => statusOf('low').sentBytes > 6 * MiB);
    await protectVm('high', peer, { priority: 'high', bytes: MiB / 2 });
    await apply();
    const first = await receivedWhen(peer.engine, () => statusOf('high').state === 'initialSync');
    const last = await receivedWhen(peer.engine, ({ high }) => high >= MiB / 2);
    // What is on the link already (some 50 ms of it), a frame or two in turn, and what passes while a busy machine looks elsewhere; behind the low one it would be 40 MiB.
    expect(last.low - first.low).toBeLessThan(4 * MiB);
    await until('the small one', () => isDone('high'));
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
    await apply();
    // The slow one needs a minute, the stuck one for ever.
    await until('the fast one', () => isDone('to-fast'));
    expect(isDone('to-slow')).toBe(false);
    stuck.proxy.blackhole('toTarget', false);
  });
});
