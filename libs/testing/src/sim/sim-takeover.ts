import { claimVerdict, letGo, type JournalOwnership } from '@tidemark/journal';
import type { RecoveringHost } from './recovering-host.js';
import type { RecoveredVm, SimRecovery } from './sim-recovery.js';
import { keyOf } from './topology.js';
import { Violation } from './world.js';

/** What a command says of a journal that goes from host to host. */
export interface MoveOrder {
  readonly vm: RecoveredVm;
  readonly moveNumber: number;
}

/** The owner's file beside each journal, on a datastore that all hosts of a site see. */
export class SimOwners {
  readonly #files = new Map<string, JournalOwnership>();
  readonly #hosts: RecoveringHost[] = [];

  add(host: RecoveringHost, vms: readonly RecoveredVm[]): void {
    this.#hosts.push(host);
    for (const vm of vms) this.#files.set(keyOf(vm.vpgId, vm.vmId), { vraId: host.name, moveNumber: 0, releasedTo: null });
  }

  find(key: string): JournalOwnership | undefined {
    return this.#files.get(key);
  }

  /** Atomic, and durable when it resolves: renamed over the old one, which a crash before leaves there. */
  async save(host: RecoveringHost, key: string, owner: JournalOwnership): Promise<void> {
    await host.stateSaved();
    this.#files.set(key, owner);
  }

  /** Whoever else has the journal open, or opens it. */
  otherWriter(host: RecoveringHost, key: string): RecoveringHost | undefined {
    return this.#hosts.find((other) => other !== host && other.isAlive && other.recoveries.some((recovery) => recovery.key === key));
  }

  /** Files on the datastore: who opens them has them in his page cache, and what another host had not synced is lost with it, or not. */
  bringTo(host: RecoveringHost, key: string): void {
    for (const other of this.#hosts) {
      if (other === host || !other.disk.has(`${key}/`)) continue;
      other.disk.handOver(`${key}/`, host.disk, host.world.random);
      if (other.rotted.has(key)) host.rotted.add(key);
      if (other.unreadable.has(key)) host.unreadable.add(key);
    }
  }
}

/** Which recoveries one host has, by its state file, and how they come and go. */
export class SimTakeover {
  /** The state file. */
  readonly #orders = new Map<string, MoveOrder>();
  readonly #busy = new Set<string>();

  constructor(private readonly host: RecoveringHost, vms: readonly RecoveredVm[], private readonly owners: SimOwners | undefined) {
    for (const vm of vms) this.#orders.set(keyOf(vm.vpgId, vm.vmId), { vm, moveNumber: 0 });
    owners?.add(host, vms);
  }

  /** What the process opens when it starts: not what was moved while it did not run. */
  atStart(): RecoveredVm[] {
    this.#busy.clear();
    return [...this.#orders].filter(([key, { moveNumber }]) => this.#mayOpen(key, moveNumber) === 'open').map(([, { vm }]) => vm);
  }

  #mayOpen(key: string, moveNumber: number): ReturnType<typeof claimVerdict> {
    return this.owners === undefined ? 'open' : claimVerdict(this.owners.find(key), { vraId: this.host.name, moveNumber, isOldHostDown: false });
  }

  checkAlone(key: string): void {
    const other = this.owners?.otherWriter(this.host, key);
    if (other !== undefined) this.host.world.fail(new Violation('writers', `the VRA of ${this.host.name} opens the journal of ${key}, which that of ${other.name} has open`));
  }

  /** Durable before the first file is closed; when all are closed the files say so, durably. May be repeated, also where it is unknown. */
  async release(key: string, moveNumber: number): Promise<void> {
    const { host, owners } = this;
    const order = this.#orders.get(key);
    if (order !== undefined && order.moveNumber >= moveNumber) throw new Error(`move ${order.moveNumber} brought it here: move ${moveNumber} is older`);
    await this.#alone(key, async () => {
      const recovery = host.recoveries.find((one) => one.key === key);
      if (recovery !== undefined && recovery.journal === undefined) throw new Error('being opened');
      if (order !== undefined) {
        await host.stateSaved();
        this.#orders.delete(key);
      }
      const isHasty = host.plant?.flag === 'letGoHasty';
      if (isHasty) await this.#letGo(key, moveNumber);
      if (recovery !== undefined) await host.end(recovery);
      if (!isHasty && owners !== undefined) await this.#letGo(key, moveNumber);
    });
  }

  async #letGo(key: string, moveNumber: number): Promise<void> {
    const released = letGo(this.owners?.find(key), { vraId: this.host.name, moveNumber });
    if (released !== undefined) await this.owners?.save(this.host, key, released);
  }

  /** Its name is in the files, durably, before it opens them; then the recovery is in the state file. May be repeated. */
  async takeOver({ vm, moveNumber }: MoveOrder): Promise<void> {
    const { host, owners } = this;
    const key = keyOf(vm.vpgId, vm.vmId);
    const known = this.#orders.get(key);
    if (known !== undefined && known.moveNumber > moveNumber) throw new Error('an older move');
    await this.#alone(key, async () => {
      if (this.#mayOpen(key, moveNumber) !== 'open') throw new Error('moved, or not released');
      if (host.plant?.flag !== 'claimSkipped') await owners?.save(host, key, { vraId: host.name, moveNumber, releasedTo: null });
      const recovery = host.recoveries.find((one) => one.key === key) ?? this.#begin(vm, key);
      while (recovery.journal === undefined) await host.wait(5);
      await host.stateSaved();
      this.#orders.set(key, { vm, moveNumber });
    });
  }

  #begin(vm: RecoveredVm, key: string): SimRecovery {
    this.checkAlone(key);
    this.owners?.bringTo(this.host, key);
    return this.host.begin({ ...vm, isPreseeded: false });
  }

  /** One command for a journal after the other, in one life of the process. */
  async #alone(key: string, act: () => Promise<void>): Promise<void> {
    if (this.#busy.has(key)) throw new Error('busy');
    const { life } = this.host;
    this.#busy.add(key);
    try {
      await act();
    } finally {
      if (this.host.life === life) this.#busy.delete(key);
    }
  }
}
