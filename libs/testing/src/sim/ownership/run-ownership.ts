import { isFenced } from '@tidemark/vpg';
import type { Plant } from '../plants.js';
import { Random } from '../random.js';
import { Violation, World } from '../world.js';
import { ProtectedZvm, ProtectingVra } from './protected-side.js';
import { RecoveringVra } from './recovering-vra.js';
import { RecoveryZvm } from './recovery-zvm.js';
import { Truth } from './truth.js';
import { Wires, type Actor } from './wires.js';

export interface OwnershipResult {
  /** undefined: everything held. */
  readonly violation: Error | undefined;
  readonly truth: Truth;
}

/** Retries of a step are seconds apart; an answer that is lost takes 1.5 s. */
const SETTLE_MS = 60_000;

/**
 * Who owns the VMs of one VPG, and nothing else: managers and VRAs of both sites as processes that die at any event, with partitions between any two of them, while
 * people fail over, commit, roll back and claim. Plans, states, epochs, receivers and fences are the real ones.
 */
class OwnershipRun {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #wires: Wires;
  readonly #recovering: readonly RecoveringVra[];
  readonly #protectingVra: ProtectingVra;
  readonly #protectedZvm: ProtectedZvm;
  readonly #recoveryZvm: RecoveryZvm;
  /** Of its own, so that runs without a liar are what they were. */
  readonly #lies: Random;
  readonly #hasLiar: boolean;
  #isFaulty = true;

  constructor(seed: number, plant: Plant | undefined) {
    this.#world = new World(seed ^ 0x0e90c4);
    this.#truth = new Truth(this.#world);
    this.#lies = new Random(seed ^ 0x11e5);
    this.#hasLiar = this.#lies.chance(0.25);
    this.#wires = new Wires(this.#world);
    const count = 1 + this.#world.random.int(3);
    this.#recovering = Array.from({ length: count }, (_, index) => new RecoveringVra(`recovering VRA ${index + 1}`, this.#world, this.#truth));
    this.#protectingVra = new ProtectingVra(this.#world, this.#wires, this.#recovering, this.#truth);
    this.#protectedZvm = new ProtectedZvm(this.#world, this.#wires, this.#protectingVra, this.#truth, plant);
    this.#recoveryZvm = new RecoveryZvm(this.#world, this.#wires, this.#recovering, () => this.#protectedZvm, this.#truth);
  }

  get #actors(): readonly Actor[] {
    return [this.#protectedZvm, this.#protectingVra, this.#recoveryZvm, ...this.#recovering];
  }

  async result(): Promise<OwnershipResult> {
    try {
      for (const actor of this.#actors) actor.begin();
      const faultsMs = this.#world.random.between(8000, 40_000);
      this.#haveFaults(faultsMs);
      this.#havePeople();
      if (this.#hasLiar) this.#haveLies(faultsMs);
      this.#watch();
      await this.#world.runUntil(faultsMs);
      this.#makeWhole();
      await this.#world.runUntil(faultsMs + SETTLE_MS);
      this.#checkEnd();
      return { violation: undefined, truth: this.#truth };
    } catch (error) {
      return { violation: error instanceof Error ? error : new Error(String(error)), truth: this.#truth };
    }
  }

  #watch(): void {
    this.#protectedZvm.watch();
    this.#world.after(500, () => this.#watch());
  }

  #haveFaults(untilMs: number): void {
    const { random } = this.#world;
    const everyMs = random.between(300, 4000);
    const crashShare = random.unit();
    const next = (): void => {
      if (!this.#isFaulty || this.#world.nowMs > untilMs) return;
      if (random.chance(crashShare)) this.#crashOne();
      else this.#partition();
      this.#world.after(random.below(2 * everyMs), next);
    };
    this.#world.after(random.below(everyMs), next);
  }

  #crashOne(): void {
    const actor = this.#world.random.pick(this.#actors);
    if (!actor.isUp) return;
    this.#truth.crashCount += 1;
    actor.crash();
    this.#world.after(this.#world.random.between(50, 8000), () => actor.restart());
  }

  /** Between two of them, or between the sites as a whole. */
  #partition(): void {
    const { random } = this.#world;
    const [first, second] = [random.pick(this.#actors), random.pick(this.#actors)];
    const old = [this.#protectedZvm, this.#protectingVra];
    const pairs = random.chance(0.4) ? old.flatMap((a) => [this.#recoveryZvm, ...this.#recovering].map((b) => [a, b] as const)) : [[first, second] as const];
    for (const [a, b] of pairs) this.#wires.setCut(a, b, true);
    this.#world.after(random.between(200, 12_000), () => {
      for (const [a, b] of pairs) this.#wires.setCut(a, b, false);
    });
  }

  /** One recovering VRA was taken over, and refuses its streams for a while. */
  #haveLies(untilMs: number): void {
    const liar = this.#lies.pick(this.#recovering);
    this.#world.after(this.#lies.below(untilMs), () => {
      this.#truth.lieCount += 1;
      liar.isLying = true;
      this.#world.after(this.#lies.between(500, 8000), () => {
        liar.isLying = false;
      });
    });
  }

  #havePeople(): void {
    const { random } = this.#world;
    const everyMs = random.between(500, 4000);
    const commitShare = random.between(0.2, 0.8);
    const isForceful = random.chance(0.1) || this.#hasLiar;
    const next = (): void => {
      const zvm = this.#recoveryZvm;
      if (zvm.isUp) {
        if (zvm.state === 'protecting' && this.#isFaulty) zvm.start('failover');
        else if (zvm.record.failover?.phase === 'beforeCommit') zvm.start(random.chance(commitShare) ? 'failoverCommit' : 'failoverRollback');
        else if (random.chance(0.1)) zvm.stop();
      }
      if (this.#protectedZvm.isUp) this.#protectedZvm.claim(isForceful && random.chance(0.3));
      this.#world.after(random.below(2 * everyMs), next);
    };
    this.#world.after(random.below(everyMs), next);
  }

  #makeWhole(): void {
    this.#isFaulty = false;
    this.#wires.healAll();
    for (const actor of this.#actors) actor.restart();
  }

  /** Everybody was up and connected for long: exactly one side has the VMs. */
  #checkEnd(): void {
    const { record, areVmsOn, run } = this.#recoveryZvm;
    const { isClaimedByForce, hasFenced, settledCount, lieCount } = this.#truth;
    const { document } = this.#protectingVra;
    if (run) throw new Violation('stuck', `${run.kind} has not ended: ${run.phase}, step ${run.stepIndex}, ${run.reason ?? ''}`);
    if (record.state === 'promoting') {
      const other = this.#recovering.find(({ journal }) => journal.epoch !== record.epoch || !journal.isEnded);
      if (other) throw new Violation('ownership', `the failover is committed under epoch ${record.epoch}, and ${other.name} is at ${other.journal.epoch}`);
      if (!areVmsOn) throw new Violation('ownership', 'the failover is committed, and its VMs are off');
      // A word from before the commit that came behind the claim has it fenced once more: the safe side.
      const isAsClaimed = isClaimedByForce && settledCount === 0 ? !document.isFenced : isClaimedByForce || document.isFenced;
      if (!isAsClaimed) throw new Violation('ownership', `the failover is committed, and the VMs of the old site are ${document.isFenced ? 'fenced though claimed by force' : 'not fenced'}`);
      return;
    }
    if (record.state !== 'protecting') throw new Violation('stuck', `the VPG is ${record.state} (${record.failover?.phase ?? ''})`);
    if (areVmsOn) throw new Violation('ownership', 'rolled back, and the recovered VMs run');
    if (lieCount === 0 && (hasFenced || isFenced(this.#protectedZvm.fence))) throw new Violation('ownership', 'nothing was committed, and the VMs of the protected site were fenced');
    const reserved = this.#recovering.find(({ journal }) => journal.reservedEpoch !== null || journal.epoch !== 1);
    if (reserved) throw new Violation('ownership', `rolled back, and ${reserved.name} has epoch ${reserved.journal.epoch}, reserved ${String(reserved.journal.reservedEpoch)}`);
  }
}

/** One whole run of the ownership protocol. The same seed is the same run. */
export async function runOwnership(seed: number, plant?: Plant): Promise<OwnershipResult> {
  return await new OwnershipRun(seed, plant).result();
}
