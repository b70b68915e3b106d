import type { Outage } from '@tidemark/nbd-client';
import type { ProtectedVolume } from './protected-volume.js';
import type { AttachedDisk, AttachedVmSpec } from './types.js';

/** A server that is started again is away for less: that concerns nobody but the guest that waits. */
const OUTAGE_MS_MIN = 5000;
/** Of one VRA: it serves no more. */
const DISKS_MAX = 1500;
const REASON_LENGTH_MAX = 500;

/** A disk that cannot be reached, for some seconds already. */
export interface UnreachableDisk {
  readonly vmId: string;
  readonly diskId: string;
  /** URI of its NBD server, or path of its file. */
  readonly path: string;
  /** Wall clock of this host; the same for as long as it lasts. */
  readonly sinceMs: number;
  readonly reason: string;
}

interface Place {
  readonly vmId: string;
  readonly disk: AttachedDisk;
}

interface Watched {
  readonly place: Place;
  readonly outage: () => Outage | undefined;
  /** Its beginning on both clocks, as it was first seen: the wall clock may be set meanwhile. */
  seen: { readonly sinceMs: number; readonly wallMs: number } | undefined;
}

const keyOf = (vmId: string, { diskId, path }: AttachedDisk): string => JSON.stringify([vmId, diskId, path]);

/** Disks of this host's VMs that cannot be opened, or whose server has gone: guests wait for them, and somebody has to be told. */
export class DiskOutages {
  readonly #watched = new Map<string, Watched>();
  #wanted: ReadonlySet<string> = new Set();

  constructor(private readonly clocks = { nowMs: (): number => performance.now(), wallClockMs: (): number => Date.now() }) {}

  /** Opens it by `open`. It is away until that succeeds, since the first attempt; then whenever the volume says so. */
  async opening<V extends ProtectedVolume>(place: Place, open: () => Promise<V>): Promise<V> {
    const earlier = this.#watched.get(keyOf(place.vmId, place.disk))?.outage();
    let outage = earlier ?? { sinceMs: this.clocks.nowMs(), reason: 'it has not answered yet' };
    this.#watch(place, () => outage);
    try {
      const volume = await open();
      this.#watch(place, () => volume.outage);
      return volume;
    } catch (error) {
      outage = { ...outage, reason: error instanceof Error ? error.message : String(error) };
      throw error;
    }
  }

  #watch(place: Place, outage: Watched['outage']): void {
    const key = keyOf(place.vmId, place.disk);
    this.#watched.set(key, { place, outage, seen: this.#watched.get(key)?.seen });
  }

  /** Forgets the disks that no VM of this host has any more, also those that are being opened. */
  keepOnly(specs: readonly AttachedVmSpec[]): void {
    this.#wanted = new Set(specs.flatMap(({ vmId, disks }) => disks.map((disk) => keyOf(vmId, disk))));
    for (const key of this.#watched.keys()) if (!this.#wanted.has(key)) this.#watched.delete(key);
  }

  list(): readonly UnreachableDisk[] {
    const nowMs = this.clocks.nowMs();
    const found: UnreachableDisk[] = [];
    for (const [key, watched] of this.#watched) {
      const outage = this.#wanted.has(key) ? watched.outage() : undefined;
      if (!outage || nowMs - outage.sinceMs < OUTAGE_MS_MIN || found.length === DISKS_MAX) continue;
      if (watched.seen?.sinceMs !== outage.sinceMs) watched.seen = { sinceMs: outage.sinceMs, wallMs: Math.round(this.clocks.wallClockMs() - (nowMs - outage.sinceMs)) };
      const { vmId, disk: { diskId, path } } = watched.place;
      found.push({ vmId, diskId, path, sinceMs: watched.seen.wallMs, reason: outage.reason.slice(0, REASON_LENGTH_MAX) });
    }
    return found;
  }
}
