import { Violation, type World } from '../world.js';
import type { RecoveringVra } from './recovering-vra.js';

/** How long a site may know, with all of it up and connected, that another one owns its VMs, before they are fenced. */
export const FENCED_WITHIN_MS = 6000;
/** How long the old site's manager may have heard that there was no failover before a claim from nobody is over. */
export const CLAIM_OVER_WITHIN_MS = 2000;

/** What really happened, seen from outside; nobody in the run knows it. */
export class Truth {
  /** The old site's VMs were fenced once. */
  hasFenced = false;
  /** A person insisted, after the risk was named. Over once the other manager has said that there was no failover: then there was nobody to claim from. */
  isClaimedByForce = false;
  isEverClaimed = false;
  /** The other manager was heard since the last claim. */
  isHeardSinceClaim = false;
  claimedMs = -Infinity;
  /** A claim ended by the old site's own judgement. */
  settledCount = 0;
  lieCount = 0;
  readonly burned = new Set<number>();
  writeCount = 0;
  failoverCount = 0;
  commitCount = 0;
  rollbackCount = 0;
  crashCount = 0;

  constructor(private readonly world: World) {}

  fail(message: string): void {
    this.world.fail(new Violation('ownership', `${message} (at ${Math.round(this.world.nowMs)} ms)`));
  }

  claimed(): void {
    this.isClaimedByForce = true;
    this.isEverClaimed = true;
    this.isHeardSinceClaim = false;
    this.claimedMs = this.world.nowMs;
  }

  claimIsOver(): void {
    this.isClaimedByForce = false;
    this.hasFenced = false;
  }

  settled(): void {
    this.settledCount += 1;
    if (!this.isHeardSinceClaim) this.fail('a claim is over by what the other manager said before it');
  }

  recoveredVmsStart(epoch: number, recovering: readonly RecoveringVra[]): void {
    const missing = recovering.find(({ journal }) => journal.reservedEpoch !== epoch && journal.epoch !== epoch);
    if (missing) this.fail(`recovered VMs start under epoch ${epoch}, which ${missing.name} has not reserved`);
    if (this.burned.has(epoch)) this.fail(`recovered VMs start under epoch ${epoch}, which was burned`);
  }

  protectedVmWrote(): void {
    this.writeCount += 1;
    if (this.hasFenced && !this.isClaimedByForce) this.fail('a VM writes at the old site after it was fenced there, and nobody claimed it by force');
  }

  streamTook(epoch: number, { name, journal }: RecoveringVra): void {
    if (epoch < journal.epoch) this.fail(`${name} takes a write of epoch ${epoch} into a history of epoch ${journal.epoch}`);
  }
}
