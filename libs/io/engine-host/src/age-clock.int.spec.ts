import { afterEach, describe, expect, it } from '@jest/globals';
import { FileBench, IDENTITY } from '@tidemark/journal-file/testing';
import { AgeClock } from './age-clock.js';
import { HeldExchange } from './held-exchange.js';
import type { RecoveryHost } from './recovery-host.js';
import { RetirementHost } from './retirement-host.js';
import type { Logger } from './types.js';

const HISTORY_MS = 100_000;
const SETTLE_MS = 60_000;
const DAY_MS = 86_400_000;
const { vpgId, vmId } = IDENTITY;

/** The clocks of a host that recovers one VM by itself; its journal and its agreement on retirement are the real ones. */
class Host {
  monotonicMs = 7_000_000;
  wallMs = 1_790_000_000_000;
  readonly told: object[] = [];
  #ages = this.#newClock();
  #retiring: Promise<void> | undefined;
  readonly #retirement = this.#newRetirement();
  #exchange = this.#newExchange();
  #lookMs = 0;

  private constructor(readonly bench: FileBench) {}

  static async make(): Promise<Host> {
    const made: { host?: Host } = {};
    const bench = await FileBench.make({ clocks: { monotonicMs: () => made.host?.ages.nowMs() ?? 0, wallClockMs: () => 0 } });
    const host = (made.host = new Host(bench));
    await bench.reopen();
    await bench.base();
    return host;
  }

  get ages(): AgeClock {
    return this.#ages;
  }

  get held(): number[] {
    return this.bench.journal.checkpoints().map(({ checkpointId }) => checkpointId);
  }

  /** Both clocks go on, and are read, as the upkeep of a VRA does each second. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1000) {
      this.monotonicMs += 1000;
      this.wallMs += 1000;
      this.#ages.nowMs();
    }
  }

  /** A checkpoint every ten seconds. */
  async checkpoints(count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      this.pass(10_000);
      await this.bench.checkpoint();
    }
  }

  /** What is old enough is retired, durably. */
  async look(): Promise<void> {
    this.#lookMs += 10_000;
    this.#exchange.tick(this.#lookMs);
    await this.#retiring;
  }

  /** The host was down for `downMs` and its monotonic clock begins anew. */
  async reboot(downMs: number): Promise<void> {
    this.monotonicMs = 4000;
    this.wallMs += downMs;
    this.#ages = this.#newClock();
    this.#exchange.close();
    this.#exchange = this.#newExchange();
    await this.bench.reopen();
  }

  async close(): Promise<void> {
    this.#exchange.close();
    this.#retirement.close();
    await this.bench.remove();
  }

  #newClock(): AgeClock {
    const log: Logger = { info: () => undefined, warn: () => undefined, error: (fields) => this.told.push(fields) };
    return new AgeClock({ log, settleMs: SETTLE_MS, clocks: { monotonicMs: () => this.monotonicMs, wallClockMs: () => this.wallMs } });
  }

  #newRetirement(): RetirementHost {
    const log: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
    return new RetirementHost({ vpgId, epoch: 1, historyMs: HISTORY_MS, recoverers: [{ vraId: 'r', vmIds: [vmId] }] }, 0, {
      selfVraId: 'r', log, send: () => undefined, isPeerUp: () => false, pinnedReason: () => undefined, allowApply: () => Promise.resolve(),
      makeRetired: (checkpointId) => (this.#retiring = this.bench.journal.retire(checkpointId)),
    });
  }

  #newExchange(): HeldExchange {
    const recovery = (): RecoveryHost => ({ spec: { historyMs: HISTORY_MS }, journal: this.bench.journal, wantedOldest: () => undefined }) as unknown as RecoveryHost;
    return new HeldExchange({
      selfVraId: 'r', ages: this.#ages, retirements: new Map([[vpgId, this.#retirement]]), recoveriesOf: () => [recovery()], pinnedIdsOf: () => [], thinningOf: () => undefined, send: () => undefined,
    });
  }
}

let host: Host | undefined;
afterEach(async () => await host?.close());

/** Thirty checkpoints ten seconds apart: 20 is as old as the history, 30 is new. */
async function withHistory(): Promise<Host> {
  host = await Host.make();
  await host.checkpoints(30);
  return host;
}

describe('retirement by age', () => {
  it('goes by the running time while the clocks of the host agree', async () => {
    const vra = await withHistory();
    await vra.look();
    expect([vra.held[0], vra.ages.doubt()]).toEqual([20, null]);
  });

  it.each([['three days forward', 3 * DAY_MS], ['two days back', -2 * DAY_MS]])('stands still when the wall clock is set %s, says so, and goes on when both clocks have agreed for a while', async (_name, byMs) => {
    const vra = await withHistory();
    vra.wallMs += byMs;
    await vra.checkpoints(5);
    await vra.look();
    expect(vra.held).toHaveLength(35);
    expect(vra.ages.doubt()).toMatchObject({ byMs });
    expect(vra.told).toEqual([expect.objectContaining({ byMs })]);
    await vra.checkpoints(2);
    await vra.look();
    expect(vra.ages.doubt()).toBeNull();
    // 370 s have passed, of which a step back hides the second that it fell into.
    expect(vra.held[0]).toBe(byMs > 0 ? 27 : 26);
  });

  it('never counts the time that a monotonic clock has made up, over a restart of the host neither', async () => {
    const vra = await withHistory();
    vra.monotonicMs += 3 * DAY_MS;
    await vra.checkpoints(8);
    await vra.look();
    expect(vra.held[0]).toBe(28);
    await vra.reboot(DAY_MS);
    await vra.checkpoints(1);
    await vra.look();
    expect(vra.held[0]).toBe(29);
  });

  it('counts neither the time that a host was down nor a clock that was wrong when it came up', async () => {
    const vra = await withHistory();
    for (const downMs of [30 * DAY_MS, -60 * DAY_MS]) await vra.reboot(downMs);
    await vra.look();
    expect(vra.held[0]).toBe(20);
  });
});
