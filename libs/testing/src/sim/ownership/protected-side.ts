import { claimRefusal, fenceDue, isDenied, isFenced, type Fence, type VpgState } from '@tidemark/vpg';
import { Actor, type Wires } from './wires.js';
import type { Plant } from '../plants.js';
import type { World } from '../world.js';
import type { RecoveringVra } from './recovering-vra.js';
import { FENCED_WITHIN_MS, type Truth } from './truth.js';

/** What both sites keep of the VPG. */
export interface SharedRecord {
  readonly state: VpgState;
  readonly generation: number;
  readonly epoch: number;
}

interface Document {
  readonly revision: number;
  readonly epoch: number;
  readonly isProtected: boolean;
  readonly isFenced: boolean;
}

/** A manager that was not heard for so long is silent. */
const HEARD_MS = 3000;

const isReplicating = (state: VpgState): boolean => state === 'protecting' || state === 'failingOver';

/** The VRA of the protected site: its guest writes whenever it may; the writes go to every recovering VRA that has opened the stream. */
export class ProtectingVra extends Actor {
  /** Durable. */
  document: Document = { revision: 0, epoch: 1, isProtected: true, isFenced: false };
  readonly #streams = new Map<string, number>();
  readonly #fencedBy = new Set<string>();

  constructor(
    world: World,
    private readonly wires: Wires,
    private readonly recovering: readonly RecoveringVra[],
    private readonly truth: Truth,
  ) {
    super('protecting VRA', world);
  }

  /** A recovering VRA has refused its stream because of the epoch. */
  get isStreamFenced(): boolean {
    return this.#fencedBy.size > 0;
  }

  protected forget(): void {
    this.#streams.clear();
    this.#fencedBy.clear();
  }

  begin(): void {
    this.every(120, () => this.#guestWrites());
    this.every(400, () => this.#openStreams());
  }

  apply(document: Document): void {
    if (document.revision <= this.document.revision) return;
    this.document = document;
    if (document.isFenced) this.truth.hasFenced = true;
    if (!document.isProtected) this.#streams.clear();
  }

  #guestWrites(): void {
    if (this.document.isFenced) return;
    this.truth.protectedVmWrote();
    const { epoch } = this.document;
    for (const vra of this.recovering) {
      const connection = this.#streams.get(vra.name);
      if (connection === undefined) continue;
      this.wires.send(this, vra, () => {
        if (!vra.write(connection, epoch)) this.wires.send(vra, this, () => this.#lost(vra, connection));
      });
    }
  }

  #lost(vra: RecoveringVra, connection: number): void {
    if (this.#streams.get(vra.name) === connection) this.#streams.delete(vra.name);
  }

  #openStreams(): void {
    const { epoch, isProtected } = this.document;
    if (!isProtected) return;
    for (const vra of this.recovering) {
      if (!this.wires.reaches(this, vra)) this.#streams.delete(vra.name);
      if (this.#streams.has(vra.name) || this.#fencedBy.has(vra.name)) continue;
      this.wires.ask(this, vra, () => vra.open(epoch), (answer) => {
        if (!answer.isAnswered) return;
        if (answer.value.isOpen) this.#streams.set(vra.name, answer.value.connection);
        else if (answer.value.isFenced) this.#fencedBy.add(vra.name);
      });
    }
  }
}

/** The manager of the protected site: a copy of the VPG, fences, and a person who sometimes claims the VMs. */
export class ProtectedZvm extends Actor {
  /** Durable. */
  record: SharedRecord = { state: 'protecting', generation: 1, epoch: 1 };
  /** Durable. */
  fence: Fence | undefined;
  /** Durable. */
  #revision = 0;
  #told = '';
  #isStreamFenced = false;
  #knowsSinceMs: number | undefined;
  /** When the other manager last said what is known here. */
  #agreedMs: number | undefined;
  #claimedMs = -Infinity;

  constructor(
    world: World,
    private readonly wires: Wires,
    private readonly vra: ProtectingVra,
    private readonly truth: Truth,
    private readonly plant: Plant | undefined,
  ) {
    super('protected ZVM', world);
  }

  protected forget(): void {
    this.#told = '';
    this.#isStreamFenced = false;
    this.#agreedMs = undefined;
    this.#claimedMs = -Infinity;
    if (this.plant?.flag === 'fenceVolatile') this.fence = undefined;
  }

  begin(): void {
    this.#knowsSinceMs = undefined;
    this.every(500, () => this.#hearVra());
    this.every(700, () => this.#look());
    this.every(300, () => this.#tellVra());
  }

  /** `vpg.put` of the recovery site. */
  put(record: SharedRecord): void {
    if (record.generation > this.record.generation) this.record = record;
    this.#agreedMs = record.generation === this.record.generation ? this.world.nowMs : undefined;
    this.truth.isHeardSinceClaim = true;
  }

  /** Somebody wants the VMs to run here again. */
  claim(isForced: boolean): void {
    const refusal = claimRefusal({ fence: this.fence, isDenied: this.#isDenied(-Infinity), isForced, vpgName: 'vpg', ownerSiteName: 'b', ownSiteName: 'a' });
    if (refusal !== undefined || this.fence === undefined) return;
    if (isForced) this.truth.claimed();
    this.#claimedMs = this.world.nowMs;
    this.fence = { ...this.fence, isLifted: true };
  }

  get knowsOfCommit(): boolean {
    return ['promoting', 'reversing', 'needsConfiguration'].includes(this.record.state);
  }

  /** `sinceMs`: what was said before does not count. */
  #isDenied(sinceMs: number): boolean {
    const isNewest = this.#agreedMs !== undefined && this.#agreedMs > sinceMs && this.world.nowMs - this.#agreedMs < HEARD_MS;
    return this.fence !== undefined && isDenied({ ...this.record, isNewest }, this.fence);
  }

  #hearVra(): void {
    this.wires.ask(this, this.vra, () => this.vra.isStreamFenced && this.vra.document.epoch === this.record.epoch, (answer) => {
      if (answer.isAnswered) this.#isStreamFenced = answer.value;
    });
  }

  #look(): void {
    const { state, epoch } = this.record;
    const due = fenceDue({ state, epoch, vmIds: ['vm'], refusedVmIds: this.#isStreamFenced ? ['vm'] : [] }, this.fence);
    if (due !== undefined) this.fence = { ...due, isLifted: false };
    else if (this.fence?.isLifted === true && this.#isDenied(this.plant?.flag === 'oldWordSettles' ? -Infinity : this.#claimedMs)) this.#settle(this.fence);
  }

  /** The claim was from nobody: the next failover fences again, whichever number it takes. */
  #settle(fence: Fence): void {
    if (this.plant?.flag === 'claimNeverOver') return;
    this.fence = { ...fence, epoch: this.record.epoch };
    this.truth.settled();
  }

  #tellVra(): void {
    const { state, epoch } = this.record;
    const content = { epoch, isProtected: isReplicating(state), isFenced: isFenced(this.fence) };
    const digest = JSON.stringify(content);
    if (digest !== this.#told) this.#revision += 1;
    this.#told = digest;
    const document = { ...content, revision: this.#revision };
    if (this.vra.document.revision < document.revision) this.wires.send(this, this.vra, () => this.vra.apply(document));
  }

  /** Each half second, from outside: who knows, and can act, must have acted in time. */
  watch(): void {
    const knows = this.knowsOfCommit || (this.vra.isStreamFenced && !this.truth.isEverClaimed);
    const mayAct = this.wires.reaches(this, this.vra) && knows && !this.vra.document.isFenced && !this.truth.isClaimedByForce;
    if (!mayAct) this.#knowsSinceMs = undefined;
    else this.#knowsSinceMs ??= this.world.nowMs;
    if (this.#knowsSinceMs !== undefined && this.world.nowMs - this.#knowsSinceMs > FENCED_WITHIN_MS) {
      this.truth.fail('the old site knows that another one owns its VMs, and does not fence them');
    }
  }
}
