import { randomUUID } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { VraEngine } from '@tidemark/engine-host';
import { NbdClient } from './nbd-client.js';
import { qemuIo, quietLog, until } from './rig.js';
import { SITE_ID, TestSite } from './test-site.js';

const REF = { vpgId: randomUUID(), vmId: 'vm' };
const DISKS = ['system', 'swap'];
const SIZE = 4 * MiB;

let folder: string;
let protecting: VraEngine;
let recovering: VraEngine;
let revision = 0;

const vra = async (vraId: string): Promise<VraEngine> => await VraEngine.start({
  vraId, transport: await (await TestSite.in(folder)).transport(vraId), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, `${vraId}.sock`), stateFolder: join(folder, `${vraId}-state`),
  captureBytesMax: 64 * MiB, log: quietLog,
});

const uri = (name: string): string => `nbd+unix:///${name}?socket=${join(folder, 'p.sock')}`;

async function protect({ isProtected }: { readonly isProtected: boolean }): Promise<void> {
  revision += 1;
  await protecting.applyDesiredState({
    revision,
    attachedVms: [{ vmId: 'vm', disks: DISKS.map((name) => ({ diskId: name, exportName: name, path: join(folder, name), sizeBytes: SIZE })) }],
    protections: isProtected ? [{ ...REF, epoch: 1, diskIds: DISKS, volumeBytes: DISKS.map(() => SIZE), tempVolumes: [1], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' }] : [],
    barriers: isProtected ? [{ vpgId: REF.vpgId, version: 1, epoch: 1, intervalMs: 150, members: [{ vra: protecting.address, vmIds: ['vm'] }] }] : [],
  });
}

const held = (): number[] => recovering.listCheckpoints(REF).held.map(({ checkpointId }) => checkpointId);

async function checkpoint(): Promise<number> {
  const before = Math.max(0, ...held());
  return await until('a new checkpoint', () => held().filter((id) => id > before)[1]);
}

/** Bytes of the disks at the start of each MiB. */
async function bytesAt(checkpointId: number): Promise<string[]> {
  const viewId = randomUUID();
  const volumes = DISKS.map((diskId) => ({ diskId, exportName: `${viewId}-${diskId}` }));
  await recovering.openView({ viewId, ...REF, checkpointId, purpose: 'test', volumes });
  const found: string[] = [];
  for (const { exportName } of volumes) {
    const client = await NbdClient.connect(join(folder, 'r.sock'), exportName);
    const bytes: string[] = [];
    for (let at = 0; at < SIZE; at += MiB) bytes.push((await client.read(at, 512)).subarray(0, 1).toString('hex'));
    found.push(bytes.join(' '));
    client.close();
  }
  await recovering.closeView(viewId);
  return found;
}

const streamOf = () => protecting.status().protections[0];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-temp-data-'));
  for (const name of DISKS) {
    const file = await open(join(folder, name), 'w');
    await file.truncate(SIZE);
    await file.close();
  }
  protecting = await vra('p');
  recovering = await vra('r');
  await recovering.putRecovery({
    ...REF, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: ['vm'] }], journalFolder: join(folder, 'recovery', 'journal'), historyMs: 3_600_000,
    volumes: DISKS.map((diskId) => ({ diskId, sizeBytes: SIZE, mirrorPath: join(folder, 'recovery', diskId) })), datastore: { path: join(folder, 'recovery'), capacityBytes: 1e12 },
  });
});

afterEach(async () => {
  await protecting.close();
  await recovering.close();
  await rm(folder, { recursive: true });
});

describe('a volume with temp data', () => {
  it('travels once; every checkpoint has the first copy, also after a crash of the protecting VRA and a forced sync', async () => {
    await protect({ isProtected: false });
    for (const name of DISKS) await qemuIo(uri(name), 'write -P 0x11 0 4M');
    await protect({ isProtected: true });
    const one = await checkpoint();
    const before = await until('replicating', () => (streamOf()?.state === 'replicating' ? streamOf() : undefined));

    // 64 MiB of paging; the other volume's 1 MiB is all that travels.
    for (let round = 0; round < 16; round += 1) await qemuIo(uri('swap'), `write -P ${String(0x20 + round)} 0 4M`);
    await qemuIo(uri('system'), 'write -P 0x12 0 1M');
    const two = await checkpoint();
    const after = streamOf();
    expect((after?.sentBytes ?? 0) - before.sentBytes).toBeGreaterThan(MiB);
    expect((after?.sentBytes ?? 0) - before.sentBytes).toBeLessThan(2 * MiB);
    expect(after?.lagBytes).toBeLessThan(MiB);

    await protecting.close();
    protecting = await vra('p');
    await protect({ isProtected: true });
    await until('replicating again', () => streamOf()?.state === 'replicating');
    await qemuIo(uri('system'), 'write -P 0x13 1M 1M');
    const three = await checkpoint();
    protecting.forceSync(REF);
    await until('the forced sync has ended', () => streamOf()?.state === 'replicating' && streamOf()?.sync === null);
    const four = await checkpoint();

    const copy = '11 11 11 11';
    expect(await bytesAt(one)).toEqual([copy, copy]);
    expect(await bytesAt(two)).toEqual(['12 11 11 11', copy]);
    expect(await bytesAt(three)).toEqual(['12 13 11 11', copy]);
    expect(await bytesAt(four)).toEqual(['12 13 11 11', copy]);
  }, 60_000);
});
