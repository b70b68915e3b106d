import { SECTOR_BYTES } from '@tidemark/base';
import { ActivityLogs, VolumeMap, type ActivityFiles, type ActivityLogFile, type AttachedVmSpec, type GatedGuest, type MarksHandle, type ProtectionSpec, type TrustFile, type WriteGate } from '@tidemark/engine-host/activity';
import type { EarlierSession } from '@tidemark/replication';
import { SimFile, type SimDisk } from './disk.js';
import type { GuestVm } from './guest-vm.js';
import { operation, type HostDisk } from './sim-files.js';
import type { ProtectionPlan } from './topology.js';

/** So many bytes of the log are one of a simulated volume: an extent of 1 MiB covers 8 KiB of some 80. */
export const ACTIVITY_SCALE = 128;

const FOLDER = 'activity';
const NOTHING = (): void => undefined;
/** What it says in the log of a VRA is no event of the simulation. */
const SILENT = { info: NOTHING, warn: NOTHING, error: NOTHING };

/** The product's activity logs of one process, on the simulated state disk of its host. */
export const simActivityLogs = (owner: HostDisk): ActivityLogs => new ActivityLogs(FOLDER, SILENT, simActivityFiles(owner));

export const attachedOf = ({ vmId, volumeBytes }: GuestVm): AttachedVmSpec => ({ vmId, disks: volumeBytes.flatMap((bytes, slot) => (bytes > 0 ? [diskOf(vmId, slot, bytes)] : [])) });

const diskOf = (vmId: string, slot: number, bytes: number): AttachedVmSpec['disks'][number] =>
  ({ diskId: `${vmId}-${slot}`, exportName: `${vmId}-${slot}`, path: `nbd://storage/${vmId}-${slot}`, sizeBytes: bytes * ACTIVITY_SCALE });

export const protectionOf = ({ vpgId, vm, recoveringHost, epoch, volumeBytes }: ProtectionPlan): ProtectionSpec => ({
  vpgId, vmId: vm.vmId, epoch,
  diskIds: volumeBytes.map((bytes, slot) => (bytes > 0 && (vm.volumeBytes[slot] ?? 0) > 0 ? `${vm.vmId}-${slot}` : '')),
  volumeBytes: volumeBytes.map((bytes) => bytes * ACTIVITY_SCALE),
  recoveringVra: { vraId: recoveringHost, address: '', controlPort: 0, dataPort: 0 }, recoverySiteId: '', isCompressed: false, priority: 'medium',
});

/** Slots of a simulated VM are volume indexes. */
export function gatedGuest(vm: GuestVm, gates: { addGate(gate: WriteGate): void; removeGate(gate: WriteGate): void }): GatedGuest {
  const spec = attachedOf(vm);
  return {
    spec,
    slotOf: (diskId) => slotOf(vm, diskId),
    disk: (slot) => ((vm.volumeBytes[slot] ?? 0) > 0 ? diskOf(vm.vmId, slot, vm.volumeBytes[slot] ?? 0) : undefined),
    addGate: (gate) => gates.addGate(gate),
    removeGate: (gate) => gates.removeGate(gate),
  };
}

/** In bytes of the simulated volumes. */
export function volumeMapOf(plan: ProtectionPlan): VolumeMap {
  const { vm, volumeBytes } = plan;
  const slots = { slotOf: (diskId: string) => slotOf(vm, diskId), disk: () => undefined };
  return new VolumeMap({ ...protectionOf(plan), volumeBytes }, slots);
}

const slotOf = (vm: GuestVm, diskId: string): number => vm.volumeBytes.findIndex((bytes, slot) => bytes > 0 && diskId === `${vm.vmId}-${slot}`);

/** As a sender of simulated volumes is told it. */
export function earlierOf(file: ActivityLogFile | undefined): EarlierSession | undefined {
  const earlier = file?.earlier();
  return earlier && { ...earlier, suspects: earlier.suspects.map(({ volume, start, end }) => ({ volume, start: start / ACTIVITY_SCALE, end: end / ACTIVITY_SCALE })) };
}

function simActivityFiles(owner: HostDisk): ActivityFiles {
  const { disk } = owner;
  return {
    makeFolder: () => operation(owner, NOTHING, NOTHING),
    list: () => operation(owner, NOTHING, () => disk.namesIn(FOLDER)),
    remove: (path) => operation(owner, NOTHING, () => void disk.files.delete(path)),
    read: (path) => operation(owner, NOTHING, () => found(disk, path).copy()),
    open: (path) => operation(owner, NOTHING, () => marksHandle(found(disk, path), owner)),
    async create(path, bytes) {
      const file = new SimFile();
      await operation(owner, () => disk.files.set(path, file), () => file.write(0, bytes));
      await operation(owner, () => file.beginSync(), () => file.endSync());
      await operation(owner, NOTHING, () => disk.syncNames(FOLDER));
      return marksHandle(file, owner);
    },
    document: <T>(path: string) => new SimTrustFile<T>(owner, path),
  };
}

function found(disk: SimDisk, path: string): SimFile {
  const file = disk.files.get(path);
  if (file === undefined) throw new Error(`${path}: ENOENT`);
  return file;
}

const marksHandle = (file: SimFile, owner: HostDisk): MarksHandle => ({
  writeSector(bytes, at) {
    if (bytes.byteLength !== SECTOR_BYTES) throw new RangeError('not a sector');
    file.write(at, bytes.slice());
  },
  dataSync() {
    if (owner.around.plant?.flag === 'marksUnsynced') return operation(owner, NOTHING, NOTHING);
    return operation(owner, () => file.beginSync(), () => {
      const { disk } = owner;
      if (disk.failingSyncs === 0) return file.endSync();
      disk.failingSyncs -= 1;
      file.failSync();
      throw new Error('EIO');
    });
  },
  close: () => Promise.resolve(),
});

/** As a state file: temporary file, its sync, rename, sync of the folder, in the order of calls; a crash between finds the old or the new one. */
class SimTrustFile<T> implements TrustFile<T> {
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly owner: HostDisk, private readonly path: string) {}

  load(): Promise<T | undefined> {
    const { disk } = this.owner;
    return operation(this.owner, NOTHING, () => {
      const file = disk.files.get(this.path);
      return file && (JSON.parse(new TextDecoder().decode(file.copy())) as T);
    });
  }

  save(document: T): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(document));
    const { disk } = this.owner;
    return this.#inTurn(async () => {
      const file = new SimFile();
      await operation(this.owner, () => file.write(0, bytes), () => file.syncNow());
      await operation(this.owner, () => disk.files.set(this.path, file), () => disk.syncNames(FOLDER));
    });
  }

  remove(): Promise<void> {
    const { disk } = this.owner;
    return this.#inTurn(async () => await operation(this.owner, () => disk.files.delete(this.path), () => disk.syncNames(FOLDER)));
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#last.then(act);
    this.#last = done.catch(NOTHING);
    return done;
  }
}
