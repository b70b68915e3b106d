import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { HypervisorErrorCode } from '../hypervisor-error.js';
import type { ApplianceSpec, HypervisorManager, Inventory, Vm, VmDiskSpec, VmSpec } from '../port.js';

const MiB = 1024 * 1024;

/** A manager with at least two hosts, a datastore, a network and a folder, and without VMs. */
export interface HypervisorUnderTest {
  readonly manager: HypervisorManager;
  /** As if the host lost its power or its network. */
  setHostConnected(hostId: string, isConnected: boolean): Promise<void>;
  /** vraIds of the appliances whose processes run. */
  runningAppliances(): Promise<readonly string[]>;
  /** Size of a disk's file, undefined when there is none. */
  fileBytes(location: string): Promise<number | undefined>;
  /** Puts a file of that size inside a datastore, as a mirror volume would be. */
  makeFile(location: string, sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** What every adapter of the port must do. Each case runs on a manager of its own, made by `make`. */
export function describeHypervisorManager(name: string, make: () => Promise<HypervisorUnderTest>): void {
  describe(`hypervisor manager: ${name}`, () => {
    let site: HypervisorUnderTest;
    let manager: HypervisorManager;
    let before: Inventory;

    beforeEach(async () => {
      site = await make();
      manager = site.manager;
      before = await manager.inventory();
    });
    afterEach(() => site.close());

    const vmSpec = (change: Partial<VmSpec> = {}): VmSpec => ({
      requestKey: 'key-1',
      name: 'web01',
      hostId: only(before.hosts).id,
      cpuCount: 2,
      memoryMiB: 1024,
      guestOs: 'Debian 12',
      disks: [
        { id: 'scsi:0:0', sizeBytes: 8 * MiB, datastoreId: only(before.datastores).id, isFile: true },
        { id: 'scsi:0:1', sizeBytes: 4 * MiB, datastoreId: only(before.datastores).id, isFile: true },
      ],
      nics: [{ networkId: only(before.networks).id }],
      ...change,
    });

    const applianceSpec = (change: Partial<ApplianceSpec> = {}): ApplianceSpec => ({
      vraId: 'vra-1',
      hostId: only(before.hosts).id,
      datastoreId: only(before.datastores).id,
      networkId: only(before.networks).id,
      name: 'Z-VRA-host1',
      siteId: '6f9619ff-8b86-4d01-b42d-00cf4fc964ff',
      natsUrl: 'nats://127.0.0.1:4222',
      enrolmentToken: 'tidemark1.enrolment.e30',
      memoryMiB: 512,
      ...change,
    });

    const refused = async (call: Promise<unknown>, code: HypervisorErrorCode): Promise<void> => {
      call.catch(() => undefined); // it may fail before anybody waits for it
      const revision = (await manager.inventory()).revision;
      await expect(call).rejects.toMatchObject({ name: 'HypervisorError', code });
      expect((await manager.inventory()).revision).toBe(revision);
    };

    const firstDisk = (vm: Vm) => only(vm.disks);

    it('hosts reach datastores and networks that exist, and say where their guests find disks', () => {
      for (const host of before.hosts) {
        expect(before.datastores.map((datastore) => datastore.id)).toEqual(expect.arrayContaining([...host.datastoreIds]));
        expect(before.networks.map((network) => network.id)).toEqual(expect.arrayContaining([...host.networkIds]));
        expect(host.nbdSocketPath).toMatch(/^\/.{1,98}$/);
      }
      expect(before.vms).toEqual([]);
    });

    it('a created VM is powered off, in the inventory, with one sparse file per disk and NICs with addresses', async () => {
      const vm = await manager.createVm(vmSpec());
      const after = await manager.inventory();
      expect(after.vms).toEqual([vm]);
      expect(after.revision).toBeGreaterThan(before.revision);
      expect(vm).toMatchObject({ name: 'web01', powerState: 'poweredOff', memoryMiB: 1024, folderId: before.folders[0]?.id });
      expect(await Promise.all(vm.disks.map((disk) => site.fileBytes(disk.location)))).toEqual([8 * MiB, 4 * MiB]);
      expect(vm.nics).toMatchObject([{ mac: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/) }]);
      for (const disk of vm.disks) expect(disk.exportName).toMatch(/^[A-Za-z0-9._-]+$/);
      const allocated = only(before.datastores).freeBytes - only(after.datastores).freeBytes;
      expect(allocated).toBeLessThan(1 * MiB);
    });

    it('creating again with one request key gives the same VM, with another key another one', async () => {
      const first = await manager.createVm(vmSpec());
      expect(await manager.createVm(vmSpec())).toEqual(first);
      const other = await manager.createVm(vmSpec({ requestKey: 'key-2' }));
      expect(other.id).not.toBe(first.id);
      expect(new Set([...first.disks, ...other.disks].map((disk) => disk.exportName)).size).toBe(4);
      expect((await manager.inventory()).vms).toHaveLength(2);
    });

    it('identifiers are never used twice', async () => {
      const first = await manager.createVm(vmSpec());
      await manager.deleteVm(first.id, { areDisksKept: false });
      const second = await manager.createVm(vmSpec());
      expect(second.id).not.toBe(first.id);
      expect(firstDisk(second).exportName).not.toBe(firstDisk(first).exportName);
    });

    it('power goes on and off, twice is once, and an unknown VM is refused', async () => {
      const { id } = await manager.createVm(vmSpec());
      const powerState = async () => only((await manager.inventory()).vms).powerState;
      await manager.powerOn(id);
      expect(await powerState()).toBe('poweredOn');
      const { revision } = await manager.inventory();
      await manager.powerOn(id);
      expect((await manager.inventory()).revision).toBe(revision);
      await manager.powerOff(id, { isForced: false });
      expect(await powerState()).toBe('poweredOff');
      await refused(manager.powerOn(`${id}9`), 'HYPERVISOR_NOT_FOUND');
      await refused(manager.powerOff(`${id}9`, { isForced: true }), 'HYPERVISOR_NOT_FOUND');
    });

    it('deleting a powered-on VM is refused; powered off it takes its files along; twice is once', async () => {
      const vm = await manager.createVm(vmSpec());
      await manager.powerOn(vm.id);
      await refused(manager.deleteVm(vm.id, { areDisksKept: false }), 'HYPERVISOR_STATE');
      await manager.powerOff(vm.id, { isForced: true });
      await manager.deleteVm(vm.id, { areDisksKept: false });
      expect((await manager.inventory()).vms).toEqual([]);
      expect(await site.fileBytes(firstDisk(vm).location)).toBeUndefined();
      await manager.deleteVm(vm.id, { areDisksKept: false });
    });

    it('a deletion that keeps disks leaves the files', async () => {
      const vm = await manager.createVm(vmSpec());
      await manager.deleteVm(vm.id, { areDisksKept: true });
      expect(await site.fileBytes(firstDisk(vm).location)).toBe(8 * MiB);
    });

    describe('a running VM', () => {
      let vm: Vm;
      const vmNow = async (): Promise<Vm> => only((await manager.inventory()).vms);
      const newDisk = (change: Partial<VmDiskSpec> = {}): VmDiskSpec => ({ id: 'scsi:0:2', sizeBytes: 2 * MiB, datastoreId: only(before.datastores).id, isFile: true, ...change });

      beforeEach(async () => {
        vm = await manager.createVm(vmSpec());
        await manager.powerOn(vm.id);
      });

      it('migrates with its disks where they are, twice is once, and back again', async () => {
        const [here, there] = before.hosts;
        await manager.migrateVm(vm.id, { hostId: there?.id ?? '' });
        expect(await vmNow()).toEqual({ ...vm, powerState: 'poweredOn', hostId: there?.id });
        const { revision } = await manager.inventory();
        await manager.migrateVm(vm.id, { hostId: there?.id ?? '' });
        expect((await manager.inventory()).revision).toBe(revision);
        await manager.migrateVm(vm.id, { hostId: here?.id ?? '' });
        expect((await vmNow()).hostId).toBe(here?.id);
      });

      it('does not migrate to a host that is unknown or not connected', async () => {
        const away = before.hosts[1]?.id ?? '';
        await refused(manager.migrateVm(vm.id, { hostId: 'nowhere.host-9' }), 'HYPERVISOR_NOT_FOUND');
        await site.setHostConnected(away, false);
        await refused(manager.migrateVm(vm.id, { hostId: away }), 'HYPERVISOR_STATE');
      });

      it('gets another disk; asked twice it gets one; another size under the same id is refused', async () => {
        const disk = await manager.addDisk(vm.id, newDisk());
        expect((await vmNow()).disks).toEqual([...vm.disks, disk]);
        expect(await site.fileBytes(disk.location)).toBe(2 * MiB);
        expect(await manager.addDisk(vm.id, newDisk())).toEqual(disk);
        await refused(manager.addDisk(vm.id, newDisk({ sizeBytes: MiB })), 'HYPERVISOR_STATE');
        await refused(manager.addDisk(vm.id, newDisk({ id: 'scsi:0:3', datastoreId: 'nowhere.datastore-9' })), 'HYPERVISOR_NOT_FOUND');
        await refused(manager.addDisk(vm.id, newDisk({ id: 'nonsense' })), 'HYPERVISOR_INVALID');
      });

      it('a disk grows and never shrinks', async () => {
        const { id, location } = firstDisk(vm);
        await manager.growDisk(vm.id, { diskId: id, sizeBytes: 16 * MiB });
        expect(only((await vmNow()).disks)).toEqual({ ...firstDisk(vm), sizeBytes: 16 * MiB });
        expect(await site.fileBytes(location)).toBe(16 * MiB);
        await manager.growDisk(vm.id, { diskId: id, sizeBytes: 16 * MiB });
        await refused(manager.growDisk(vm.id, { diskId: id, sizeBytes: 8 * MiB }), 'HYPERVISOR_INVALID');
        await refused(manager.growDisk(vm.id, { diskId: 'scsi:9:9', sizeBytes: 32 * MiB }), 'HYPERVISOR_NOT_FOUND');
        await refused(manager.growDisk(vm.id, { diskId: id, sizeBytes: only(before.datastores).capacityBytes + 16 * MiB }), 'HYPERVISOR_FULL');
      });

      it('a disk is removed with its file or without; a later one of its id is another disk', async () => {
        const [kept, dropped] = vm.disks;
        await manager.removeDisk(vm.id, { diskId: kept?.id ?? '', isFileKept: true });
        await manager.removeDisk(vm.id, { diskId: dropped?.id ?? '', isFileKept: false });
        await manager.removeDisk(vm.id, { diskId: dropped?.id ?? '', isFileKept: false });
        expect((await vmNow()).disks).toEqual([]);
        expect(await site.fileBytes(kept?.location ?? '')).toBe(8 * MiB);
        expect(await site.fileBytes(dropped?.location ?? '')).toBeUndefined();
        const later = await manager.addDisk(vm.id, newDisk({ id: kept?.id ?? '', sizeBytes: 8 * MiB }));
        expect([later.location, later.exportName]).not.toContain(kept?.location);
        expect(later.exportName).not.toBe(kept?.exportName);
      });

      it.each<[string, (vmId: string) => Promise<unknown>]>([
        ['migrate', (vmId) => manager.migrateVm(vmId, { hostId: only(before.hosts).id })],
        ['disk add', (vmId) => manager.addDisk(vmId, newDisk())],
        ['disk grow', (vmId) => manager.growDisk(vmId, { diskId: 'scsi:0:0', sizeBytes: 64 * MiB })],
        ['disk remove', (vmId) => manager.removeDisk(vmId, { diskId: 'scsi:0:0', isFileKept: true })],
      ])('%s of an unknown VM is refused', async (_name, act) => await refused(act(`${vm.id}9`), 'HYPERVISOR_NOT_FOUND'));
    });

    describe('recovered VMs', () => {
      const mirror = () => `${only(before.datastores).path}/mirrors/m1.raw`;
      const recovered = (change: Partial<VmSpec> = {}, isFile = false): VmSpec =>
        vmSpec({ ...change, disks: [{ id: 'scsi:0:0', sizeBytes: MiB, datastoreId: only(before.datastores).id, location: mirror(), isFile }] });

      it('a disk served from a view is made on no file, and deleting the VM leaves the mirror volume alone', async () => {
        await site.makeFile(mirror(), MiB);
        const vm = await manager.createVm(recovered());
        expect(firstDisk(vm)).toMatchObject({ isFile: false, location: mirror() });
        await manager.deleteVm(vm.id, { areDisksKept: false });
        expect(await site.fileBytes(mirror())).toBe(MiB);
      });

      it('after promotion the disks are files, under the same export names, and go with the VM', async () => {
        await site.makeFile(mirror(), MiB);
        const vm = await manager.createVm(recovered());
        await manager.markDisksAsFiles(vm.id);
        expect(only((await manager.inventory()).vms).disks).toEqual([{ ...firstDisk(vm), isFile: true }]);
        await manager.markDisksAsFiles(vm.id);
        await manager.deleteVm(vm.id, { areDisksKept: false });
        expect(await site.fileBytes(mirror())).toBeUndefined();
      });

      it('an existing file is taken as it is; one of another size, or of another VM, is refused', async () => {
        await site.makeFile(mirror(), MiB);
        await manager.createVm(recovered({}, true));
        await refused(manager.createVm(recovered({ requestKey: 'key-2' }, true)), 'HYPERVISOR_STATE');
        const other = `${mirror()}.other`;
        await site.makeFile(other, 2 * MiB);
        const disk = only(recovered({}, true).disks);
        await refused(manager.createVm(vmSpec({ requestKey: 'key-3', disks: [{ ...disk, location: other }] })), 'HYPERVISOR_INVALID');
        expect(await site.fileBytes(other)).toBe(2 * MiB);
      });
    });

    it.each<[string, Partial<VmSpec> | ((spec: VmSpec) => Partial<VmSpec>), HypervisorErrorCode]>([
      ['a name with a slash', { name: '../../etc/cron.d/x' }, 'HYPERVISOR_INVALID'],
      ['a name with a line break', { name: 'web\n01' }, 'HYPERVISOR_INVALID'],
      ['an empty name', { name: '' }, 'HYPERVISOR_INVALID'],
      ['an unknown host', { hostId: 'nowhere.host-9' }, 'HYPERVISOR_NOT_FOUND'],
      ['an unknown network', { nics: [{ networkId: 'nowhere.network-9' }] }, 'HYPERVISOR_NOT_FOUND'],
      ['an unknown folder', { folderId: 'nowhere.group-v9' }, 'HYPERVISOR_NOT_FOUND'],
      ['an unknown datastore', (spec) => ({ disks: spec.disks.map((disk) => ({ ...disk, datastoreId: 'nowhere.datastore-9' })) }), 'HYPERVISOR_NOT_FOUND'],
      ['a disk outside its datastore', (spec) => ({ disks: [{ ...only(spec.disks), location: '/tmp/outside.raw' }] }), 'HYPERVISOR_INVALID'],
      ['a disk that climbs out of its datastore', (spec) => ({ disks: [{ ...only(spec.disks), location: `${only(before.datastores).path}/../x.raw` }] }), 'HYPERVISOR_INVALID'],
      ['a disk of half a sector', (spec) => ({ disks: [{ ...only(spec.disks), sizeBytes: 256 }] }), 'HYPERVISOR_INVALID'],
      ['two disks with one id', (spec) => ({ disks: [only(spec.disks), only(spec.disks)] }), 'HYPERVISOR_INVALID'],
      ['more than the datastore has free', (spec) => ({ disks: [{ ...only(spec.disks), sizeBytes: only(before.datastores).freeBytes + 512 - (only(before.datastores).freeBytes % 512) + MiB }] }), 'HYPERVISOR_FULL'],
    ])('%s is refused and changes nothing', async (_name, change, code) => {
      const spec = vmSpec();
      await refused(manager.createVm({ ...spec, ...(typeof change === 'function' ? change(spec) : change) }), code);
      expect((await manager.inventory()).vms).toEqual([]);
    });

    it('an appliance is started once per vraId, refused beside another one, and removed twice as once', async () => {
      await manager.deployAppliance(applianceSpec());
      await manager.deployAppliance(applianceSpec());
      expect(await site.runningAppliances()).toEqual(['vra-1']);
      await refused(manager.deployAppliance(applianceSpec({ vraId: 'vra-2' })), 'HYPERVISOR_STATE');
      await refused(manager.deployAppliance(applianceSpec({ vraId: 'vra-3', hostId: 'nowhere.host-9' })), 'HYPERVISOR_NOT_FOUND');
      await refused(manager.deployAppliance(applianceSpec({ vraId: '../vra' })), 'HYPERVISOR_INVALID');
      await manager.removeAppliance('vra-1');
      await manager.removeAppliance('vra-1');
      expect(await site.runningAppliances()).toEqual([]);
      await manager.deployAppliance(applianceSpec({ vraId: 'vra-2' }));
      expect(await site.runningAppliances()).toEqual(['vra-2']);
    });

    it('a watch yields at the start, after each change, and ends when it is no longer wanted', async () => {
      const stop = new AbortController();
      const changes = manager.watch(stop.signal)[Symbol.asyncIterator]();
      const first = await changes.next();
      expect(first).toMatchObject({ done: false, value: { revision: before.revision } });
      const next = changes.next();
      const vm = await manager.createVm(vmSpec());
      expect(await next).toMatchObject({ done: false, value: { revision: before.revision + 1 } });
      await manager.powerOn(vm.id);
      expect((await changes.next()).done).toBe(false);
      const last = changes.next();
      stop.abort();
      expect((await last).done).toBe(true);
    });

    it('calls at the same time each take effect once', async () => {
      const keys = Array.from({ length: 8 }, (_, index) => `key-${index % 4}`);
      const vms = await Promise.all(keys.map((requestKey) => manager.createVm(vmSpec({ requestKey, name: requestKey }))));
      expect(new Set(vms.map((vm) => vm.id)).size).toBe(4);
      expect((await manager.inventory()).vms).toHaveLength(4);
    });
  });
}

function only<T>(list: readonly T[]): T {
  const [first] = list;
  if (first === undefined) throw new Error('the manager under test has none');
  return first;
}
