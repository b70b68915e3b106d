import type { PinSpec } from './sim-pins.js';
import { scratchFolder, type RecoveringHost, type ViewSpec } from './recovering-host.js';
import type { SimRecovery } from './sim-recovery.js';
import { GUARD_BYTES } from './sim-space.js';
import { keyOf } from './topology.js';
import { Violation } from './world.js';

/**
 * What a journal may take above its hard limit: what it writes about itself (headers of segments and records, positions, retirements, openings). Frames stay below. Its largest share ever seen: 3 KiB.
 */
const OWN_BYTES_MAX = 8 * 1024;

interface HostsOf {
  readonly recovering: readonly RecoveringHost[];
}

/** Limits by size, with the eyes of somebody who sees the bytes on the disks. */
export class SpaceChecker {
  /** By VPG: the newest checkpoint that a journal wanted as its oldest, for want of space. */
  readonly #wished = new Map<string, number>();
  readonly #pins = new Map<string, PinSpec>();
  /** Highest ever seen above a limit, bytes. */
  overMaxBytes = 0;
  earlyCount = 0;

  constructor(private readonly site: HostsOf) {}

  pinned(pin: PinSpec): void {
    this.#pins.set(pin.name, pin);
  }

  unpinned({ name }: PinSpec): void {
    this.#pins.delete(name);
  }

  /** A VRA asks for history to be given up: only near the limit, and as far as files that show nothing are not enough. */
  wished(recovery: SimRecovery, checkpointId: number): void {
    const { space, vpgId } = recovery.vm;
    const isNear = recovery.journal?.stats().state.phase === 'full' || recovery.segmentBytesOnDisk > (space?.wishBytes ?? Infinity);
    if (!isNear) throw new Violation('retirement', `${recovery.key} wants space with ${recovery.segmentBytesOnDisk} bytes of ${space?.hardBytes ?? 0}`);
    const { hardBytes = 0, wishBytes = 0 } = space ?? {};
    const goodBytes = recovery.segmentBytesOnDisk - recovery.cutOffBytesOnDisk;
    if (goodBytes <= 2 * wishBytes - hardBytes) throw new Violation('retirement', `${recovery.key} wants ${checkpointId} as its oldest, and what a break has left would be enough: ${recovery.cutOffBytesOnDisk} of ${recovery.segmentBytesOnDisk} bytes`);
    this.#wished.set(vpgId, Math.max(checkpointId, this.#wished.get(vpgId) ?? 0));
  }

  /** True: it is young, and goes for want of space, as it may. `listed`: oldest first. */
  mayRetireEarly(vpgId: string, checkpointId: number, listed: readonly number[]): boolean {
    const wished = this.#wished.get(vpgId);
    if (wished === undefined) return false;
    const enough = listed.find((id) => id >= wished && id < checkpointId);
    if (enough !== undefined) throw new Violation('retirement', `${vpgId}: early retirement up to ${checkpointId}, and ${enough} as the oldest would have been enough`);
    this.earlyCount += 1;
    return true;
  }

  checkPins(vpgId: string, checkpointId: number): void {
    const pin = [...this.#pins.values()].find((one) => one.vpgId === vpgId && one.checkpointId < checkpointId && !this.#isTaken(one));
    if (pin !== undefined) throw new Violation('pin', `${vpgId}: retirement up to ${checkpointId}, and ${pin.name} keeps ${pin.checkpointId}`);
  }

  /** Damage has taken the checkpoint, and the pin with it. */
  #isTaken({ vpgId, vmId, checkpointId }: PinSpec): boolean {
    const key = keyOf(vpgId, vmId);
    return this.site.recovering.some((host) => host.rotted.has(key)) && !this.site.recovering.some((host) => host.recovery(vpgId, vmId)?.journal?.holds(checkpointId) === true);
  }

  oldestPinned(vpgId: string): number {
    return Math.min(Infinity, ...[...this.#pins.values()].filter((one) => one.vpgId === vpgId).map((one) => one.checkpointId));
  }

  check(): void {
    for (const host of this.site.recovering) {
      for (const recovery of host.recoveries) this.#checkJournal(recovery);
      this.#checkDatastore(host);
      for (const view of host.views) this.#checkScratch(host, view);
    }
  }

  #checkScratch({ recoveries, disk }: RecoveringHost, view: ViewSpec): void {
    const space = recoveries.find(({ vm }) => vm.vpgId === view.vpgId && vm.vmId === view.vmId)?.vm.space;
    if (space === undefined) return;
    const folder = scratchFolder(view);
    const bytes = disk.namesIn(folder).reduce((sum, name) => sum + (disk.files.get(`${folder}/${name}`)?.sizeBytes ?? 0), 0);
    if (bytes > space.scratchHardBytes + OWN_BYTES_MAX) throw new Violation('limit', `scratch of ${view.viewId} has ${bytes} bytes, and may have ${space.scratchHardBytes}`);
  }

  #checkJournal(recovery: SimRecovery): void {
    const { space } = recovery.vm;
    if (space === undefined) return;
    const overBytes = recovery.segmentBytesOnDisk - space.hardBytes;
    this.overMaxBytes = Math.max(this.overMaxBytes, overBytes);
    if (overBytes > OWN_BYTES_MAX) throw new Violation('limit', `the journal of ${recovery.key} has ${recovery.segmentBytesOnDisk} bytes, and may have ${space.hardBytes}`);
  }

  /** Whoever else fills it: journals and scratch leave its guard free. */
  #checkDatastore({ disk, name, recoveries }: RecoveringHost): void {
    if (disk.datastoreBytes === Infinity) return;
    // Index files are made for what is there already: they go into what is left free.
    const indexBytes = [...disk.files].filter(([path]) => !path.endsWith('.segment') && path.includes('/journal/')).reduce((sum, [, file]) => sum + file.sizeBytes, 0);
    const freeBytes = disk.datastoreBytes - disk.usedBytes + indexBytes;
    if (freeBytes < GUARD_BYTES - OWN_BYTES_MAX * recoveries.length) throw new Violation('limit', `${name}: ${freeBytes} bytes of its datastore are free, ${GUARD_BYTES} are to be left`);
  }
}
