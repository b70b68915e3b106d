import { describe, expect, it } from '@jest/globals';
import { CheckpointLedger, type HeldCheckpoint } from '@tidemark/journal';
import { JournalListing, type HeldChanges, type HeldCheckpoint as Listed, type ListingPage } from '@tidemark/recovery';
import fc from 'fast-check';

/** Weight of one checkpoint over one VM is 5: pages of four. */
const PAGE_WEIGHT = 20;
const CHANGES_MAX = 16;

const VPG = '11111111-2222-4333-8444-555555555555';

/** A recovering VRA's journal: seals, drops, and dies with its change numbers. */
class ModelJournal {
  ledger = new CheckpointLedger(CHANGES_MAX);
  instance = 1;
  #lastId = 0;

  seal(vmCount = 1): void {
    this.#lastId += 1;
    hold(this.ledger, this.#lastId, vmCount);
  }

  drop(isDropped: (checkpointId: number) => boolean): void {
    this.ledger.keep(({ checkpointId }) => !isDropped(checkpointId));
  }

  restart(): void {
    const { held } = this.ledger;
    this.ledger = new CheckpointLedger(CHANGES_MAX);
    for (const { checkpointId, marker } of held) hold(this.ledger, checkpointId, marker.vmIds.length);
    this.instance += 1;
  }

  answer(question: JournalListing<Listed>['question']): ListingPage<Listed> {
    const page = this.ledger.listing(question, PAGE_WEIGHT);
    return { ...page, instance: String(this.instance), held: page.held.map(listedOf) };
  }
}

function hold(ledger: CheckpointLedger, checkpointId: number, vmCount: number): void {
  const vmIds = Array.from({ length: vmCount }, (_, vm) => `vm${vm}`);
  const marker = { vpgId: VPG, epoch: 1, term: 1, checkpointId, vmIds, atMs: checkpointId, ageMs: 0, tag: null, kind: 'automatic' } as const;
  ledger.marker(marker, { markerSeq: checkpointId * 10, incarnation: 1, arrivedMs: 0, arrivedAtMs: 0 });
  ledger.seal({ vpgId: VPG, checkpointId, term: 1 }, 1);
}

const listedOf = ({ checkpointId, marker: { epoch, term, vmIds, atMs, tag, kind } }: HeldCheckpoint): Listed => ({ checkpointId, epoch, term, vmIds, atMs, tag, kind });

/** What a ZVM does with the news. */
function applied(list: ReadonlySet<number>, news: HeldChanges<Listed>): Set<number> {
  const after = new Set(news.isWhole ? [] : list);
  for (const id of news.dropped) after.delete(id);
  for (const { checkpointId } of news.held) after.add(checkpointId);
  return after;
}

const idsOf = (journal: ModelJournal): number[] => journal.ledger.held.map(({ checkpointId }) => checkpointId);

type Step = { readonly do: 'seal'; readonly count: number } | { readonly do: 'retire' | 'thin'; readonly share: number } | { readonly do: 'restart' | 'ask' | 'loseAnswer' };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('seal' as const), count: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ do: fc.constantFrom('retire' as const, 'thin' as const), share: fc.integer({ min: 2, max: 6 }) }),
  { weight: 6, arbitrary: fc.record({ do: fc.constant('ask' as const) }) },
  fc.record({ do: fc.constantFrom('restart' as const, 'loseAnswer' as const) }),
);

function change(journal: ModelJournal, { do: what, ...rest }: Step): void {
  const ids = idsOf(journal);
  if ('count' in rest) for (let count = 0; count < rest.count; count += 1) journal.seal();
  else if (what === 'restart') journal.restart();
  else if ('share' in rest) {
    const limit = ids[Math.floor(ids.length / rest.share)] ?? 0;
    journal.drop((id) => (what === 'retire' ? id < limit : id % rest.share === 0 && id !== ids.at(-1)));
  }
}

describe('reading a journal\'s list page by page', () => {
  it('is right whenever it says that it is up to date, whatever was sealed, dropped, lost and restarted between its pages, and always gets there', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 60 }), fc.array(step, { maxLength: 60 }), (count, steps) => {
      const journal = new ModelJournal();
      for (let at = 0; at < count; at += 1) journal.seal();
      const listing = new JournalListing<Listed>();
      let list = new Set<number>();
      const check = (): void => {
        if (listing.isCurrent({ instance: String(journal.instance), lastChange: journal.ledger.lastChange })) expect([...list].sort((a, b) => a - b)).toEqual(idsOf(journal));
      };
      const ask = (): void => {
        const { question } = listing;
        const page = journal.answer(question);
        expect(page.held.length).toBeLessThanOrEqual(4);
        const news = listing.take(question, page);
        if (news) list = applied(list, news);
      };
      for (const one of steps) {
        if (one.do === 'ask') ask();
        else change(journal, one);
        check();
      }
      for (let pages = 0; pages < 200 && !listing.isCurrent({ instance: String(journal.instance), lastChange: journal.ledger.lastChange }); pages += 1) ask();
      expect(listing.isCurrent({ instance: String(journal.instance), lastChange: journal.ledger.lastChange })).toBe(true);
      check();
    }), { numRuns: 400 });
  });

  it('nothing is told before the whole list was read, so that nothing is taken from what was known', () => {
    const journal = new ModelJournal();
    for (let at = 0; at < 9; at += 1) journal.seal();
    const listing = new JournalListing<Listed>();
    const told = [1, 2, 3].map(() => {
      const { question } = listing;
      return listing.take(question, journal.answer(question));
    });
    expect(told.map((news) => news?.held.length)).toEqual([undefined, undefined, 9]);
    expect(told[2]?.isWhole).toBe(true);
  });

  it('a checkpoint over many VMs fills a page alone, and an answer that never ends is not followed', () => {
    const journal = new ModelJournal();
    journal.seal(500);
    journal.seal(500);
    expect(journal.answer({}).held.map(({ checkpointId }) => checkpointId)).toEqual([1]);
    expect(journal.answer({ afterCheckpointId: 1 })).toMatchObject({ isMore: false, held: [{ checkpointId: 2 }] });
    const listing = new JournalListing<Listed>();
    const endless = { ...journal.answer({}), isMore: true };
    listing.take({}, endless);
    expect(listing.take({ afterCheckpointId: 1 }, endless)).toBeUndefined();
    expect([listing.isReading, listing.question]).toEqual([false, {}]);
  });
});
