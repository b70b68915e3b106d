import { describe, expect, it } from '@jest/globals';
import { CheckpointCatalogue, type HeldCheckpoint } from './checkpoint-catalogue.js';
import { JournalIntake } from './journal-intake.js';
import type { ListingPage } from './journal-listing.js';
import type { ListingLimits } from './listing-allowance.js';
import { SharedVmSets } from './shared-vm-sets.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LIMITS: ListingLimits = { historyMs: DAY_MS, intervalMs: 5000 };
/** Three days and twice the history, one each 5 s. */
const CAPACITY = 60_000 + (2 * DAY_MS) / 5000;
const PAGE = 5000;

const checkpoint = (checkpointId: number, values: Partial<HeldCheckpoint> = {}): HeldCheckpoint => ({ checkpointId, epoch: 1, term: 1, vmIds: ['a'], atMs: 0, tag: null, kind: 'automatic', ...values });
const many = (count: number, from = 1, valuesOf: (id: number) => Partial<HeldCheckpoint> = () => ({})): HeldCheckpoint[] => Array.from({ length: count }, (_, index) => checkpoint(from + index, valuesOf(from + index)));

/** A ZVM that reads the journal of VM a, whose VRA answers what the test says. */
class Reader {
  readonly catalogue = new CheckpointCatalogue();
  nowMs = 0;
  readonly #intake: JournalIntake<HeldCheckpoint>;
  #lastChange = 0;

  constructor(public limits = LIMITS, listedBefore = 0, vmSets = new SharedVmSets()) {
    this.#intake = new JournalIntake(vmSets, limits, { listedBefore, nowMs: 0 });
  }

  get count(): number {
    return this.catalogue.listed().length;
  }

  isHeldOff(): boolean {
    return this.#intake.isHeldOff(this.nowMs);
  }

  /** The whole list, page by page, as a VRA that was started anew gives it. True: it was taken. */
  whole(instance: string, held: readonly HeldCheckpoint[]): boolean {
    for (let at = 0; ; at += PAGE) {
      const { question } = this.#intake.listing;
      const page = { instance, lastChange: this.#lastChange, isWhole: true, isMore: at + PAGE < held.length, held: held.slice(at, at + PAGE), dropped: [] };
      if (!this.#take(question, page)) return false;
      if (!this.#intake.listing.isReading && this.#intake.listing.isKnown) return true;
    }
  }

  changes(instance: string, held: readonly HeldCheckpoint[], dropped: readonly number[] = []): boolean {
    this.#lastChange += 1;
    return this.#take(this.#intake.listing.question, { instance, lastChange: this.#lastChange, isWhole: false, isMore: false, held, dropped });
  }

  #take(question: object, page: ListingPage<HeldCheckpoint>): boolean {
    const news = this.#intake.take({ question, page, limits: this.limits, nowMs: this.nowMs, known: (one) => this.catalogue.knownOf('a', one) });
    if (news === 'refused') return false;
    if (news) this.catalogue.apply('a', news);
    return true;
  }
}

describe('the list of an honest VRA is taken', () => {
  it('with all of its history, each one tagged, again and again as its VRA is started anew', () => {
    const reader = new Reader();
    const list = many(DAY_MS / 5000, 1, (id) => ({ tag: `before the nightly job ${id}` }));
    for (let start = 0; start < 6; start += 1) expect(reader.whole(`start ${start}`, list)).toBe(true);
    expect(reader.count).toBe(DAY_MS / 5000);
  });

  it('as it grows for days, because a test that was left open keeps everything behind it', () => {
    const reader = new Reader({ historyMs: HOUR_MS, intervalMs: 5000 });
    expect(reader.whole('i', many(720))).toBe(true);
    for (let day = 0; day < 10; day += 1) {
      reader.nowMs += DAY_MS;
      expect(reader.changes('i', many(17_280, 721 + day * 17_280))).toBe(true);
    }
    expect(reader.count).toBe(720 + 10 * 17_280);
    // The ZVM is started anew and has them in its database.
    const later = new Reader({ historyMs: HOUR_MS, intervalMs: 5000 }, reader.count);
    expect(later.whole('i', reader.catalogue.listed())).toBe(true);
  });

  it('where the interval was shorter before, and where the VMs were edited a hundred times', () => {
    const reader = new Reader({ historyMs: DAY_MS, intervalMs: 3_600_000 });
    const vms = Array.from({ length: 100 }, (_, index) => `0b7c4b1e-3f0a-4c2a-9d51-${index}`);
    expect(reader.whole('i', many(17_280, 1, (id) => ({ vmIds: ['a', ...vms.slice(0, Math.floor(id / 173))] })))).toBe(true);
  });

  it('for months: what comes each interval is paid by the interval', () => {
    const reader = new Reader();
    expect(reader.whole('i', many(17_280))).toBe(true);
    for (let day = 0; day < 40; day += 1) {
      reader.nowMs += DAY_MS;
      const first = 17_281 + day * 17_280;
      expect(reader.changes('i', many(17_280, first, () => ({ tag: 'nightly' })), many(17_280, first - 17_280).map(({ checkpointId }) => checkpointId))).toBe(true);
    }
    expect(reader.count).toBe(17_280);
  });
});

describe('a VRA that lies costs what its history could', () => {
  it('a list that is too long is refused as a whole, what was known holds, and it is not asked for again at once', () => {
    const reader = new Reader();
    expect(reader.whole('i', many(100))).toBe(true);
    expect(reader.whole('j', many(CAPACITY + 101 + PAGE))).toBe(false);
    expect([reader.count, reader.isHeldOff()]).toEqual([100, true]);
    reader.nowMs += 30_000;
    expect(reader.isHeldOff()).toBe(false);
    // The truth is taken again.
    expect(reader.whole('k', many(120))).toBe(true);
    expect(reader.count).toBe(120);
  });

  it('long tags, and a set of 512 VMs of its own for each checkpoint, cost what they take', () => {
    const tagged = new Reader();
    const setOf = (id: number): readonly string[] => Array.from({ length: 512 }, (_, index) => `${index} of ${id}`);
    expect(tagged.whole('i', many(CAPACITY / 2, 1, () => ({ tag: 'x'.repeat(400) })))).toBe(false);
    const edited = new Reader();
    edited.whole('i', []);
    let taken = 0;
    while (taken < CAPACITY && edited.changes('i', [checkpoint(taken + 1, { vmIds: setOf(taken) })])) taken += 1;
    // 512 names of 8 or more letters and what each costs beside them: 82 units at least.
    expect(taken).toBeGreaterThan(500);
    expect(taken).toBeLessThan(CAPACITY / 82);
  }, 60_000);

  it('the same checkpoints with their VMs in ever another order keep the array that there is', () => {
    const reader = new Reader();
    const vmIds = ['a', 'b', 'c', 'd'];
    reader.whole('i', []);
    reader.changes('i', [checkpoint(1, { vmIds })]);
    for (let turn = 0; turn < 10; turn += 1) expect(reader.changes('i', [checkpoint(1, { vmIds: [...vmIds.slice(turn % 4), ...vmIds.slice(0, turn % 4)] })])).toBe(true);
    expect(reader.catalogue.knownOf('a', checkpoint(1, { vmIds }))?.vmIds).toBe(vmIds);
  });

  it('checkpoints that come and go without an end come to one', () => {
    const reader = new Reader();
    reader.whole('i', []);
    let count = 0;
    while (count < 10 * CAPACITY && reader.changes('i', many(1000, count + 1), many(1000, count - 999).map(({ checkpointId }) => checkpointId).filter((id) => id > 0))) count += 1000;
    expect(count).toBeLessThanOrEqual(CAPACITY);
    expect(count).toBeGreaterThan(CAPACITY - 2000);
  });

  it('its sets of VMs push out nobody else’s: another journal of the VPG does not pay for its own again', () => {
    const vmSets = new SharedVmSets();
    const limits = { historyMs: HOUR_MS, intervalMs: 5000 };
    const [liar, other] = [new Reader(limits, 0, vmSets), new Reader(limits, 0, vmSets)];
    const names = Array.from({ length: 512 }, (_, index) => `vm ${index}`);
    liar.whole('i', []);
    other.whole('i', []);
    for (let id = 1; id <= 1000; id += 1) {
      for (let turn = 0; turn < 17; turn += 1) liar.changes('i', [checkpoint(17 * id + turn, { vmIds: [`x ${id} ${turn}`] })]);
      expect(other.changes('i', [checkpoint(id, { vmIds: [...names] })])).toBe(true);
    }
  }, 60_000);
});
