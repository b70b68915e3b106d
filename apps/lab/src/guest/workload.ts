import { LabError } from '../lab-error.js';
import type { VmStatus } from '../status.js';
import { DESCRIBED_BLOCK_BYTES } from './described-block.js';
import { examineLane, type LaneFinding, type LanePlan } from './lane.js';
import { LaneWriter, type WaitMeasure } from './lane-writer.js';
import { NbdGuest } from './nbd-guest.js';

const READ_BYTES_MAX = 4 * 1024 * 1024;

/** Disk `index` of the VM whose name is `vm`, or begins with it: recovered VMs of a test carry a longer name. */
export interface DiskRef {
  readonly vm: string;
  readonly index: number;
}

/** A lane and the disks that its regions lie on, in the order of its regions. */
export interface PlannedLane {
  readonly plan: LanePlan;
  readonly disks: readonly DiskRef[];
}

export interface LaneRegionSpec extends DiskRef {
  readonly startOffset: number;
  readonly sizeBytes: number;
}

export function plannedLane(lane: number, regions: readonly LaneRegionSpec[]): PlannedLane {
  return {
    disks: regions.map(({ vm, index }) => ({ vm, index })),
    plan: {
      lane,
      seed: lane * 7919,
      regions: regions.map(({ vm, index, startOffset, sizeBytes }) => ({
        label: `${vm} disk ${index}`,
        startOffset,
        blockCount: sizeBytes / DESCRIBED_BLOCK_BYTES,
      })),
    },
  };
}

export function uriOf(vms: readonly VmStatus[], { vm, index }: DiskRef): string {
  const found = vms.find((candidate) => candidate.name === vm) ?? vms.find((candidate) => candidate.name.startsWith(vm));
  const uri = found?.disks[index]?.nbdUri;
  if (uri === undefined) throw new LabError('LAB_UNKNOWN', `there is no VM ${vm} with a disk ${index}`);
  return uri;
}

const exportOf = (nbdUri: string): string => new URL(nbdUri).pathname;

/** Seq by lane. */
export type LaneMarks = ReadonlyMap<number, number>;

export interface LaneWait {
  readonly lane: number;
  readonly slowestMs: number;
}

/** Guests that write planned lanes to the disks of VMs. */
export class Workload {
  readonly #guests: readonly NbdGuest[];
  /** With the export that each reads and writes. */
  readonly #exports: ReadonlyMap<string, NbdGuest>;
  readonly #writers: readonly LaneWriter[];
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(lanes: readonly PlannedLane[], vms: readonly VmStatus[], beginWait?: WaitMeasure) {
    const uris = [...new Set(lanes.flatMap((lane) => lane.disks.map((disk) => uriOf(vms, disk))))];
    const guestOf = new Map(uris.map((uri) => [uri, new NbdGuest(uri)]));
    this.#guests = [...guestOf.values()];
    this.#exports = new Map([...guestOf].map(([uri, guest]) => [exportOf(uri), guest]));
    this.#writers = lanes.map(({ plan, disks }) => {
      const guests = disks.map((disk) => guestOf.get(uriOf(vms, disk))).filter((guest) => guest !== undefined);
      return new LaneWriter(plan, guests, beginWait);
    });
  }

  /** Each lane waits `pauseMs` between its writes. A disk that refuses a write fails {@link stop}. */
  start(pauseMs: number): void {
    this.#running = Promise.all(this.#writers.map((writer) => writer.run(this.#stop.signal, pauseMs)));
    this.#running.catch(() => this.#stop.abort());
  }

  /** The guests follow their VMs to the hosts where these run now; disks that a guest does not write are passed over. */
  follow(vms: readonly VmStatus[]): void {
    for (const { nbdUri } of vms.flatMap((vm) => vm.disks)) this.#exports.get(exportOf(nbdUri))?.moveTo(nbdUri);
  }

  /** The guests of a VM's disks, for its agent. */
  guestsOf({ disks }: VmStatus): readonly NbdGuest[] {
    return disks.flatMap(({ nbdUri }) => this.#exports.get(exportOf(nbdUri)) ?? []);
  }

  /** Rejects when a disk has refused a write. */
  get ended(): Promise<unknown> {
    return this.#running;
  }

  /** Resolves when every write that was issued has completed. */
  async stop(): Promise<void> {
    this.#stop.abort();
    try {
      await this.#running;
    } finally {
      this.disconnect();
    }
  }

  /** As if the guests' host lost power: open writes never complete. */
  disconnect(): void {
    this.#stop.abort();
    for (const guest of this.#guests) guest.close();
    this.#running.catch(() => undefined);
  }

  completed(): LaneMarks {
    return new Map(this.#writers.map((writer) => [writer.plan.lane, writer.completedSeq]));
  }

  issued(): LaneMarks {
    return new Map(this.#writers.map((writer) => [writer.plan.lane, writer.issuedSeq]));
  }

  get writeCount(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.completedSeq, 0);
  }

  /** The longest wait of a guest for one write since this was asked last, milliseconds: of the lanes meant; all forget it. */
  takeSlowestMs(isMeant = (_lane: number): boolean => true): number {
    return Math.max(0, ...this.takeWaits().flatMap(({ lane, slowestMs }) => (isMeant(lane) ? slowestMs : [])));
  }

  /** For each lane the longest wait for one write since this was asked last, milliseconds. */
  takeWaits(): readonly LaneWait[] {
    return this.#writers.map((writer) => ({ lane: writer.plan.lane, slowestMs: writer.takeSlowestMs() }));
  }
}

export interface WorkloadFinding {
  readonly lane: number;
  readonly finding: LaneFinding;
}

/** Reads every lane's regions from the disks of `vms` and compares them with its plan. */
export async function examineWorkload(lanes: readonly PlannedLane[], vms: readonly VmStatus[]): Promise<WorkloadFinding[]> {
  const findings: WorkloadFinding[] = [];
  for (const { plan, disks } of lanes) {
    const images: Buffer[] = [];
    for (const [index, region] of plan.regions.entries()) {
      const disk = disks[index];
      if (disk) images.push(await readRange(uriOf(vms, disk), region.startOffset, region.blockCount * DESCRIBED_BLOCK_BYTES));
    }
    findings.push({ lane: plan.lane, finding: examineLane(plan, images) });
  }
  return findings;
}

/** Everything wrong with a recovered workload, in words: no prefix, or a prefix that ends too early or too late. */
export function problemsOf(findings: readonly WorkloadFinding[], bounds: { readonly atLeast: LaneMarks; readonly atMost: LaneMarks }): string[] {
  return findings.flatMap(({ lane, finding }) => {
    const atLeast = bounds.atLeast.get(lane) ?? 0;
    const atMost = bounds.atMost.get(lane) ?? 0;
    const { lastSeq } = finding;
    const tooEarly = lastSeq < atLeast ? [`lane ${lane} ends at write ${lastSeq}, but write ${atLeast} had completed before the checkpoint`] : [];
    const tooLate = lastSeq > atMost ? [`lane ${lane} holds write ${lastSeq}, but only ${atMost} had been issued when the checkpoint stood`] : [];
    return [...finding.problems, ...tooEarly, ...tooLate];
  });
}

export async function readRange(nbdUri: string, startOffset: number, lengthBytes: number): Promise<Buffer> {
  const guest = new NbdGuest(nbdUri);
  try {
    const parts: Buffer[] = [];
    for (let at = 0; at < lengthBytes; at += READ_BYTES_MAX) parts.push(await guest.read(startOffset + at, Math.min(READ_BYTES_MAX, lengthBytes - at)));
    return Buffer.concat(parts);
  } finally {
    guest.close();
  }
}
