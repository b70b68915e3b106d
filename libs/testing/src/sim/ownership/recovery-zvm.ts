import { beginRun, dueStep, resumed, rollBack, stepFailed, stepSucceeded, type PlanKind, type PlanRun } from '@tidemark/recovery';
import { nextState, type VpgState } from '@tidemark/vpg';
import { Actor, type Answer, type Wires } from './wires.js';
import type { World } from '../world.js';
import type { ProtectedZvm, SharedRecord } from './protected-side.js';
import type { RecoveringVra } from './recovering-vra.js';
import { CLAIM_OVER_WITHIN_MS, type Truth } from './truth.js';

interface Failover {
  readonly reservedEpoch: number;
  readonly phase: 'starting' | 'beforeCommit' | 'committing' | 'rollingBack' | 'promoting';
}

interface OwnRecord extends SharedRecord {
  readonly epochMax: number;
  readonly failover: Failover | null;
}

type Settle = (answer: Answer<void>) => void;

const DONE: Answer<void> = { isAnswered: true, value: undefined };

/** The manager of the recovery site: the real plans of failover, commit and rollback, step by step, stored after each, resumed after each crash. */
export class RecoveryZvm extends Actor {
  /** Durable. */
  record: OwnRecord = { state: 'protecting', generation: 1, epoch: 1, epochMax: 1, failover: null };
  /** Durable. */
  run: PlanRun | undefined;
  /** The hypervisor's. */
  areVmsOn = false;
  #isStepping = false;

  constructor(
    world: World,
    private readonly wires: Wires,
    private readonly recovering: readonly RecoveringVra[],
    private readonly protectedZvm: () => ProtectedZvm,
    private readonly truth: Truth,
  ) {
    super('recovery ZVM', world);
  }

  protected forget(): void {
    this.#isStepping = false;
  }

  begin(): void {
    if (this.run) this.run = resumed(this.run);
    this.every(250, () => this.#next());
    this.every(800, () => this.#tellPeer());
  }

  /** False: not now. */
  start(kind: Extract<PlanKind, 'failover' | 'failoverCommit' | 'failoverRollback'>): boolean {
    const isWaiting = this.record.failover?.phase === 'beforeCommit';
    if (this.run || (kind === 'failover' ? this.record.state !== 'protecting' : !isWaiting)) return false;
    this.run = beginRun(kind);
    return true;
  }

  /** A person stops what can still be stopped. */
  stop(): void {
    if (this.run) this.run = rollBack(this.run, 'stopped') ?? this.run;
  }

  #tellPeer(): void {
    const { state, generation, epoch } = this.record;
    const peer = this.protectedZvm();
    const saidMs = this.world.nowMs;
    const hasCommitted = this.truth.commitCount > 0;
    this.wires.send(this, peer, () => {
      peer.put({ state, generation, epoch });
      if (!hasCommitted && saidMs > this.truth.claimedMs) peer.later(CLAIM_OVER_WITHIN_MS, () => {
        if (!peer.knowsOfCommit && saidMs > this.truth.claimedMs) this.truth.claimIsOver();
      });
    });
  }

  #next(): void {
    const { run } = this;
    if (!run || this.#isStepping) return;
    const due = dueStep(run);
    if (!due) {
      this.run = undefined;
      return;
    }
    this.#isStepping = true;
    this.#step(`${due.direction} ${due.name}`, (answer) => {
      this.#isStepping = false;
      if (this.run !== run) return;
      // The effect stands, and then the manager dies before it has stored that: the step is done once more.
      this.later(this.world.random.below(60), () => {
        if (this.run === run) this.run = answer.isAnswered ? stepSucceeded(run) : stepFailed(run, answer);
      });
    });
  }

  #step(step: string, settle: Settle): void {
    switch (step) {
      case 'do recordFailover': return this.#change(settle, (record) => this.#recorded(record));
      case 'undo recordFailover':
      case 'do markRolledBack': return this.#change(settle, (record) => (record.failover ? { ...record, state: nextState(record.state, 'rolledBack'), failover: null } : record), () => (this.truth.rollbackCount += 1));
      case 'do reserveEpoch': return this.#epochs('reserveEpoch', settle);
      case 'undo reserveEpoch':
      case 'do burnEpoch': return this.#epochs('burnEpoch', settle);
      case 'do commitEpoch': return this.#epochs('commitEpoch', settle);
      case 'do powerOnVms': return this.#power(true, settle);
      case 'undo powerOnVms':
      case 'do powerOffVms': return this.#power(false, settle);
      case 'do markBeforeCommit': return this.#phase('beforeCommit', settle);
      case 'do markCommitting': return this.#phase('committing', settle);
      case 'do markRollingBack': return this.#phase('rollingBack', settle);
      case 'do endReplication': return this.#change(settle, (record) => this.#committed(record), () => this.#tellPeer());
      default: return this.later(this.world.random.below(50), () => settle(DONE));
    }
  }

  /** One transaction of the database. */
  #change(settle: Settle, change: (record: OwnRecord) => Omit<OwnRecord, 'generation'>, then: () => void = () => undefined): void {
    this.later(this.world.random.below(40), () => {
      const next = change(this.record);
      if (next !== this.record) {
        this.record = { ...next, generation: this.record.generation + 1 };
        then();
      }
      this.later(this.world.random.below(40), () => settle(DONE));
    });
  }

  #recorded(record: OwnRecord): Omit<OwnRecord, 'generation'> {
    if (record.failover) return record;
    this.truth.failoverCount += 1;
    const reservedEpoch = record.epochMax + 1;
    return { ...record, state: nextState(record.state, 'failoverStarted'), epochMax: reservedEpoch, failover: { reservedEpoch, phase: 'starting' } };
  }

  #committed(record: OwnRecord): Omit<OwnRecord, 'generation'> {
    if (!record.failover || record.state === 'promoting') return record;
    this.truth.commitCount += 1;
    return { ...record, state: nextState(record.state, 'committed'), epoch: record.failover.reservedEpoch, failover: { ...record.failover, phase: 'promoting' } };
  }

  #phase(phase: Failover['phase'], settle: Settle): void {
    this.#change(settle, (record) => (record.failover ? { ...record, failover: { ...record.failover, phase } } : record));
  }

  #power(isOn: boolean, settle: Settle): void {
    const { failover } = this.record;
    if (isOn && failover) this.truth.recoveredVmsStart(failover.reservedEpoch, this.recovering);
    this.areVmsOn = isOn;
    this.later(this.world.random.below(100), () => settle(DONE));
  }

  /** Every VRA, at once; the first one that fails fails the step. */
  #epochs(step: 'reserveEpoch' | 'commitEpoch' | 'burnEpoch', settle: Settle): void {
    const epoch = this.record.failover?.reservedEpoch;
    if (epoch === undefined) return this.later(1, () => settle(DONE));
    let waiting = this.recovering.length;
    let isSettled = false;
    for (const vra of this.recovering) {
      this.wires.ask(this, vra, () => vra.step(step, epoch), (answer) => {
        waiting -= 1;
        if (isSettled || (answer.isAnswered && waiting > 0)) return;
        isSettled = true;
        settle(answer);
      });
    }
  }

  get state(): VpgState {
    return this.record.state;
  }
}
