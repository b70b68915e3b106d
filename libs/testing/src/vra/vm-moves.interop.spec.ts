import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { BarrierSpec, DesiredState, EngineStatus } from '@tidemark/engine-host';
import { EngineChild } from './engine-child.js';
import { SITE_ID } from './test-site.js';
import { NbdClient } from './nbd-client.js';
import { qemuIo, until, VraRig } from './rig.js';

const VM = { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [8 * MiB] } as const;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const newer = async (rig: VraRig): Promise<number> => {
  const before = Math.max(0, ...rig.listed());
  return await until('two new checkpoints', () => rig.listed().filter((id) => id > before)[1]);
};

describe('a VM that moves to another host of its site', () => {
  it('is captured there as soon as the former VRA has let go, to and fro; every checkpoint recovers the bytes of its time', async () => {
    const rig = await VraRig.start({ protectingCount: 2, recoveringCount: 1, vms: [VM], intervalMs: 200 });
    cleanups.push(() => rig.close());
    const guest = (host: number): string => rig.uri('p', host, 'vm-1-0');
    await qemuIo(guest(0), 'write -P 0x11 0 1M');
    await rig.protect();
    const images = new Map([[await newer(rig), await rig.image(guest(0))]]);
    for (const [round, to] of [1, 0, 1].entries()) {
      const from = 1 - to;
      await qemuIo(guest(from), `write -P ${String(0x20 + round)} ${String(round)}M 1M`);
      rig.move('vm-1', to);
      await rig.apply(to, { isProtected: true });
      // Told first, and not the owner: the disk is still the other one's, which goes on serving and capturing.
      expect(rig.protecting[to]?.status().attachedVmIds).toEqual([]);
      expect(rig.protecting[to]?.status().protections[0]).toMatchObject({ state: 'failed', detail: expect.stringContaining('in use by another process') });
      await qemuIo(guest(from), 'write -P 0x55 4M 64k');
      await rig.apply(from, { isProtected: true });
      await until('the disk is served by the new host', () => rig.protecting[to]?.exportNames.includes('vm-1-0'), 2000);
      const { sync } = await until('its stream', () => rig.protecting[to]?.status().protections.find(({ state }) => state === 'deltaSync' || state === 'replicating'));
      if (sync) expect(sync.reason).toBe(`VM Moved: it ran under VRA p${String(from)}`);
      await qemuIo(guest(to), 'read -P 0x55 4M 64k', `write -P ${String(0x30 + round)} 5M 256k`);
      const checkpointId = await newer(rig);
      images.set(checkpointId, await rig.image(guest(to)));
    }
    for (const [checkpointId, image] of images) {
      expect(rig.listed()).toContain(checkpointId);
      await rig.openViews(checkpointId);
      expect((await rig.image(rig.uri('r', 0, `vm-1-0-at-${String(checkpointId)}`))).equals(image)).toBe(true);
    }
  });

  it('whose former VRA never hears of it is not served twice, and is taken over when that process is killed in the middle', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-moves-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    const vras = await Promise.all(['p0', 'p1', 'r0'].map((name) => EngineChild.start(name, folder)));
    cleanups.push(() => Promise.all(vras.map((vra) => vra.kill())));
    const [first, second, recovering] = vras as [EngineChild, EngineChild, EngineChild];
    const path = join(folder, 'disk.raw');
    const disk = await open(path, 'w');
    await disk.truncate(8 * MiB);
    await disk.close();
    const site = new Site(folder, recovering);
    const address = recovering.address;
    await recovering.call('putRecovery', {
      vpgId: VPG, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: address, vmIds: ['vm'] }], volumes: [{ diskId: 'd', sizeBytes: 8 * MiB, mirrorPath: join(folder, 'mirror') }],
      journalFolder: join(folder, 'journal'), datastore: { path: folder, capacityBytes: 1e12 }, historyMs: 3_600_000,
    });
    await site.runOn(first, [first, second]);
    const guest = await NbdClient.connect(first.socketPath, 'disk');
    await guest.write(0, Buffer.alloc(MiB, 0x41));
    const before = await site.checkpoint();
    await guest.write(2 * MiB, Buffer.alloc(MiB, 0x42));
    // The new host is told, the old one is not (its network is gone): it stays the only writer for as long as it lives.
    await site.runOn(second, [second]);
    await guest.write(4 * MiB, Buffer.alloc(MiB, 0x43));
    expect((await second.call<EngineStatus>('status')).attachedVmIds).toEqual([]);
    await expect(NbdClient.connect(second.socketPath, 'disk')).rejects.toThrow('ended');
    const killed = first.kill();
    guest.close();
    await killed;
    const moved = await connected(second.socketPath);
    await moved.write(6 * MiB, Buffer.alloc(64 * 1024, 0x44));
    const after = await site.checkpoint();
    const image = await readFile(path);
    await first.startAgain(); // by what it was told last the VM is its own; the file is not
    expect((await first.call<EngineStatus>('status')).attachedVmIds).toEqual([]);
    await moved.write(7 * MiB, Buffer.alloc(64 * 1024, 0x45));
    const last = await site.checkpoint();
    expect((await site.imageAt(after)).equals(image)).toBe(true);
    expect((await site.imageAt(last)).equals(await readFile(path))).toBe(true);
    const old = await site.imageAt(before);
    expect([old[0], old[MiB - 1], old[4 * MiB], old[6 * MiB]]).toEqual([0x41, 0x41, 0, 0]);
    moved.close();
  }, 60_000);
});

const VPG = '11111111-2222-4333-8444-555555555555';

/** What a ZVM would tell, about one VM with one disk. */
class Site {
  #revision = 0;
  #version = 0;

  constructor(
    private readonly folder: string,
    private readonly recovering: EngineChild,
  ) {}

  async runOn(host: EngineChild, told: readonly EngineChild[]): Promise<void> {
    this.#revision += 1;
    this.#version += 1;
    const barriers: BarrierSpec[] = [{ vpgId: VPG, version: this.#version, epoch: 1, intervalMs: 200, members: [{ vra: host.address, vmIds: ['vm'] }] }];
    const here: DesiredState = {
      revision: this.#revision,
      attachedVms: [{ vmId: 'vm', disks: [{ diskId: 'd', exportName: 'disk', path: join(this.folder, 'disk.raw'), sizeBytes: 8 * MiB }] }],
      protections: [{ vpgId: VPG, vmId: 'vm', epoch: 1, diskIds: ['d'], recoveringVra: this.recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' }],
      barriers,
    };
    for (const vra of told) await vra.call('applyDesiredState', vra === host ? here : { ...here, attachedVms: [], protections: [], barriers: [] });
  }

  async #held(): Promise<number[]> {
    const { held } = await this.recovering.call<{ held: { checkpointId: number }[] }>('listCheckpoints', { vpgId: VPG, vmId: 'vm' });
    return held.map(({ checkpointId }) => checkpointId);
  }

  /** One whose marker was placed after this call began. */
  async checkpoint(): Promise<number> {
    const before = Math.max(0, ...(await this.#held()));
    for (let tries = 0; tries < 400; tries += 1) {
      const [, second] = (await this.#held()).filter((id) => id > before);
      if (second !== undefined) return second;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('no new checkpoint within 20 s');
  }

  async imageAt(checkpointId: number): Promise<Buffer> {
    const exportName = `at-${String(checkpointId)}`;
    const viewId = `00000000-0000-4000-8000-${String(checkpointId).padStart(12, '0')}`;
    await this.recovering.call('openView', { viewId, vpgId: VPG, vmId: 'vm', checkpointId, purpose: 'test', volumes: [{ diskId: 'd', exportName }] });
    const client = await NbdClient.connect(this.recovering.socketPath, exportName);
    const parts: Buffer[] = [];
    for (let at = 0; at < 8 * MiB; at += MiB) parts.push(await client.read(at, MiB));
    client.close();
    return Buffer.concat(parts);
  }
}

async function connected(socketPath: string): Promise<NbdClient> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await NbdClient.connect(socketPath, 'disk');
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
