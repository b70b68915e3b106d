import { appendFile, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createHypervisorManager, DatastoreUsage, HypervisorError, type HypervisorSeed, readStoredInventory, SimulatedHypervisor, type VmSpec } from '../index.js';
import { describeHypervisorManager } from '../testing/index.js';
import { makeTestingSite, type TestingSite } from './testing-site.js';

const MiB = 1024 * 1024;

describeHypervisorManager('simulated, in process', async () => {
  const site = await makeTestingSite();
  return {
    manager: site.hypervisor,
    runningAppliances: async () => [...site.appliances.running.keys()],
    setHostConnected: (hostId, isConnected) => site.hypervisor.setHostConnected(hostId, isConnected),
    fileBytes: site.fileBytes,
    makeFile: site.makeFile,
    close: site.remove,
  };
});

describe('simulated hypervisor', () => {
  let site: TestingSite;
  let spec: VmSpec;

  beforeEach(async () => {
    site = await makeTestingSite();
    const { hosts, datastores, networks } = await site.hypervisor.inventory();
    spec = {
      requestKey: 'key-1',
      name: 'db 01 (über)',
      hostId: hosts[0]?.id ?? '',
      cpuCount: 1,
      memoryMiB: 512,
      guestOs: 'Debian 12',
      disks: [{ id: 'scsi:0:0', sizeBytes: 8 * MiB, datastoreId: datastores[0]?.id ?? '', isFile: true }],
      nics: [{ networkId: networks[0]?.id ?? '' }],
    };
  });
  afterEach(() => site.remove());

  it('ids and names follow the pattern that operators know', async () => {
    const { hosts, datastores, networks, folders } = await site.hypervisor.inventory();
    const vm = await site.hypervisor.createVm(spec);
    expect([hosts[0]?.id, datastores[0]?.id, networks[0]?.id, folders[0]?.id, vm.id]).toEqual(
      ['host-1', 'datastore-1', 'network-1', 'group-v1', 'vm-1'].map((local) => `0a1b2c3d.${local}`),
    );
    expect(vm.disks[0]).toMatchObject({ exportName: 'vm-1-scsi-0-0', location: join(site.folder, 'datastore1/vm-1-db_01___ber_/scsi-0-0.raw') });
  });

  it('a new process finds everything as it was, revision included', async () => {
    const vm = await site.hypervisor.createVm(spec);
    await site.hypervisor.powerOn(vm.id);
    const before = await site.hypervisor.inventory();
    const again = await site.reopen();
    expect(await again.inventory()).toEqual(before);
    expect(await readStoredInventory(join(site.folder, 'inventory.json'))).toEqual(before);
    expect((await again.createVm(spec)).id).toBe(vm.id);
  });

  it('a disk may be an export of another server: nothing is made, grown or deleted for it, and no other VM gets it', async () => {
    const location = 'nbd+unix:///disk?socket=/run/storage/nbd.sock';
    const [disk] = spec.disks;
    if (!disk) throw new Error('the VM has a disk');
    const withDisk = (changes: object, requestKey = 'key-nbd'): VmSpec => ({ ...spec, requestKey, disks: [{ ...disk, location, ...changes }] });
    const vm = await site.hypervisor.createVm(withDisk({}));
    expect(vm.disks[0]).toMatchObject({ location, isFile: true, exportName: 'vm-1-scsi-0-0' });
    await expect(site.hypervisor.createVm(withDisk({}, 'key-2'))).rejects.toMatchObject({ code: 'HYPERVISOR_STATE' });
    await expect(site.hypervisor.growDisk(vm.id, { diskId: 'scsi:0:0', sizeBytes: 16 * MiB })).rejects.toMatchObject({ code: 'HYPERVISOR_STATE' });
    await expect(site.hypervisor.createVm(withDisk({ isFile: false, location: 'nbd://storage/other' }, 'key-3'))).rejects.toMatchObject({ code: 'HYPERVISOR_INVALID' });
    for (const wrong of ['nbds://storage/disk', 'nbd+unix:///disk', 'nbd://storage/', 'relative/disk.raw']) {
      await expect(site.hypervisor.createVm(withDisk({ location: wrong }, 'key-4'))).rejects.toThrow('must be an absolute path, nbd://');
    }
    await site.hypervisor.deleteVm(vm.id, { areDisksKept: false });
    expect((await site.hypervisor.inventory()).vms).toEqual([]);
  });

  it('a file left by a creation that a kill cut short does not stop the next one, and its bytes are not shown', async () => {
    const leftover = join(site.folder, 'datastore1/vm-1-db_01___ber_/scsi-0-0.raw');
    await site.makeFile(leftover, 3 * MiB);
    await appendFile(leftover, 'old bytes');
    await site.hypervisor.createVm(spec);
    expect(await site.fileBytes(leftover)).toBe(8 * MiB);
    expect((await site.hypervisor.inventory()).datastores[0]?.freeBytes).toBe(20 * 1024 ** 3 - (await allocatedByFolders(site)));
  });

  it('an inventory that is cut off is refused, never taken for an empty one', async () => {
    await writeFile(join(site.folder, 'inventory.json'), '{"format":1,');
    await expect(site.reopen()).rejects.toThrow(SyntaxError);
    await writeFile(join(site.folder, 'inventory.json'), '{"format":2}');
    await expect(site.reopen()).rejects.toMatchObject({ code: 'HYPERVISOR_INVALID' });
  });

  it('a symbolic link out of the datastore is followed neither to create nor to delete', async () => {
    const outside = join(site.folder, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'precious.raw'), 'x');
    await symlink(outside, join(site.folder, 'datastore1/link'));
    const location = join(site.folder, 'datastore1/link/precious.raw');
    const disk = { ...spec.disks[0]!, location };
    await expect(site.hypervisor.createVm({ ...spec, disks: [disk] })).rejects.toMatchObject({ code: 'HYPERVISOR_INVALID' });
    expect(await readdir(outside)).toEqual(['precious.raw']);
  });

  it('a folder swapped for a link after creation is not followed by the deletion', async () => {
    const vm = await site.hypervisor.createVm(spec);
    const outside = join(site.folder, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'scsi-0-0.raw'), 'precious');
    const folder = join(site.folder, 'datastore1/vm-1-db_01___ber_');
    await rm(folder, { recursive: true });
    await symlink(outside, folder);
    await expect(site.hypervisor.deleteVm(vm.id, { areDisksKept: false })).rejects.toMatchObject({ code: 'HYPERVISOR_INVALID' });
    expect(await readdir(outside)).toEqual(['scsi-0-0.raw']);
    expect((await site.hypervisor.inventory()).vms).toHaveLength(1);
  });

  it('free space is capacity minus what is allocated, measured five times a second', async () => {
    let nowMs = 0;
    const usage = new DatastoreUsage(() => nowMs);
    const folder = join(site.folder, 'datastore1');
    const empty = await usage.allocatedBytes(folder);
    await writeFile(join(folder, 'full.bin'), Buffer.alloc(2 * MiB, 1));
    await site.makeFile(join(folder, 'sparse.bin'), 100 * MiB);
    nowMs = 199;
    expect(await usage.allocatedBytes(folder)).toBe(empty);
    nowMs = 200;
    expect((await usage.allocatedBytes(folder)) - empty).toBeGreaterThanOrEqual(2 * MiB);
    expect((await usage.allocatedBytes(folder)) - empty).toBeLessThan(3 * MiB);
  });

  it('an appliance that does not start is not in the inventory, so it can be asked for again', async () => {
    const failing = await SimulatedHypervisor.open({
      statePath: join(site.folder, 'inventory.json'),
      serverGuid: 'x',
      appliances: { start: () => Promise.reject(new Error('no memory')), stop: () => Promise.resolve() },
    });
    const revision = failing.revision;
    const appliance = {
      vraId: 'v1', hostId: spec.hostId, datastoreId: spec.disks[0]!.datastoreId, networkId: spec.nics[0]!.networkId, name: 'Z-VRA', siteId: 's', natsUrl: 'nats://x', memoryMiB: 1, enrolmentToken: 'a one-time token',
    };
    await expect(failing.deployAppliance(appliance)).rejects.toThrow('no memory');
    expect(failing.revision).toBe(revision);
    await site.hypervisor.deployAppliance(appliance);
    expect([...site.appliances.running.keys()]).toEqual(['v1']);
  });

  it('a seed fills an empty site once: what was deleted since does not come back', async () => {
    const folder = join(site.folder, 'seeded');
    const seed: HypervisorSeed = {
      hosts: [{ name: 'h1', address: '127.0.1.11', nbdSocketPath: join(folder, 'nbd.sock') }],
      datastores: [{ name: 'd1', path: join(folder, 'd1'), capacityBytes: 1024 * MiB }],
      networks: [{ name: 'production' }],
      folders: [{ name: 'vms' }],
      vms: [{ name: 'web01', hostName: 'h1', datastoreName: 'd1', networkNames: ['production'], cpuCount: 1, memoryMiB: 1, guestOs: 'x', diskBytes: [MiB], isPoweredOn: true }],
    };
    const open = () => SimulatedHypervisor.open({ statePath: join(folder, 'inventory.json'), serverGuid: 'g', appliances: site.appliances });
    const first = await open();
    await first.seed(seed);
    const [vm] = (await first.inventory()).vms;
    expect(vm).toMatchObject({ name: 'web01', powerState: 'poweredOn', hostId: 'g.host-1' });
    await first.powerOff(vm?.id ?? '', { isForced: true });
    await first.deleteVm(vm?.id ?? '', { areDisksKept: false });
    const second = await open();
    await second.seed(seed);
    expect((await second.inventory()).vms).toEqual([]);
    expect((await second.inventory()).hosts).toHaveLength(1);
  });

  it.each(['libvirt:qemu:///system', 'simulated:', 'simulated:ftp://x', 'simulated:http://127.0.0.1:9440', 'http://127.0.0.1:9440', ''])("the specification '%s' is refused", (text) => {
    expect(() => createHypervisorManager(text, { caPem: () => [], credential: 'x' })).toThrow(HypervisorError);
  });
});

async function allocatedByFolders(site: TestingSite): Promise<number> {
  return await new DatastoreUsage().allocatedBytes(join(site.folder, 'datastore1'));
}
