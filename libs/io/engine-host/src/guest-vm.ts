import { isNbdUri, unreachable, type Done } from '@tidemark/base';
import type { BlockFile } from '@tidemark/block-file';
import type { ExportTable } from '@tidemark/nbd-server';
import { Splitter, type CaptureSink, type SplitterEffect } from '@tidemark/splitter';
import { VolumeError, type AllocationRun, type Volume, type WriteOptions, type WriteZeroesOptions } from '@tidemark/volume';
import { EngineError } from './engine-error.js';
import type { DiskOutages } from './disk-outages.js';
import { type GuestChanges, TrackedChanges } from './guest-changes.js';
import { LateVolume } from './late-volume.js';
import { openProtectedVolume, type ProtectedVolume } from './protected-volume.js';
import type { AttachedDisk, AttachedVmSpec, Logger } from './types.js';

/** A server that is there opens a disk in a few milliseconds. Others are waited for apart: a VRA that starts answers its guests when this is over. */
const OPENING_PATIENCE_MS = 500;

interface PendingWrite {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly source: Uint8Array | undefined;
  readonly options: WriteZeroesOptions | undefined;
  resolve: (() => void) | undefined;
  reject: ((error: Error) => void) | undefined;
  error: Error | undefined;
  isDone: boolean;
}

interface DiskSlot {
  readonly disk: AttachedDisk;
  readonly file: ProtectedVolume;
}

/** Asked before every write: an activity log, which lets it pass when its extents are marked. */
export interface WriteGate {
  /** Undefined: at once. The promise never rejects. */
  pass(slot: number, offset: number, length: number): Promise<void> | undefined;
}

export interface GuestVmOptions {
  readonly exports: ExportTable;
  readonly log: Logger;
  readonly outages: DiskOutages;
  readonly takenOver?: TakenOver;
  /** Tracking goes on where the view that hands the disks over has it. */
  readonly changes?: GuestChanges | undefined;
  /** In place before the first write. */
  readonly gates?: readonly WriteGate[];
  /** A disk may have forgotten writes that were not flushed. */
  onSuspect?(slot: number): void;
  /** A disk whose server was away is open. */
  onOpen?(): void;
}

interface PendingRead {
  readonly volume: number;
  readonly offset: number;
  readonly target: Uint8Array;
  resolve: (() => void) | undefined;
  reject: ((error: Error) => void) | undefined;
  error: Error | undefined;
  isDone: boolean;
}

/** Exports that a promoted view served until now, and the recovery volume behind each: connections stay, the file changes hands. */
export type TakenOver = ReadonlyMap<string, BlockFile>;

/**
 * A VM that runs on this host: its disks as NBD exports, every write through one splitter, protected or not. (An unprotected VM's
 * writes pass the splitter too: a write in flight when protection begins must be captured when it completes.)
 */
export class GuestVm {
  readonly splitter = new Splitter();
  /** By slot. A slot is never used twice: what is in flight for a disk that was removed finds none, not another one. */
  readonly #slots: (DiskSlot | undefined)[] = [];
  readonly #writes = new Map<number, PendingWrite>();
  readonly #reads = new Map<number, PendingRead>();
  #effects: SplitterEffect[] = [];
  #isDraining = false;
  #isFenced = false;
  #changes: TrackedChanges | undefined;

  #gates: readonly WriteGate[];
  private readonly exports: ExportTable;

  private constructor(
    private attached: AttachedVmSpec,
    private readonly options: GuestVmOptions,
  ) {
    this.exports = options.exports;
    this.#gates = options.gates ?? [];
    this.#isFenced = attached.isFenced === true;
    if (options.changes) this.#changes = new TrackedChanges(options.changes.basisId, attached.disks.map(({ exportName }) => exportName), options.changes);
  }

  /** From now on writes are refused (EPERM), or taken again. Those in flight end as they would have. */
  fence(isFenced: boolean): void {
    if (isFenced === this.#isFenced) return;
    this.#isFenced = isFenced;
    this.options.log.warn({ vmId: this.vmId, isFenced }, isFenced ? 'another site owns this VM: its writes are refused here' : 'the fence of this VM is lifted: its writes are taken here again');
  }

  get spec(): AttachedVmSpec {
    return this.attached;
  }

  get vmId(): string {
    return this.attached.vmId;
  }

  /**
   * Opens the disks and exports them. Throws {@link EngineError} VRA_DISK, with nothing left open or exported, when a file cannot be opened. A disk behind a server
   * that does not answer is exported with the others, and whoever uses it waits.
   */
  static async attach(spec: AttachedVmSpec, options: GuestVmOptions): Promise<GuestVm> {
    const vm = new GuestVm(spec, options);
    const takenOver = options.takenOver ?? new Map<string, BlockFile>();
    const opened: ProtectedVolume[] = [];
    try {
      // Files first: one that another host has locked says that its VRA is not done with the other disks either.
      for (const [slot, disk] of [...spec.disks.entries()].sort(([, one], [, other]) => Number(isNbdUri(one.path)) - Number(isNbdUri(other.path)))) {
        const file = takenOver.get(disk.exportName) ?? (isNbdUri(disk.path) ? vm.#openLate(disk, slot) : await vm.#open(disk, slot));
        vm.#slots[slot] = { disk, file };
        if (!takenOver.has(disk.exportName)) opened.push(file);
      }
      await Promise.all(opened.flatMap((file) => (file instanceof LateVolume ? [file.attemptedWithin(OPENING_PATIENCE_MS)] : [])));
      await vm.#export(takenOver);
    } catch (cause) {
      await Promise.all(opened.map((file) => file.close()));
      throw new EngineError('VRA_DISK', `cannot open a disk of VM ${spec.vmId}: ${String(cause)}`, { cause });
    }
    return vm;
  }

  /**
   * Disks added, grown or removed under the running guest; the others notice nothing. A grown disk's connections are closed after their requests in
   * flight, because NBD tells a size once: the guest finds the new one when it connects again. Repeat it after a failure.
   */
  async change(spec: AttachedVmSpec, log: Logger): Promise<void> {
    const wanted = new Map(spec.disks.map((disk) => [disk.exportName, disk]));
    // The disks are not those of the basis any more.
    if (JSON.stringify(spec.disks) !== JSON.stringify(this.attached.disks)) this.#changes = undefined;
    for (const [index, slot] of this.#slots.entries()) {
      const disk = slot && wanted.get(slot.disk.exportName);
      if (slot && (!disk || !isSameDisk(slot.disk, disk))) await this.#remove(index, slot, log);
      else if (slot && disk && disk.sizeBytes > slot.disk.sizeBytes) await this.#grow(index, slot, disk);
      else if (slot && disk) this.#slots[index] = { disk, file: slot.file };
    }
    const served = new Set(this.#slots.map((slot) => slot?.disk.exportName));
    for (const disk of spec.disks) if (!served.has(disk.exportName)) await this.#add(disk);
    this.attached = spec;
  }

  async #remove(index: number, { disk, file }: DiskSlot, log: Logger): Promise<void> {
    if (this.exports.find(disk.exportName)) await this.exports.remove(disk.exportName);
    this.#slots[index] = undefined;
    // The hypervisor has taken the disk from the VM: whatever becomes of its last bytes, nobody will read them.
    try {
      if (isOpen(file)) await file.flush();
    } catch (error) {
      log.warn({ vmId: this.vmId, disk: disk.diskId, error: String(error) }, 'a removed disk could not be flushed');
    }
    await file.close();
    log.info({ vmId: this.vmId, disk: disk.diskId }, 'disk removed');
  }

  async #grow(index: number, slot: DiskSlot, disk: AttachedDisk): Promise<void> {
    await slot.file.grow(disk.sizeBytes);
    if (this.exports.find(disk.exportName)) await this.exports.remove(disk.exportName);
    this.#slots[index] = { disk, file: slot.file };
    this.#addExport(index, disk);
  }

  /** As {@link attach} does: a server that does not answer keeps nobody but who uses its disk. */
  async #add(disk: AttachedDisk): Promise<void> {
    const index = this.#slots.push(undefined) - 1;
    const file = isNbdUri(disk.path) ? this.#openLate(disk, index) : await this.#open(disk, index);
    if (file instanceof LateVolume) await file.attemptedWithin(OPENING_PATIENCE_MS);
    this.#slots[index] = { disk, file };
    try {
      this.#addExport(index, disk);
    } catch (cause) {
      this.#slots[index] = undefined;
      await file.close();
      throw new EngineError('VRA_DISK', `cannot serve disk ${disk.diskId} of VM ${this.vmId}: ${String(cause)}`, { cause });
    }
  }

  #open(disk: AttachedDisk, slot: number): Promise<ProtectedVolume> {
    const hooks = { log: this.options.log, onSuspect: (): void => this.options.onSuspect?.(slot) };
    return this.options.outages.opening({ vmId: this.vmId, disk }, () => openProtectedVolume(disk, hooks));
  }

  #openLate(disk: AttachedDisk, slot: number): LateVolume {
    return new LateVolume({ sizeBytes: disk.sizeBytes, open: () => this.#open(disk, slot), isFenced: () => this.#isFenced, onOpen: () => this.options.onOpen?.() });
  }

  /** One of these that has not been open yet. */
  unopened(diskIds: readonly string[]): AttachedDisk | undefined {
    return this.#slots.find((slot) => slot && diskIds.includes(slot.disk.diskId) && !isOpen(slot.file))?.disk;
  }

  #addExport(index: number, { exportName, diskId, sizeBytes }: AttachedDisk): void {
    this.exports.add({ name: exportName, volume: new ProxyVolume(this, index, sizeBytes), description: `${this.vmId} ${diskId}` });
  }

  /** New exports first: they can fail (a name in use), and are taken back then. Those that a view hands over have their name and size already. */
  async #export(takenOver: TakenOver): Promise<void> {
    const added: string[] = [];
    try {
      for (const [index, disk] of this.attached.disks.entries()) {
        if (takenOver.has(disk.exportName)) continue;
        this.#addExport(index, disk);
        added.push(disk.exportName);
      }
      for (const [index, disk] of this.attached.disks.entries()) {
        if (takenOver.has(disk.exportName)) await this.exports.replaceVolume(disk.exportName, new ProxyVolume(this, index, disk.sizeBytes));
      }
    } catch (error) {
      await Promise.all(added.map((name) => this.exports.remove(name)));
      throw error;
    }
  }

  /** Ends the exports (requests in flight first) and closes the disks. Sinks get nothing any more. */
  async detach(log: Logger): Promise<void> {
    const slots = this.#slots.flatMap((slot) => slot ?? []);
    await Promise.all(slots.map(async ({ disk }) => void (this.exports.find(disk.exportName) && (await this.exports.remove(disk.exportName)))));
    for (const { disk, file } of slots) {
      try {
        if (isOpen(file)) await file.flush();
      } catch (error) {
        // The guest that flushes before it powers off has seen the same error; the descriptor is closed either way.
        log.error({ vmId: this.vmId, disk: disk.diskId, error: String(error) }, 'a disk could not be flushed when its VM was detached');
      }
      // With it goes the file's lock: only now may another VRA of the site open the disk.
      await file.close();
    }
    log.info({ vmId: this.vmId }, 'VM detached');
  }

  /** True if every disk of the VM is still served by this process: the capture path stands. */
  get isServed(): boolean {
    return this.attached.disks.every((disk) => this.exports.find(disk.exportName) !== undefined);
  }

  /** Slot of the disk, -1 when the VM has none of that id. */
  slotOf(diskId: string): number {
    return this.#slots.findIndex((slot) => slot?.disk.diskId === diskId);
  }

  disk(slot: number): AttachedDisk | undefined {
    return this.#slots[slot]?.disk;
  }

  /** False: it has none of this id, or another file stands for it. */
  hasDisk(wanted: AttachedDisk): boolean {
    const disk = this.disk(this.slotOf(wanted.diskId));
    return disk !== undefined && isSameDisk(disk, wanted);
  }

  /** The protected volume itself, past the splitter: what a sync reads. */
  file(index: number): ProtectedVolume {
    const slot = this.#slots[index];
    if (!slot) throw new EngineError('VRA_DISK', `VM ${this.vmId} has no disk in slot ${String(index)} (any more)`);
    return slot.file;
  }

  addGate(gate: WriteGate): void {
    this.#gates = [...this.#gates, gate];
  }

  removeGate(gate: WriteGate): void {
    this.#gates = this.#gates.filter((each) => each !== gate);
  }

  /** Gives up what was tracked since that basis: whoever takes it captures from now on. */
  takeChanges(basisId: string | undefined): TrackedChanges | undefined {
    if (basisId === undefined || this.#changes?.basisId !== basisId) return undefined;
    const changes = this.#changes;
    this.#changes = undefined;
    return changes;
  }

  addSink(key: string, sink: CaptureSink): void {
    this.splitter.addSink(key, sink);
  }

  removeSink(key: string): void {
    this.splitter.removeSink(key, this.#effects);
    this.#drain();
  }

  hold(key: string): void {
    this.splitter.hold(key, this.#effects);
    this.#drain();
  }

  release(key: string): void {
    this.splitter.release(key, this.#effects);
    this.#drain();
  }

  write(volume: number, offset: number, length: number, source: Uint8Array | undefined, options: WriteZeroesOptions | undefined): Done {
    if (this.#isFenced) throw new VolumeError('VOLUME_READ_ONLY', `VM ${this.vmId} is fenced: another site owns it since a failover`);
    this.#changes?.mark(volume, offset, length);
    const pending: PendingWrite = {
      volume, offset, length, source, options, resolve: undefined, reject: undefined, error: undefined, isDone: false,
    };
    const writeId = this.splitter.submitWrite({ volume, offset, length, payload: source }, this.#effects);
    this.#writes.set(writeId, pending);
    this.#drain();
    if (!pending.isDone) return new Promise((resolve, reject) => Object.assign(pending, { resolve, reject }));
    if (pending.error !== undefined) throw pending.error;
  }

  read(volume: number, offset: number, target: Uint8Array): Done {
    const pending: PendingRead = { volume, offset, target, resolve: undefined, reject: undefined, error: undefined, isDone: false };
    const readId = this.splitter.submitRead({ volume, offset, length: target.length }, this.#effects);
    this.#reads.set(readId, pending);
    this.#drain();
    if (!pending.isDone) return new Promise((resolve, reject) => Object.assign(pending, { resolve, reject }));
    if (pending.error !== undefined) throw pending.error;
  }

  /** Carries out effects until none is left; what they cause (a local write that is done at once) appends to the same list. */
  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    const effects = this.#effects;
    for (let index = 0; index < effects.length; index += 1) {
      const effect = effects[index];
      if (effect) this.#carryOut(effect);
    }
    effects.length = 0;
    this.#isDraining = false;
  }

  #carryOut(effect: SplitterEffect): void {
    switch (effect.kind) {
      case 'writeLocal':
        this.#writeLocal(effect.writeId);
        return;
      case 'startRead':
        this.#startRead(effect.readId);
        return;
      case 'complete':
        this.#complete(effect.writeId);
        return;
      default:
        unreachable(effect);
    }
  }

  #writeLocal(writeId: number): void {
    const pending = this.#writes.get(writeId);
    if (!pending) return;
    // By index: this is the path of every write, and nearly always there is one gate, which lets it pass.
    for (let index = 0; index < this.#gates.length; index += 1) {
      const passed = this.#gates[index]?.pass(pending.volume, pending.offset, pending.length);
      if (passed === undefined) continue;
      void passed.then(() => {
        this.#writeLocal(writeId);
        this.#drain();
      });
      return;
    }
    this.#writeNow(writeId, pending);
  }

  #writeNow(writeId: number, pending: PendingWrite): void {
    let done: Done;
    try {
      const file = this.file(pending.volume);
      done = pending.source
        ? file.write(pending.offset, pending.source, pending.options)
        : file.writeZeroes(pending.offset, pending.length, pending.options);
    } catch (error) {
      pending.error = errorOf(error);
      this.splitter.localWriteDone(writeId, false, this.#effects);
      return;
    }
    if (done === undefined) {
      this.splitter.localWriteDone(writeId, true, this.#effects);
      return;
    }
    done.then(
      () => {
        this.splitter.localWriteDone(writeId, true, this.#effects);
        this.#drain();
      },
      (error: unknown) => {
        pending.error = errorOf(error);
        this.splitter.localWriteDone(writeId, false, this.#effects);
        this.#drain();
      },
    );
  }

  #complete(writeId: number): void {
    const pending = this.#writes.get(writeId);
    if (!pending) return;
    this.#writes.delete(writeId);
    settle(pending);
  }

  #startRead(readId: number): void {
    const pending = this.#reads.get(readId);
    if (!pending) return;
    let done: Done = undefined;
    try {
      done = this.file(pending.volume).read(pending.offset, pending.target);
    } catch (error) {
      pending.error = errorOf(error);
    }
    if (done === undefined) {
      this.#readDone(readId, pending);
      return;
    }
    done.then(
      () => {
        this.#readDone(readId, pending);
        this.#drain();
      },
      (error: unknown) => {
        pending.error = errorOf(error);
        this.#readDone(readId, pending);
        this.#drain();
      },
    );
  }

  #readDone(readId: number, pending: PendingRead): void {
    this.#reads.delete(readId);
    this.splitter.readDone(readId, this.#effects);
    settle(pending);
  }
}

/** Nothing was written by this process to one that is not. */
const isOpen = (file: ProtectedVolume): boolean => !(file instanceof LateVolume) || file.isOpen;

const isSameDisk = (disk: AttachedDisk, wanted: AttachedDisk): boolean => disk.exportName === wanted.exportName && disk.path === wanted.path && disk.sizeBytes <= wanted.sizeBytes;

const errorOf = (error: unknown): Error => (error instanceof Error ? error : new VolumeError('VOLUME_IO', String(error)));

function settle(pending: PendingRead | PendingWrite): void {
  pending.isDone = true;
  if (pending.error === undefined) pending.resolve?.();
  else pending.reject?.(pending.error);
}

/** What the guest sees: the protected volume behind the splitter. A flush goes to the protected volume and waits for nothing else. */
class ProxyVolume implements Volume {
  readonly isReadOnly = false;
  readonly isSourceFreeWhenDone: boolean;

  constructor(
    private readonly vm: GuestVm,
    private readonly index: number,
    readonly sizeBytes: number,
  ) {
    // What a sink keeps it has retained by then (SendQueue).
    this.isSourceFreeWhenDone = vm.file(index).isSourceFreeWhenDone === true;
  }

  read(offset: number, target: Uint8Array): Done {
    return this.vm.read(this.index, offset, target);
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Done {
    return this.vm.write(this.index, offset, source.length, source, options);
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done {
    return this.vm.write(this.index, offset, length, undefined, options);
  }

  flush(): Done {
    return this.vm.file(this.index).flush();
  }

  allocation(offset: number, length: number): AllocationRun[] | Promise<AllocationRun[]> {
    return this.vm.file(this.index).allocation(offset, length);
  }

  close(): Promise<void> {
    return Promise.reject(new VolumeError('VOLUME_READ_ONLY', 'a guest volume is closed by detaching its VM'));
  }
}
