import { activityFiles } from './activity-files.js';
import { ActivityLogFile } from './activity-log-file.js';
import type { GuestVm, WriteGate } from './guest-vm.js';
import { protectionKey, type AttachedVmSpec, type Logger, type ProtectionSpec } from './types.js';
import { slotsToBe, VolumeMap } from './volume-map.js';

/** A VM whose writes wait for their marks. */
export type GatedGuest = Pick<GuestVm, 'spec' | 'slotOf' | 'disk' | 'addGate' | 'removeGate'>;

/**
 * The activity logs of the protections of a VRA. A log that an earlier process left is trusted only when it stands before the guest can
 * write; where the guest may have written without it, a new one begins. A log goes when its protection or its VM goes from here: elsewhere
 * writes would not be marked in it.
 */
export class ActivityLogs {
  readonly #logs = new Map<string, ActivityLogFile>();
  #isPurged = false;

  constructor(
    private readonly folder: string,
    private readonly log: Logger,
    private readonly files = activityFiles,
  ) {}

  get(key: string): ActivityLogFile | undefined {
    return this.#logs.get(key);
  }

  /** Ends the logs of other protections, and of those that are not what they were. */
  async keepOnly(specs: readonly ProtectionSpec[], guests: ReadonlyMap<string, GatedGuest>): Promise<void> {
    const wanted = new Map(specs.map((spec) => [protectionKey(spec), spec]));
    for (const [key, file] of this.#logs) {
      const spec = wanted.get(key);
      if (spec && shapeOf(spec) === shapeOf(file.spec)) continue;
      guests.get(file.spec.vmId)?.removeGate(file);
      await this.#remove(key, file);
    }
    if (this.#isPurged) return;
    this.#isPurged = true;
    await ActivityLogFile.purge(this.folder, [...wanted.keys()], this.files);
  }

  /** For a VM that is about to be attached: nobody has written since the last process here ended. */
  async openBefore(vm: AttachedVmSpec, protections: readonly ProtectionSpec[]): Promise<readonly WriteGate[]> {
    const slots = slotsToBe(vm.disks);
    const own = protections.filter((spec) => spec.vmId === vm.vmId);
    for (const spec of own) await this.#open({ spec, vm, map: new VolumeMap(spec, slots) }, { mayTrust: true });
    return own.flatMap((spec) => this.#logs.get(protectionKey(spec)) ?? []);
  }

  /** For a protection of a VM that runs, whose stream is about to begin. */
  async openForRunning(spec: ProtectionSpec, guest: GatedGuest): Promise<void> {
    const key = protectionKey(spec);
    const map = new VolumeMap(spec, guest);
    const held = this.#logs.get(key);
    if (held?.isOf(map) === true) return;
    if (held) {
      // A disk took another's place under its id: the marks are of the old one.
      guest.removeGate(held);
      await this.#remove(key, held);
    }
    await this.#open({ spec, vm: guest.spec, map }, { mayTrust: false });
    const file = this.#logs.get(key);
    if (file) guest.addGate(file);
  }

  async #open(place: { readonly spec: ProtectionSpec; readonly vm: AttachedVmSpec; readonly map: VolumeMap }, trust: { readonly mayTrust: boolean }): Promise<void> {
    const key = protectionKey(place.spec);
    if (this.#logs.has(key)) return;
    try {
      this.#logs.set(key, await ActivityLogFile.open({ folder: this.folder, log: this.log, files: this.files, ...place }, trust));
    } catch (error) {
      this.log.error({ protection: key, error: String(error) }, 'no activity log: after a crash of this VRA everything will be compared');
    }
  }

  async removeOf(vmId: string): Promise<void> {
    for (const [key, file] of this.#logs) if (file.spec.vmId === vmId) await this.#remove(key, file);
  }

  distrust(key: string): void {
    const file = this.#logs.get(key);
    if (!file) return;
    void file.distrust().catch((error: unknown) => this.log.error({ protection: key, error: String(error) }, 'the activity log cannot be taken back'));
  }

  async #remove(key: string, file: ActivityLogFile): Promise<void> {
    this.#logs.delete(key);
    try {
      await file.remove();
    } catch (error) {
      this.log.error({ protection: key, error: String(error) }, 'an activity log cannot be removed');
    }
  }

  async close(): Promise<void> {
    for (const file of this.#logs.values()) await file.close();
    this.#logs.clear();
  }
}

const shapeOf = ({ epoch, diskIds, volumeBytes, tempVolumes }: ProtectionSpec): string => JSON.stringify([epoch, diskIds, volumeBytes, tempVolumes]);
