import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { VraEngine, type RecoverySpec } from '@tidemark/engine-host';
import { NbdClient } from './nbd-client.js';
import { qemuIo, quietLog, until } from './rig.js';
import { SITE_ID, TestSite } from './test-site.js';

interface Disk {
  readonly diskId: string;
  readonly name: string;
  readonly MiB: number;
  /** In the protection; the VM has none of it then. */
  readonly isRemoved?: boolean;
}

const VPG = randomUUID();
const REF = { vpgId: VPG, vmId: 'vm' };

/** One VM on one VRA, recovered by another one; what is said of disks to each of the two is the test's. */
class Site {
  protecting!: VraEngine;
  recovering!: VraEngine;
  #revision = 0;

  constructor(private readonly folder: string) {}

  async start(): Promise<void> {
    await mkdir(join(this.folder, 'disks'));
    this.protecting = await this.#vra('p');
    this.recovering = await this.#vra('r');
  }

  async #vra(vraId: string, ports?: { readonly controlPort: number; readonly dataPort: number }): Promise<VraEngine> {
    return await VraEngine.start({
      vraId, transport: await (await TestSite.in(this.folder)).transport(vraId), address: '127.0.0.1', controlPort: 0, dataPort: 0, ...ports, nbdSocketPath: join(this.folder, `${vraId}.sock`), stateFolder: join(this.folder, `${vraId}-state`),
      captureBytesMax: 64 * MiB, log: quietLog,
    });
  }

  async restartRecovering(): Promise<void> {
    const { controlPort, dataPort } = this.recovering.address;
    await this.recovering.close();
    this.recovering = await this.#vra('r', { controlPort, dataPort });
  }

  path(name: string): string {
    return join(this.folder, 'disks', name);
  }

  mirror(name: string): string {
    return join(this.folder, 'recovery', name);
  }

  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${join(this.folder, 'p.sock')}`;
  }

  /** The hypervisor makes or grows the file. */
  async makeDisk({ name, MiB: size }: Disk): Promise<void> {
    const file = await open(this.path(name), 'a');
    await file.truncate(size * MiB);
    await file.close();
  }

  async attach(disks: readonly Disk[], volumes: readonly Disk[]): Promise<void> {
    this.#revision += 1;
    await this.protecting.applyDesiredState({
      revision: this.#revision,
      attachedVms: [{ vmId: 'vm', disks: disks.map(({ diskId, name, MiB: size }) => ({ diskId, exportName: name, path: this.path(name), sizeBytes: size * MiB })) }],
      protections: volumes.length === 0 ? [] : [{
        ...REF, epoch: 1, diskIds: volumes.map(({ diskId, isRemoved }) => (isRemoved ? '' : diskId)), volumeBytes: volumes.map(({ MiB: size, isRemoved }) => (isRemoved ? 0 : size * MiB)),
        recoveringVra: this.recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium',
      }],
      barriers: volumes.length === 0 ? [] : [{ vpgId: VPG, version: 1, epoch: 1, intervalMs: 150, members: [{ vra: this.protecting.address, vmIds: ['vm'] }] }],
    });
  }

  async recover(volumes: readonly Disk[], historyMs = 3_600_000): Promise<void> {
    const spec: RecoverySpec = {
      ...REF, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: this.recovering.address, vmIds: ['vm'] }], journalFolder: join(this.folder, 'recovery', 'journal'),
      volumes: volumes.map(({ diskId, name, MiB: size, isRemoved }) => ({ diskId, sizeBytes: size * MiB, mirrorPath: this.mirror(name), ...(isRemoved ? { isRemoved } : {}) })),
      datastore: { path: join(this.folder, 'recovery'), capacityBytes: 1e12 }, historyMs,
    };
    await this.recovering.putRecovery(spec);
  }

  held(): number[] {
    return this.recovering.listCheckpoints(REF).held.map(({ checkpointId }) => checkpointId);
  }

  async checkpoint(): Promise<number> {
    const before = Math.max(0, ...this.held());
    return await until('a new checkpoint', () => this.held().filter((id) => id > before)[1]);
  }

  disksAt(checkpointId: number): string[] {
    return this.recovering.checkpointDisks({ ...REF, checkpointId }).map(({ diskId, sizeBytes }) => `${diskId} ${String(sizeBytes / MiB)} MiB`);
  }

  /** A byte per MiB of each disk of the checkpoint. */
  async bytesAt(checkpointId: number): Promise<string[]> {
    const viewId = randomUUID();
    const disks = this.recovering.checkpointDisks({ ...REF, checkpointId });
    const volumes = disks.map(({ diskId }, index) => ({ diskId, exportName: `${viewId}-${String(index)}` }));
    await this.recovering.openView({ viewId, ...REF, checkpointId, purpose: 'test', volumes });
    const found: string[] = [];
    for (const [index, { sizeBytes }] of disks.entries()) {
      const client = await NbdClient.connect(join(this.folder, 'r.sock'), `${viewId}-${String(index)}`);
      const bytes: string[] = [];
      for (let at = 0; at < sizeBytes; at += MiB) bytes.push((await client.read(at, 512)).subarray(0, 1).toString('hex'));
      await expect(client.read(sizeBytes, 512)).rejects.toThrow();
      found.push(bytes.join(' '));
      client.close();
    }
    await this.recovering.closeView(viewId);
    return found;
  }

  async close(): Promise<void> {
    await this.protecting.close();
    await this.recovering.close();
  }
}

let folder: string;
let site: Site;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-volumes-'));
  site = new Site(folder);
  await site.start();
});
afterEach(async () => {
  await site.close();
  await rm(folder, { recursive: true });
});

/** A VM of one disk, written once, and a checkpoint of that. */
async function protectSystem(): Promise<{ readonly system: Disk; readonly one: number }> {
  const system: Disk = { diskId: 'd0', name: 'system', MiB: 2 };
  await site.makeDisk(system);
  await site.recover([system]);
  await site.attach([system], [system]);
  await qemuIo(site.uri('system'), 'write -P 0x11 0 2M');
  return { system, one: await site.checkpoint() };
}

describe('disks that come, grow and go under a protected VM', () => {
  it('each checkpoint has the disks of its time, in the size and with the bytes of its time', async () => {
    const { system, one } = await protectSystem();

    // The hypervisor adds one disk and grows the other; the guest uses both before anybody else knows.
    const system4 = { ...system, MiB: 4 };
    const data: Disk = { diskId: 'd1', name: 'data', MiB: 3 };
    await site.makeDisk(system4);
    await site.makeDisk(data);
    await site.attach([system4, data], [system]);
    await qemuIo(site.uri('data'), 'write -P 0x21 0 1M');
    await qemuIo(site.uri('system'), 'write -P 0x12 1M 2M');
    const two = await site.checkpoint();
    expect(site.protecting.status().protections[0]).toMatchObject({ state: 'replicating', sync: null });

    // The recovery side first; the stream that is open goes on as it is.
    await site.recover([system4, data]);
    const three = await site.checkpoint();
    await site.attach([system4, data], [system4, data]);
    await until('the stream has the new list', () => site.recovering.status().recoveries[0]?.state === 'receiving' && site.protecting.status().protections[0]?.state === 'replicating');
    await qemuIo(site.uri('data'), 'write -P 0x22 1M 1M');
    await qemuIo(site.uri('system'), 'write -P 0x13 3M 1M');
    const four = await site.checkpoint();

    // Removed, and another disk gets its id: that is another volume.
    const gone = { ...data, isRemoved: true };
    const other: Disk = { diskId: 'd1', name: 'other', MiB: 1 };
    await site.makeDisk(other);
    await site.attach([system4, other], [system4, { ...data, diskId: '' }]);
    await qemuIo(site.uri('other'), 'write -P 0x31 0 1M');
    await site.recover([system4, gone, other]);
    await site.attach([system4, other], [system4, gone, other]);
    await until('the stream has the third list', () => site.disksAt(site.held().at(-1) ?? 0).join() === 'd0 4 MiB,d1 1 MiB');
    const five = await site.checkpoint();

    await qemuIo(site.uri('system'), 'write -P 0x99 0 4M');
    for (const again of [() => Promise.resolve(), () => site.restartRecovering()]) {
      await again();
      expect([one, two, three, four, five].map((id) => site.disksAt(id))).toEqual([['d0 2 MiB'], ['d0 2 MiB'], ['d0 2 MiB'], ['d0 4 MiB', 'd1 3 MiB'], ['d0 4 MiB', 'd1 1 MiB']]);
      expect(await site.bytesAt(one)).toEqual(['11 11']);
      expect(await site.bytesAt(two)).toEqual(['11 12']);
      expect(await site.bytesAt(three)).toEqual(['11 12']);
      expect(await site.bytesAt(four)).toEqual(['11 12 12 13', '21 22 00']);
      expect(await site.bytesAt(five)).toEqual(['11 12 12 13', '31']);
    }
    await expect(site.recover([system4])).rejects.toThrow('keeps its place');
    await expect(site.recover([system4, data, other])).rejects.toThrow('cannot come back');

    // When the last checkpoint that has it is retired, the mirror of the removed disk goes; nothing else does.
    await site.recover([system4, gone, other], 1000);
    await until('the mirror of the removed disk is deleted', () => !existsSync(site.mirror('data')), 30_000);
    const last = await site.checkpoint();
    expect(await site.bytesAt(last)).toEqual(['99 99 99 99', '31']);
    await site.restartRecovering();
    expect(await site.bytesAt(await site.checkpoint())).toEqual(['99 99 99 99', '31']);
  }, 60_000);

  it('a disk whose file is another one from now on is compared with its mirror, and goes on; older checkpoints keep the bytes of before', async () => {
    const { system, one } = await protectSystem();

    const moved = { ...system, name: 'elsewhere' };
    await writeFile(site.path('elsewhere'), Buffer.concat([Buffer.alloc(MiB, 0x77), Buffer.alloc(MiB, 0x11)]));
    await site.attach([moved], [system]);
    await qemuIo(site.uri('elsewhere'), 'write -P 0x12 1M 1M');
    await until('it replicates', () => site.protecting.status().protections[0]?.state === 'replicating');
    expect([await site.bytesAt(await site.checkpoint()), await site.bytesAt(one)]).toEqual([['77 12'], ['11 11']]);
  }, 60_000);

  it('a stream with a list that the recovery side does not know yet is refused, and opens by itself when it does', async () => {
    const system: Disk = { diskId: 'd0', name: 'system', MiB: 2 };
    const data: Disk = { diskId: 'd1', name: 'data', MiB: 1 };
    await site.makeDisk(system);
    await site.makeDisk(data);
    await site.recover([system]);
    await site.attach([system, data], [system]);
    await qemuIo(site.uri('system'), 'write -P 0x11 0 2M');
    const one = await site.checkpoint();
    await site.attach([system, data], [system, data]);
    await until('it is refused', () => site.protecting.status().protections[0]?.state === 'refused');
    expect(site.protecting.status().protections[0]?.detail).toContain('volumes of 2097152, 1048576 bytes');
    await qemuIo(site.uri('system'), 'write -P 0x12 0 1M');
    await site.recover([system, data]);
    const two = await site.checkpoint();
    expect([await site.bytesAt(one), await site.bytesAt(two)]).toEqual([['11 11'], ['12 11', '00']]);
    // Nothing but what is new or was written was sent again: the sparse disk's mirror is sparse.
    expect((await stat(site.mirror('data'))).blocks).toBe(0);
  }, 60_000);
});
