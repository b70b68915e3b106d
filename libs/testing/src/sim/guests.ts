import { BLOCK_BYTES, SECTOR_BYTES } from '@tidemark/base';
import type { GuestWrite } from '@tidemark/splitter';
import { merged, type GuestVm, type Knowledge, type KnownWrite } from './guest-vm.js';
import type { ProtectingHost } from './protecting-host.js';
import type { SwarmOptions } from './swarm.js';
import type { World } from './world.js';

const RETRY_MS = 40;

/** Threads of an application that spans the VMs: each request is issued after the one before has completed, often on another VM. */
export class Guests {
  readonly writes = new Map<number, KnownWrite>();
  readonly #newest = new Map<string, GuestWrite>();
  isStopped = false;
  #nextId: number;

  constructor(
    private readonly world: World,
    private readonly options: SwarmOptions,
    private readonly vms: readonly GuestVm[],
    private readonly hosts: ReadonlyMap<string, ProtectingHost>,
    /** Above those of whoever wrote to these disks before: what is read there is nobody's knowledge now. */
    firstId = 1,
  ) {
    this.#nextId = firstId;
  }

  start(): void {
    for (let thread = 0; thread < this.options.threadCount; thread += 1) this.#next(this.world.random.int(this.vms.length), []);
  }

  /** `after`: what this thread knows to be completed. */
  #next(placeIndex: number, after: Knowledge): void {
    const { random } = this.world;
    this.world.after(random.below(this.options.thinkMsMax), () => {
      if (this.isStopped) return;
      const index = random.chance(this.options.hopChance) ? random.int(this.vms.length) : placeIndex;
      const vm = this.vms[index] ?? nobody();
      const host = this.hosts.get(vm.runsOn) ?? nobody();
      // An application that restarts knows nothing.
      const again = (): void => this.world.after(RETRY_MS, () => this.#next(index, []));
      // It waits for a process that does not go on.
      if (host.isAlive && host.isPaused) return this.world.after(RETRY_MS, () => this.#next(index, after));
      if (!host.isAlive || vm.isPaused || vm.isShutDown || !host.isAttached(vm.vmId)) again();
      else if (random.chance(this.options.readChance)) this.#read(vm, host, (seen) => this.#next(index, merged(after, seen)), again);
      else if (random.chance(this.options.flushChance)) host.flush(vm.vmId, () => this.#next(index, after), again);
      else this.#write(vm, host, after, (known) => this.#next(index, merged(after, known)), again);
    });
  }

  #read(vm: GuestVm, host: ProtectingHost, then: (seen: Knowledge) => void, again: () => void): void {
    const { volume, offset } = this.#readPlace(vm);
    host.read(vm.vmId, { volume, offset, length: SECTOR_BYTES }, {
      // What a read returns is known to the application: whatever it does next depends on it.
      onRead: (writeId) => {
        const seen = this.writes.get(writeId);
        then(seen === undefined ? [] : this.#knowledgeOf(vm, seen));
      },
      onAborted: again,
    });
  }

  #write(vm: GuestVm, host: ProtectingHost, after: Knowledge, then: (known: Knowledge) => void, again: () => void): void {
    const id = this.#nextId;
    this.#nextId += 1;
    const known: KnownWrite = { id, vmId: vm.vmId, after, write: this.#makeWrite(vm, id), capturedIndex: undefined, capturedAtMs: 0 };
    this.writes.set(id, known);
    this.#newest.set(vm.vmId, known.write);
    host.write(vm.vmId, known, { onCompleted: () => then(this.#knowledgeOf(vm, known)), onAborted: again });
  }

  #knowledgeOf(vm: GuestVm, { after, capturedIndex }: KnownWrite): Knowledge {
    if (capturedIndex === undefined) return [];
    const own = Array.from({ length: vm.number }, (_, index) => (index + 1 === vm.number ? capturedIndex : 0));
    return merged(after, own);
  }

  #makeWrite(vm: GuestVm, id: number): GuestWrite {
    const { random } = this.world;
    const { volume, offset } = this.#place(vm);
    const sectorsLeft = ((vm.volumeBytes[volume] ?? 0) - offset) / SECTOR_BYTES;
    const sectors = Math.min(sectorsLeft, 1 + random.int(this.options.writeSectorsMax));
    const payload = random.chance(this.options.zeroesChance) ? undefined : vm.payload(id, sectors);
    return { volume, offset, length: sectors * SECTOR_BYTES, payload };
  }

  /** Often where something was just written, and may not be completed yet. */
  #readPlace(vm: GuestVm): { volume: number; offset: number } {
    const newest = this.#newest.get(vm.vmId);
    const isNewest = newest !== undefined && this.world.random.chance(0.7) && (vm.volumeBytes[newest.volume] ?? 0) > 0;
    return isNewest ? newest : this.#place(vm);
  }

  /** Half of the requests go to the first two blocks, so that many overlap. */
  #place(vm: GuestVm): { volume: number; offset: number } {
    const { random } = this.world;
    const present = vm.volumeBytes.flatMap((bytes, volume) => (bytes > 0 ? [volume] : []));
    const volume = present[random.int(present.length)] ?? 0;
    const bytes = vm.volumeBytes[volume] ?? 0;
    const reach = random.chance(0.5) ? Math.min(bytes, 2 * BLOCK_BYTES) : bytes;
    return { volume, offset: random.int(reach / SECTOR_BYTES) * SECTOR_BYTES };
  }
}

function nobody(): never {
  throw new RangeError('no VM or host');
}
