import type { ExportTable } from '@tidemark/nbd-server';
import { VolumeError } from '@tidemark/volume';
import type { ActivityLogs } from './activity-logs.js';
import { DatastoreFolders } from './datastore-folders.js';
import { DiskOutages, type UnreachableDisk } from './disk-outages.js';
import type { HandOver } from './disk-hand-over.js';
import { EngineError } from './engine-error.js';
import { GuestVm } from './guest-vm.js';
import type { AttachedVmSpec, DesiredState, Logger, ProtectionSpec, VraOptions } from './types.js';

const HAND_OVER_RETRY_MS = 50;

export interface AttachedVmsSurroundings {
  readonly options: Pick<VraOptions, 'datastoreFolders' | 'log'>;
  readonly exports: ExportTable;
  readonly logs: ActivityLogs;
  takeOver(spec: AttachedVmSpec): HandOver | 'notYet';
  /** A disk may have forgotten what was not flushed. */
  onSuspect(vmId: string, slot: number): void;
  /** Its disks are closed after this. */
  onLeaving(vmId: string): void;
  /** The desired state shall be looked at again, soon. */
  onRetry(): void;
}

/** The VMs that run on this host, with their disks open and exported, made to match the desired state. Disks of one do not make another wait. */
export class AttachedVms {
  readonly #guests = new Map<string, GuestVm>();
  readonly #faults = new Map<string, string>();
  readonly #outages = new DiskOutages();
  readonly #folders: DatastoreFolders | undefined;
  #wanted: readonly AttachedVmSpec[] = [];
  #handOverTimer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(private readonly around: AttachedVmsSurroundings) {
    this.#folders = around.options.datastoreFolders && new DatastoreFolders(around.options.datastoreFolders);
  }

  /** By VM. */
  get guests(): ReadonlyMap<string, GuestVm> {
    return this.#guests;
  }

  get hasFaults(): boolean {
    return this.#faults.size > 0;
  }

  /** Why the VM could not be attached or changed; it is tried again. */
  faultOf(vmId: string): string | undefined {
    return this.#faults.get(vmId);
  }

  unreachableDisks(): readonly UnreachableDisk[] {
    return this.#outages.list();
  }

  get #log(): Logger {
    return this.around.options.log;
  }

  /** Before {@link reconcile}, at once: fences do not wait for a change that is under way, and may wait for a disk's server. */
  want(specs: readonly AttachedVmSpec[]): void {
    this.#wanted = specs;
    this.#outages.keepOnly(specs);
    for (const guest of this.#guests.values()) this.#fence(guest);
  }

  #fence(guest: GuestVm): void {
    const spec = this.#wanted.find(({ vmId }) => vmId === guest.vmId);
    if (spec) guest.fence(spec.isFenced === true);
  }

  /** Resolves when VMs that are not wanted any more are let go and the others tried; a disk whose server does not answer goes on being opened. */
  async reconcile(desired: DesiredState): Promise<void> {
    const wanted = new Map(desired.attachedVms.map((spec) => [spec.vmId, spec]));
    for (const vmId of this.#faults.keys()) if (!wanted.has(vmId)) this.#faults.delete(vmId);
    const ends = await Promise.allSettled([...this.#guests.values()].map(async (guest) => {
      const spec = wanted.get(guest.vmId);
      if (!spec) await this.#detach(guest);
      else if (!isSameVm(spec, guest.spec)) await this.#change(guest, spec);
    }));
    await this.#attachMissing(desired);
    for (const end of ends) if (end.status === 'rejected') throw new EngineError('VRA_DISK', `a VM could not be let go: ${String(end.reason)}`, { cause: end.reason });
  }

  async #detach(guest: GuestVm): Promise<void> {
    this.around.onLeaving(guest.vmId);
    this.#guests.delete(guest.vmId);
    await guest.detach(this.#log);
    await this.around.logs.removeOf(guest.vmId);
  }

  async #change(guest: GuestVm, spec: AttachedVmSpec): Promise<void> {
    try {
      await this.#folders?.assertDisks(spec);
      await guest.change(spec, this.#log);
      this.#faults.delete(spec.vmId);
    } catch (error) {
      this.#faults.set(spec.vmId, String(error));
      this.#log.error({ vmId: spec.vmId, error: String(error) }, 'cannot change the disks of a VM');
    }
  }

  async #attachMissing(desired: DesiredState): Promise<void> {
    await Promise.all(desired.attachedVms.filter(({ vmId }) => !this.#guests.has(vmId)).map((spec) => this.#attach(spec, desired.protections)));
  }

  /** Never rejects: what is wrong is the VM's fault, and tried again. */
  async #attach(spec: AttachedVmSpec, protections: readonly ProtectionSpec[]): Promise<void> {
    let takenOver: HandOver | undefined;
    try {
      const owned = this.around.takeOver(spec);
      if (owned === 'notYet') {
        this.#faults.set(spec.vmId, 'its disks are still being promoted');
        return;
      }
      takenOver = owned;
      await this.#folders?.assertDisks(spec);
      const gates = await this.around.logs.openBefore(spec, protections);
      const onSuspect = (slot: number): void => this.around.onSuspect(spec.vmId, slot);
      const guest = await GuestVm.attach(spec, { exports: this.around.exports, log: this.#log, outages: this.#outages, takenOver: owned.files, changes: owned.changes, gates, onSuspect, onOpen: () => this.#lateOpen(spec.vmId) });
      this.#fence(guest); // Another site may own it since.
      this.#guests.set(spec.vmId, guest);
      this.#faults.delete(spec.vmId);
      this.#log.info({ vmId: spec.vmId, disks: spec.disks.length }, 'VM attached');
    } catch (error) {
      takenOver?.giveBack();
      if (isHeldElsewhere(error)) this.#awaitHandOver(spec.vmId);
      else this.#log.error({ vmId: spec.vmId, error: String(error) }, 'cannot attach VM');
      this.#faults.set(spec.vmId, String(error));
    }
  }

  /** A VM that moved here: its guest waits, so the former host's VRA is not given a whole tick before it is asked again. */
  #awaitHandOver(vmId: string): void {
    if (!this.#faults.has(vmId)) this.#log.info({ vmId }, 'waits until the VRA of its former host has let go of its disks');
    if (!this.#isStopped) this.#handOverTimer ??= setTimeout(() => {
      this.#handOverTimer = undefined;
      this.around.onRetry();
    }, HAND_OVER_RETRY_MS);
  }

  /** A disk that its VM was attached without: streams waited for it. */
  #lateOpen(vmId: string): void {
    if (this.#guests.has(vmId) && !this.#isStopped) this.around.onRetry();
  }

  /** Nothing is tried again by itself from now on. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#handOverTimer);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#guests.values()].map((guest) => guest.detach(this.#log)));
    this.#guests.clear();
  }
}

const isSameVm = (a: AttachedVmSpec, b: AttachedVmSpec): boolean => JSON.stringify(a.disks) === JSON.stringify(b.disks);

/** The disk's file is locked by another VRA (or QEMU): it goes with that one's process at the latest. */
const isHeldElsewhere = (error: unknown): boolean =>
  error instanceof EngineError && error.cause instanceof VolumeError && error.cause.code === 'VOLUME_BUSY';
